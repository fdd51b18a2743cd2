"""Repeating, reversing, spelling and counting."""

import word_lists as words
from chat import Chat


class Copying:
    """Short exercises with words, letters and digits."""

    def __init__(self, vocabulary, filler):
        """`vocabulary`: words to take, common ones."""
        self._vocabulary = vocabulary
        self._filler = filler
        self._exercises = ((self._repeat, 8), (self._pairs, 6), (self._reverse_words, 2),
                           (self._reverse_digits, 1), (self._spell, 1), (self._pick, 2),
                           (self._count, 1), (self._next, 3), (self._case, 1))

    def make(self, rng):
        """A chat of one to four exercises."""
        chat = Chat(rng)
        for _ in range(rng.randint(1, 4)):
            self.ask(chat, rng)
        return chat.request()

    def ask(self, chat, rng):
        """One exercise."""
        kinds, weights = zip(*self._exercises)
        rng.choices(kinds, weights)[0](chat, rng)

    def _words(self, rng, low, high):
        return [words.pseudo_word(rng) if rng.random() < 0.15 else rng.choice(self._vocabulary)
                for _ in range(rng.randint(low, high))]

    def _repeat(self, chat, rng):
        text = rng.choice((
            lambda: " ".join(self._words(rng, 1, 25)),
            lambda: self._filler.sentence(rng),
            lambda: self._filler.sentence(rng),
            lambda: " ".join(words.digits(rng, 1, 12) for _ in range(rng.randint(1, 6))),
            lambda: words.digits(rng, 5, 20),
        ))()
        question = rng.choice(("Repeat: {}", "Repeat this: {}", "Copy this text: {}", "Say: {}",
                               "Write exactly this: {}", "Repeat after me: {}", "Copy: {}"))
        chat.ask(question.format(text), text, "I repeat it.")

    def _reverse_words(self, chat, rng):
        given = self._words(rng, 2, 9)
        question = rng.choice(("Reverse the order of these words: {}", "Reverse these words: {}",
                               "Write these words backwards: {}"))
        chat.ask(question.format(" ".join(given)), " ".join(reversed(given)),
                 f"There are {len(given)} words. The last is {given[-1]}.")

    def _reverse_digits(self, chat, rng):
        given = words.digits(rng, 2, 8)
        question = rng.choice(("Reverse the digits of {}.", "Write {} backwards.",
                               "Reverse this number: {}"))
        chat.ask(question.format(given), given[::-1], f"The digits are {' '.join(given)}.")

    def _spell(self, chat, rng):
        word = rng.choice(self._vocabulary)
        if rng.random() < 0.7:
            question = rng.choice(("Spell {}.", "Spell the word {}.", "How do you spell {}?",
                                   "Which letters does {} have?"))
            chat.ask(question.format(word), " ".join(word), "I write one letter after another.")
        else:
            chat.ask(f"How many letters does {word} have?",
                     f"The word {word} has {len(word)} letters.",
                     ", ".join(f"{at} {letter}" for at, letter in enumerate(word, 1)))

    def _pick(self, chat, rng):
        given = list(dict.fromkeys(self._words(rng, 2, 9)))
        place, at = rng.choice((("first", 0), ("last", -1)))
        question = rng.choice(("Which word is the {} here: {}", "What is the {} word of: {}",
                               "Give me the {} of these words: {}"))
        chat.ask(question.format(place, " ".join(given)), f"The {place} word is {given[at]}.",
                 f"I need the {place} word.")

    def _count(self, chat, rng):
        given = self._words(rng, 1, 9)
        chat.ask(f"How many words are these: {' '.join(given)}",
                 "This is 1 word." if len(given) == 1 else f"These are {len(given)} words.",
                 ", ".join(f"{at} {word}" for at, word in enumerate(given, 1)))

    def _next(self, chat, rng):
        given = list(dict.fromkeys(self._words(rng, 3, 12)))
        if len(given) < 2:
            return self._pick(chat, rng)
        at = rng.randrange(len(given) - 1)
        question = rng.choice(("Which word comes after {}: {}", "What follows {} in this list: {}"))
        return chat.ask(question.format(given[at], ", ".join(given)),
                        f"After {given[at]} comes {given[at + 1]}.", f"I look for {given[at]}.")

    def _pairs(self, chat, rng):
        """Words with numbers, several of them asked for one after the other."""
        keys = list(dict.fromkeys(self._words(rng, 2, 12)))
        pairs = {key: words.digits(rng, 1, 4) for key in keys}
        listed = ", ".join(f"{key} {value}" for key, value in pairs.items())
        asked = rng.sample(keys, rng.randint(1, min(4, len(keys))))
        chat.ask(f"{listed}. What is {asked[0]}?", f"{asked[0]} {pairs[asked[0]]}",
                 f"I look for {asked[0]}.")
        for key in asked[1:]:
            chat.ask(f"What is {key} in the list?", f"{key} {pairs[key]}", f"I look for {key}.")

    def _case(self, chat, rng):
        word = rng.choice(self._vocabulary)
        chat.ask(f"Write {word} in capital letters.", word.upper(), f"The word is {word}.")
