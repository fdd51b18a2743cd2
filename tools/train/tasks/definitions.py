"""What nouns mean: WordNet's words, learned by heart."""

import word_lists as words
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
#: Parts of further wordings: a beginning, what is wanted, and the word.
_BEGINNINGS = ("", "Please ", "Can you ", "Could you ", "I want you to ", "Now ", "Hi! Please ",
               "Just ")
_ORDERS = ("explain {n}", "define {n}", "describe {n}", "tell me what {n} means",
           "give me the meaning of {n}", "say what {n} means", "give the definition of {n}",
           "tell me the definition of {n}", "show me the meaning of {n}", "look up {n}",
           "explain the meaning of {n}", "find the definition of {n}", "write down what {n} means")
_DIRECT = ("What is meant by {n}?", "What do people mean by {n}?", "Which meaning does {n} have?",
           "How is {n} defined?", "How do you explain {n}?",
           "What does one understand by {n}?", "What is the definition of {n}?", "What is {n}?",
           "Do you know the meaning of {n}?", "Is there a definition of {n}?", "Meaning of {n}.",
           "I do not know what {n} means.", "I need the meaning of {n}.", "And what about {n}?",
           "What meaning has {n}?", "How does WordNet define {n}?", "In one sentence, what is {n}?",
           "My teacher asked me about {n}.", "What does {n} mean in English?")
_NAMES = ("{w}", "{w}", "the word {w}", "the term {w}", '"{w}"', "a {w}", "the noun {w}",
          "the English word {w}")
#: Ways to ask that only evaluation uses.
HELD_OUT_QUESTIONS = (
    "Please tell me the meaning of the noun {w}.",
    "How does a dictionary explain {w}?",
)


def answer(entry):
    """The one answer to each question about a word."""
    return f'The word {entry.word} means "{entry.gloss}".'


def random_wording(rng):
    """One of some thousand ways to ask."""
    if rng.random() < 0.35:
        return rng.choice(QUESTIONS)
    if rng.random() < 0.5:
        text = rng.choice(_DIRECT)
    else:
        beginning = rng.choice(_BEGINNINGS)
        text = beginning + rng.choice(_ORDERS) + ("?" if beginning in ("Can you ", "Could you ")
                                                  else rng.choice(("", ".", ".", "!")))
        text = text[:1].upper() + text[1:]
    text = text.replace("{n}", rng.choice(_NAMES))
    return rng.choice(QUESTIONS) if text in HELD_OUT_QUESTIONS else words.casual(rng, text)


def question(template, word):
    """A template filled in."""
    return template.format(w=word, a=article(word))


class Definitions:
    """Questions about the words of `core` (often), `more` (less often) and words unknown."""

    def __init__(self, core, more, unknown, unknown_share=0.1, wording=random_wording):
        """`wording` draws a template with {w} or {a} in it."""
        self._core = core
        self._more = more
        self._unknown = unknown
        self._unknown_share = unknown_share
        self._wording = wording

    def make(self, rng):
        """A chat of one to four questions."""
        chat = Chat(rng)
        for number in range(rng.choice((1, 1, 2, 3, 4))):
            template = self._wording(rng)
            while number == 0 and template.startswith("And"):
                template = self._wording(rng)
            self.ask(chat, rng, template)
        return chat.request()

    def ask(self, chat, rng, template=None):
        """One question, in the words of the template or any."""
        template = template or self._wording(rng)
        kind = rng.random()
        if kind < self._unknown_share:
            word = rng.choice(self._unknown) if rng.random() < 0.5 else pseudo_word(rng)
            chat.ask(question(template, word), f"I do not know the word {word}.",
                     f"I do not know the word {word}.")
            return
        entry = rng.choice(self._core if kind < 0.6 else self._more)
        chat.ask(question(template, entry.word), answer(entry), f"I know the word {entry.word}.")
