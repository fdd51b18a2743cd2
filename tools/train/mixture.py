"""What the training data is made of: every task with its share of the tokens."""

import random

from debian_packages import fetch
from manuals import sentences
from tasks.arithmetic import Arithmetic
from tasks.copying import Copying
from tasks.definitions import Definitions
from tasks.filler import Filler
from tasks.lookup import Lookup
from tasks.personal import Personal
from tasks.small_talk import SmallTalk
from tasks.tool_use import ToolUse
from wordnet import WordNet

#: Nouns that evaluation asks for, and further ones that are taught less often.
CORE_NOUNS = 500
MORE_NOUNS = 1500
#: From this rank on nouns count as unknown to the model.
UNKNOWN_FROM = 9000


class Sources:
    """What the Debian packages give."""

    def __init__(self, directory):
        wordnet = WordNet(fetch("wordnet-base", directory))
        nouns = wordnet.nouns()
        self.core = nouns[:CORE_NOUNS]
        self.more = nouns[CORE_NOUNS : CORE_NOUNS + MORE_NOUNS]
        self.unknown = [entry.word for entry in nouns[UNKNOWN_FROM:]]
        manual = [("manual", text) for text in sentences(fetch("manpages", directory))]
        self.texts = list(wordnet.texts()) + manual


class PlainText:
    """Pages of plain text: no chat."""

    def __init__(self, filler):
        self._filler = filler

    def make(self, rng):
        """A page of some lines."""
        return self._filler.page(rng, rng.randint(3, 30))


class Mixture:
    """(name, share, task) of every task; `context`: tokens of the longest lookup text."""

    def __init__(self, sources, context):
        filler = Filler(sources.texts)
        known = [entry.word for entry in sources.core + sources.more]
        definitions = Definitions(sources.core, sources.more, sources.unknown)
        small_talk = SmallTalk()
        self.plain_text = PlainText(filler)
        self.tasks = (
            ("definitions", 0.15, definitions),
            ("lookup_short", 0.12, Lookup(filler, 40, 300)),
            ("lookup_long", 0.20, Lookup(filler, 300, 0.8 * context)),
            ("personal", 0.04, Personal(definitions)),
            ("copying", 0.08, Copying(known, filler)),
            ("arithmetic", 0.14, Arithmetic()),
            ("tool_use", 0.16, ToolUse(small_talk, definitions)),
            ("small_talk", 0.04, small_talk),
            ("plain_text", 0.07, self.plain_text),
        )


def random_of(*parts):
    """A generator whose numbers depend on `parts` only."""
    return random.Random("/".join(map(str, parts)))
