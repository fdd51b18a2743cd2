"""Facts placed anywhere in a context, then asked for."""

from chat import Chat
from tasks.facts import RELATIONS, acknowledgement
from tasks.filler import CHARACTERS_A_TOKEN, Filler, random_size

_INTRODUCTIONS = ("Read this text.", "Here is a text.", "Read the following notes.", "Notes:",
                  "Remember these facts.", "This is what we know:", "Text:", "Please read this.")

#: A file as the command line puts it before a message.
_ATTACHMENT = "[file name]: {}\n[file content begin]\n{}\n[file content end]\n"
_FILES = ("notes.txt", "facts.txt", "list.md", "data.txt", "README.md", "story.txt")


class Lookup:
    """Texts of about `low` to `high` tokens, single facts up to facts only."""

    #: About what a question, a thought and an answer take.
    TOKENS_A_QUESTION = 45

    def __init__(self, filler: Filler, low, high, context, relations=RELATIONS):
        """`context`: what text and questions may take together; `relations`: kinds of facts."""
        self._filler = filler
        self._relations = relations
        self._low = low
        self._high = high
        self._context = context

    def make(self, rng):
        """A chat about one text."""
        tokens = random_size(rng, self._low, self._high)
        facts, text = self._text(rng, tokens * CHARACTERS_A_TOKEN)
        questions = min(rng.randint(2, 6) + int(tokens / 80),
                        int((self._context - 100 - tokens) / self.TOKENS_A_QUESTION))
        asked = rng.sample(facts, min(len(facts), max(1, questions)))
        place = rng.random()
        introduction = rng.choice(_INTRODUCTIONS)
        if place < 0.3:
            chat = Chat(rng, system=f"{introduction}\n\n{text}")
        elif place < 0.5:
            chat = Chat(rng)
            said = acknowledgement(rng)
            chat.ask(f"{introduction}\n\n{text}", said, "The user gives me a text to read.")
        elif place < 0.65:
            chat = Chat(rng)
            self._tell_in_turns(chat, rng, text.split("\n"))
        elif place < 0.75:
            chat = Chat(rng)
            ask(chat, rng, asked.pop(), _ATTACHMENT.format(rng.choice(_FILES), text))
        else:
            chat = Chat(rng)
            first = asked.pop()
            ask(chat, rng, first, f"{introduction}\n\n{text}\n\n" if rng.random() < 0.7
                else f"{text}\n\n")
        for fact in asked:
            ask(chat, rng, fact)
        return chat.request()

    def _text(self, rng, characters):
        """(facts, text with them and filler in random order)"""
        share = rng.choice((0.0, 0.1, 0.25, 0.5, 1.0))
        single = rng.randint(1, 3)  # facts in all if the share is 0
        relations = rng.sample(self._relations, rng.choice((1, 2, 4, len(self._relations))))
        facts = {}
        parts = []
        size = 0
        while size < characters:
            if len(facts) < single or rng.random() < share:
                fact = rng.choice(relations).make(rng)
                if fact.identity in facts:
                    continue
                facts[fact.identity] = fact
                part = fact.statement
            else:
                part = self._filler.sentence(rng)
            parts.append(part)
            size += len(part) + 1
        rng.shuffle(parts)
        separator = rng.choice((" ", " ", "\n", "\n- "))
        return list(facts.values()), separator.join(parts)

    def _tell_in_turns(self, chat, rng, lines):
        """The text in several messages, each acknowledged."""
        parts = rng.randint(1, 4)
        size = max(1, len(lines) // parts)
        for at in range(0, len(lines), size):
            chat.ask("\n".join(lines[at : at + size]), acknowledgement(rng),
                     "The user tells me something.")


def ask(chat, rng, fact, before=""):
    """One question about a fact; the answer is the fact."""
    chat.ask(before + fact.question(rng), fact.answer, f"I look for {fact.subject}.")
