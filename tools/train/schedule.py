"""Which task makes the next conversation, so that each gets its share of the tokens."""


class Schedule:
    """Takes the task that lags most behind its share."""

    def __init__(self, tasks, rng):
        """`tasks`: (name, share, task)"""
        self._tasks = {name: task for name, _, task in tasks}
        self._shares = {name: share for name, share, _ in tasks}
        # What a task got before the beginning: no two blocks of rows begin alike.
        self.tokens = {name: share * rng.uniform(0, 3000) for name, share, _ in tasks}
        self._rng = rng

    def make(self):
        """(name of the task, what it made)"""
        name = min(self._shares, key=lambda name: self.tokens[name] / self._shares[name])
        return name, self._tasks[name].make(self._rng)

    def took(self, name, tokens):
        """Counts what was used."""
        self.tokens[name] += tokens
