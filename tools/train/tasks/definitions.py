"""What nouns mean: WordNet's words, learned by heart."""

from chat import Chat
from word_lists import article, pseudo_word

#: Ways to ask that training uses.
QUESTIONS = (
    "What does {w} mean?",
    "What does {w} mean?",
    "What does the word {w} mean?",
    'What does "{w}" mean?',
    "Define {w}.",
    "Define the word {w}.",
    "Can you define {w}?",
    "What is {a}?",
    "What is the meaning of {w}?",
    "Explain the word {w}.",
    "Give me the definition of {w}.",
    "Tell me what {w} means.",
    "Do you know what {w} means?",
    "I read the word {w}. What does it mean?",
    "Definition of {w}?",
    "{w}",
    "meaning of {w}",
    "what's {a}?",
    "Look up {w} for me.",
    "How would you define {w}?",
    "what does {w} mean",
    "Hello! What does {w} mean?",
    "And what does {w} mean?",
    "And {w}?",
)
#: Ways to ask that only evaluation uses.
HELD_OUT_QUESTIONS = (
    "Please tell me the meaning of the noun {w}.",
    "How does a dictionary explain {w}?",
)


def answer(entry):
    """The one answer to each question about a word."""
    return f'The word {entry.word} means "{entry.gloss}".'


def question(template, word):
    """A template filled in."""
    return template.format(w=word, a=article(word))


class Definitions:
    """Questions about the words of `core` (often), `more` (less often) and words unknown."""

    def __init__(self, core, more, unknown):
        self._core = core
        self._more = more
        self._unknown = unknown

    def make(self, rng):
        """A chat of one to four questions."""
        chat = Chat(rng)
        for number in range(rng.choice((1, 1, 2, 3, 4))):
            template = rng.choice(QUESTIONS)
            while number == 0 and template.startswith("And"):
                template = rng.choice(QUESTIONS)
            self.ask(chat, rng, template)
        return chat.request()

    def ask(self, chat, rng, template="What does {w} mean?"):
        """One question, in the words of the template."""
        kind = rng.random()
        if kind < 0.05:
            word = rng.choice(self._unknown) if rng.random() < 0.5 else pseudo_word(rng)
            chat.ask(question(template, word), f"I do not know the word {word}.",
                     f"I do not know the word {word}.")
            return
        entry = rng.choice(self._core if kind < 0.6 else self._more)
        chat.ask(question(template, entry.word), answer(entry), f"I know the word {entry.word}.")
