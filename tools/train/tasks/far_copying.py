"""Words, lists and texts that are given once and wanted again from farther back than the window.

Nearly every token of an answer stands far back in the context: a lesson in finding again, token by
token, what only the compressed rows still hold."""

import word_lists as words
from chat import Chat
from tasks.facts import acknowledgement
from tasks.filler import CHARACTERS_A_TOKEN, random_size

_REPEAT = ("Repeat the words.", "Repeat them.", "Say all of them again.", "What are the words?",
           "Copy the list.", "List them again.")
_REPEAT_TEXT = ("Repeat the text.", "Copy the text.", "Write the text again.", "Repeat this text.")
_LISTED = ("Remember these words: {}", "Words: {}", "Here is a list: {}", "{}", "Read this: {}")
_VALUES = ("What is {k}?", "{k}?", "What belongs to {k}?", "Tell me {k}.")


class FarCopying:
    """Lists, pairs and texts of about `low` to `high` tokens."""

    def __init__(self, vocabulary, filler, low, high):
        """`vocabulary`: words to take, common ones."""
        self._vocabulary = vocabulary
        self._filler = filler
        self._low = low
        self._high = high
        self._exercises = ((self._list, 3), (self._text, 3), (self._pairs, 4), (self._next, 3))

    def make(self, rng):
        """A chat about one list, text or table."""
        chat = Chat(rng)
        kinds, weights = zip(*self._exercises)
        tokens = random_size(rng, self._low, self._high)
        rng.choices(kinds, weights)[0](chat, rng, tokens * CHARACTERS_A_TOKEN)
        return chat.request()

    def _word(self, rng):
        kind = rng.random()
        if kind < 0.55:
            return rng.choice(self._vocabulary)
        if kind < 0.7:
            return words.first_name(rng)
        if kind < 0.8:
            return words.city(rng)
        if kind < 0.87:
            return words.pseudo_word(rng)
        if kind < 0.93:
            return words.digits(rng, 1, 4)
        return rng.choice(rng.choice((words.COLORS, words.PLACES, words.JOBS, words.ANIMALS)))

    def _words(self, rng, characters, different=False):
        found = []
        size = 0
        while size < characters:
            word = self._word(rng)
            if different and word in found:
                continue
            found.append(word)
            size += len(word) + 1
        return found

    def _list(self, chat, rng, characters):
        """A list, repeated in whole."""
        separator = rng.choice((" ", " ", ", ", "\n"))
        listed = separator.join(self._words(rng, characters * 0.8))
        self._told_and_asked(chat, rng, rng.choice(_LISTED).format(listed), rng.choice(_REPEAT),
                             listed, "I repeat the list.")

    def _text(self, chat, rng, characters):
        """Lines of text, repeated in whole."""
        lines = []
        while sum(map(len, lines)) < characters:
            lines.append(self._filler.sentence(rng))
        text = rng.choice((" ", "\n")).join(lines)
        self._told_and_asked(chat, rng, text, rng.choice(_REPEAT_TEXT), text, "I repeat the text.")

    def _told_and_asked(self, chat, rng, told, question, answer, thought):
        """In one message or two."""
        if rng.random() < 0.5:
            chat.ask(f"{told}\n\n{question}", answer, thought)
            return
        chat.ask(told, acknowledgement(rng), "The user tells me something.")
        chat.ask(question, answer, thought)

    def _pairs(self, chat, rng, characters):
        """A table of words, its rows asked for one by one."""
        keys = self._words(rng, characters * 0.45, different=True)
        values = [self._word(rng) for _ in keys]
        sign, end = rng.choice(((" is ", ". "), (": ", "\n"), (" = ", "\n"), (" ", ", ")))
        table = end.join(f"{key}{sign}{value}" for key, value in zip(keys, values))
        chat.ask(table, acknowledgement(rng), "The user tells me something.")
        question = rng.choice(_VALUES)
        for at in rng.sample(range(len(keys)), min(len(keys), rng.randint(6, 24))):
            chat.ask(question.format(k=keys[at]), f"{keys[at]}{sign}{values[at]}.",
                     f"I look for {keys[at]}.")

    def _next(self, chat, rng, characters):
        """What follows which word in a list."""
        listed = self._words(rng, characters * 0.8, different=True)
        chat.ask(rng.choice(_LISTED).format(", ".join(listed)), acknowledgement(rng),
                 "The user tells me something.")
        question = rng.choice(("Which word comes after {}?", "What follows {}?"))
        for at in rng.sample(range(len(listed) - 1), min(len(listed) - 1, rng.randint(4, 16))):
            chat.ask(question.format(listed[at]), f"After {listed[at]} comes {listed[at + 1]}.",
                     f"I look for {listed[at]}.")
