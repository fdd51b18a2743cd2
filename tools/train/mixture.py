"""What the training data is made of: every task with its share of the tokens."""

import random
import zlib

import word_lists as words
from debian_packages import fetch
from manuals import sentences
from tasks.arithmetic import Arithmetic
from tasks.copying import Copying
from tasks.definitions import Definitions
from tasks.facts import WORD_RELATIONS
from tasks.far_copying import FarCopying
from tasks.filler import Filler
from tasks.lookup import Lookup
from tasks.mixed import Mixed
from tasks.personal import Personal
from tasks.small_talk import SmallTalk
from tasks.tool_use import ToolUse
from tasks.tools import any_shape
from wordnet import WordNet

#: Nouns that evaluation asks for, and further ones that are taught less often.
CORE_NOUNS = 500
MORE_NOUNS = 2000
#: One text of WordNet's in so many is for evaluation.
HELD_OUT = 100


class Sources:
    """What the Debian packages give."""

    def __init__(self, directory):
        wordnet = WordNet(fetch("wordnet-base", directory))
        nouns = wordnet.nouns()
        self.core = nouns[:CORE_NOUNS]
        others = nouns[CORE_NOUNS:]
        named = set(words.THINGS + words.PLACES + words.JOBS + words.ANIMALS + words.FOODS)
        self.more = others[:MORE_NOUNS] + [e for e in others[MORE_NOUNS:] if e.word in named]
        self.unknown = [e.word for e in others[MORE_NOUNS:] if e.word not in named]
        manual = [("manual", text) for text in sentences(fetch("manpages", directory))]
        self.texts = []
        self.held_out_texts = []
        for kind, text in wordnet.texts():
            if zlib.crc32(text.encode()) % HELD_OUT == 0:
                self.held_out_texts.append(text)
            else:
                self.texts.append((kind, text))
        self.texts += manual


class PlainText:
    """Pages of plain text: no chat."""

    def __init__(self, filler):
        self._filler = filler

    def make(self, rng):
        """A page of some lines."""
        return self._filler.page(rng, rng.randint(3, 30))


#: Shares for the beginning of training: short texts with much to copy.
EASY = {"definitions": 0.12, "lookup_short": 0.25, "personal": 0.08, "copying": 0.35,
        "arithmetic": 0.05, "tool_use": 0.11, "small_talk": 0.02, "mixed": 0.02}

#: Shares for a short training that follows the long one: other wordings of what is known.
POLISH = {"definitions": 0.35, "lookup_short": 0.12, "personal": 0.12, "copying": 0.1,
          "arithmetic": 0.04, "tool_use": 0.15, "small_talk": 0.06, "mixed": 0.06}

#: Shares for a short training with short rows that is to mend tool calls and to keep the rest.
NAMES = {"tool_names": 0.6, "definitions": 0.14, "lookup_short": 0.06, "personal": 0.07, "copying": 0.02,
         "arithmetic": 0.05, "small_talk": 0.03, "mixed": 0.03}

#: Shares for a part of training that is to teach how to find words again far beyond the window.
FAR = {"far_copying": 0.36, "lookup_words": 0.12, "lookup_short": 0.06, "lookup_long": 0.04, "copying": 0.05,
       "definitions": 0.12, "tool_names": 0.1, "arithmetic": 0.06, "personal": 0.04, "small_talk": 0.02,
       "mixed": 0.03}
PHASES = {"easy": EASY, "polish": POLISH, "names": NAMES, "far": FAR}


class Mixture:
    """(name, share, task) of every task; `context`: tokens of the longest lookup text. `phase`: a
    name of PHASES, or none for the main training."""

    def __init__(self, sources, context, phase=None):
        filler = Filler(sources.texts)
        known = [entry.word for entry in sources.core + sources.more]
        definitions = Definitions(sources.core, sources.more, sources.unknown)
        small_talk = SmallTalk()
        copying = Copying(known, filler)
        arithmetic = Arithmetic()
        self.plain_text = PlainText(filler)
        self.tasks = (
            ("definitions", 0.12, definitions),
            ("lookup_short", 0.12, Lookup(filler, 40, 300, context)),
            ("lookup_long", 0.15, Lookup(filler, 300, 0.93 * context, context)),
            ("lookup_words", 0.13, Lookup(filler, 150, 0.93 * context, context, WORD_RELATIONS)),
            ("far_copying", 0.08, FarCopying(known, filler, 150, 0.42 * context)),
            ("personal", 0.05, Personal((definitions, small_talk, arithmetic))),
            ("copying", 0.05, copying),
            ("arithmetic", 0.08, arithmetic),
            ("tool_use", 0.06, ToolUse(small_talk, definitions)),
            ("tool_names", 0.09, ToolUse(small_talk, definitions, any_shape, (1, 2))),
            ("small_talk", 0.02, small_talk),
            ("mixed", 0.03, Mixed((definitions, small_talk, copying, arithmetic))),
            ("plain_text", 0.02, self.plain_text),
        )
        if phase:
            shares = PHASES[phase]
            tasks = {name: task for name, _, task in self.tasks}
            self.tasks = tuple((name, shares[name], task) for name, task in tasks.items()
                               if name in shares)


def random_of(*parts):
    """A generator whose numbers depend on `parts` only."""
    return random.Random("/".join(map(str, parts)))
