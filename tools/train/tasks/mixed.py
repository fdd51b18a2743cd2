"""Chats in which one thing follows another."""

from chat import Chat


class Mixed:
    """Exchanges of several tasks in one chat."""

    def __init__(self, tasks):
        """`tasks`: those with ask(chat, rng)."""
        self._tasks = tasks

    def make(self, rng):
        """A chat of two to eight exchanges."""
        chat = Chat(rng)
        for _ in range(rng.randint(2, 8)):
            rng.choice(self._tasks).ask(chat, rng)
        return chat.request()
