"""WordNet's nouns with their first glosses, and its example sentences."""

import re
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A word and what it means first. `frequency`: how often texts were tagged with it."""

    word: str
    gloss: str
    frequency: int


class WordNet:
    """The files of the package wordnet-base."""

    def __init__(self, package):
        self._directory = package / "usr/share/wordnet"

    def nouns(self):
        """One entry for each plain lower-case noun whose first gloss is short, frequent ones first.

        A gloss is its first part: what stands before examples and further explanations."""
        frequency = self._frequencies()
        glosses = {offset: first_gloss(text) for offset, text in self._glosses("noun")}
        entries = []
        for word, offset in self._first_senses("noun"):
            gloss = glosses[offset]
            if re.fullmatch("[a-z]{3,14}", word) and is_plain(gloss):
                entries.append(Entry(word, gloss, frequency[word]))
        entries.sort(key=lambda entry: (-entry.frequency, entry.word))
        return entries

    def texts(self):
        """Definitions of every part of speech and example sentences: (kind, text) pairs."""
        for part in ("noun", "verb", "adj", "adv"):
            words = {}
            for word, offset in self._first_senses(part):
                words.setdefault(offset, word.replace("_", " "))
            for offset, text in self._glosses(part):
                gloss = first_gloss(text)
                if offset in words and text.isascii():
                    yield "definition", f"{words[offset]}: {gloss}."
                for example in re.findall(r'"([^"]{12,120})"', text):
                    if example.isascii() and ";" not in example:
                        yield "sentence", sentence(example)

    def _frequencies(self):
        """Tags of the first noun sense of each word."""
        counts = Counter()
        with open(self._directory / "cntlist.rev", encoding="latin-1") as file:
            for line in file:
                key, sense, count = line.split()
                word, kind = key.split("%")
                if kind.startswith("1:") and sense == "1":
                    counts[word] += int(count)
        return counts

    def _first_senses(self, part):
        for fields in self._lines("index", part):
            pointers = int(fields[3])
            yield fields[0], fields[6 + pointers]

    def _glosses(self, part):
        for fields in self._lines("data", part):
            text = " ".join(fields)
            yield fields[0], text.split(" | ", 1)[1].strip()

    def _lines(self, kind, part):
        with open(self._directory / f"{kind}.{part}", encoding="latin-1") as file:
            for line in file:
                if not line.startswith(" "):
                    yield line.rstrip("\n").split(" ")


def first_gloss(text):
    """The first explanation of a gloss, without examples, domains and remarks."""
    text = re.split(r';|"', text)[0]
    text = re.sub(r"\([^()]*\)", " ", text)
    return re.sub(r"\s+", " ", text).strip(" ,:").replace(" ,", ",")


def is_plain(gloss):
    """Short enough to learn by heart, and of letters and simple marks only."""
    return (re.fullmatch("[A-Za-z][A-Za-z ,'-]+", gloss) is not None
            and 12 <= len(gloss) <= 90 and 3 <= len(gloss.split()) <= 15)


def sentence(text):
    """With a capital and a full stop."""
    text = text.strip().rstrip(".")
    text = text[:1].upper() + text[1:]
    return text if text.endswith(("!", "?")) else text + "."
