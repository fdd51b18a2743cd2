"""Trains the tokenizer of the small model: make_tokenizer.py --out tokenizer.json"""

import argparse
import re
from collections import Counter

from bpe import Tokenizer
from bpe_trainer import BpeTrainer
from chat_format import render
from mixture import Mixture, Sources, random_of
from pre_tokenizer import PreTokenizer
from special_tokens import FIRST, LAST

VOCABULARY = 4096
#: Chats of every task that are read.
CHATS = 2500
#: Nouns of the core count at least so often: each should be one token.
NOUN_COUNT = 1000

ADDED = re.compile("|".join(map(re.escape, (*FIRST, *LAST))))


def count_pieces(sources):
    """How often each piece (bytes) occurs in a sample of the data."""
    splitter = PreTokenizer()
    counts = Counter()

    def add(text):
        counts.update(splitter.split(text))

    for name, _, task in Mixture(sources, 2048).tasks:
        rng = random_of("tokenizer", name)
        for _ in range(CHATS if name != "lookup_long" else CHATS // 5):
            made = task.make(rng)
            if isinstance(made, str):
                add(made)
                continue
            for segment in render(made, header=False).segments:
                add(ADDED.sub(" ", segment.text) if segment.is_template else segment.text)
    return counts


def weighted(counts, sources):
    """Counts with the many repetitions of templates held down. Digits stay single: no merges."""
    pieces = Counter()
    for piece, count in counts.items():
        if not piece.isdigit() and len(piece) > 1:
            pieces[piece.encode()] = max(1, int(count**0.9))
    for entry in sources.core:
        word = f" {entry.word}".encode()
        pieces[word] = max(pieces[word], NOUN_COUNT)
    return pieces


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--packages", default="build/mini-packages", help="folder for downloads")
    arguments = parser.parse_args()
    sources = Sources(arguments.packages)
    pieces = weighted(count_pieces(sources), sources)
    number = VOCABULARY - len(FIRST) - len(LAST) - 256
    tokenizer = Tokenizer(BpeTrainer(pieces).train(number), VOCABULARY)
    tokenizer.save(arguments.out)
    print(f"{arguments.out}: {tokenizer.size} tokens, {len(tokenizer.merges)} merges")


if __name__ == "__main__":
    main()
