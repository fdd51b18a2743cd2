"""Writes the training data of the small model.

DIR/tokens.u16 holds rows of L+1 ids (uint16, little endian), DIR/weights.u8 the weight of each id
in the loss (255: full), DIR/meta.json what is in them. DIR/valid holds the same for validation,
where every row is of one task: meta.json names it."""

import argparse
import json
import multiprocessing
from pathlib import Path

import numpy

from bpe import Tokenizer
from engram_map import engram_token_map
from mixture import Mixture, Sources, random_of
from packer import Packer

ROWS_A_BLOCK = 64


class Maker:
    """Makes blocks of rows; a block depends on the seed and its number only."""

    def __init__(self, arguments):
        self._length = arguments.seq_len + 1
        self._seed = arguments.seed
        self._tokenizer = Tokenizer.load(arguments.tokenizer)
        self.mixture = Mixture(Sources(arguments.packages), arguments.seq_len)

    def block(self, number):
        """(ids, weights) of the rows of a training block."""
        rng = random_of(self._seed, "train", number)
        shares = self._shares(rng)
        spent = {name: 0.0 for name, _, _ in self.mixture.tasks}

        def make():
            # The task that lags most behind its share of characters.
            name, _, task = min(self.mixture.tasks, key=lambda t: spent[t[0]] / shares[t[0]])
            made = task.make(rng)
            spent[name] += _size(made)
            return made

        return self._rows(make, rng, ROWS_A_BLOCK)

    def rows_of(self, task, number):
        """Validation rows of one task alone."""
        rng = random_of(self._seed, "valid", task)
        (made,) = [t for name, _, t in self.mixture.tasks if name == task]
        return self._rows(lambda: made.make(rng), rng, number)

    def _shares(self, rng):
        return {name: share * rng.uniform(0.9, 1.1) for name, share, _ in self.mixture.tasks}

    def _rows(self, make, rng, number):
        packer = Packer(self._length, self._tokenizer, make,
                        lambda: self.mixture.plain_text.make(rng))
        rows = [packer.row() for _ in range(number)]
        return (numpy.array([ids for ids, _ in rows], dtype="<u2"),
                numpy.array([weights for _, weights in rows], dtype="u1"))


def _size(made):
    """About how many tokens something has: characters, the fixed text on tools counted less."""
    if isinstance(made, str):
        return len(made)
    text = sum(len(str(message)) for message in made["messages"])
    return text + (900 + len(str(made["tools"])) if "tools" in made else 0)


_maker = None


def _start_worker(arguments):
    global _maker
    _maker = Maker(arguments)


def _make_block(number):
    return _maker.block(number)


def write(directory, blocks, meta):
    """Writes blocks of (ids, weights) as they come."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = learned = 0
    with (open(directory / "tokens.u16", "wb") as tokens,
          open(directory / "weights.u8", "wb") as weights):
        for block_ids, block_weights in blocks:
            tokens.write(block_ids.tobytes())
            weights.write(block_weights.tobytes())
            rows += len(block_ids)
            learned += int((block_weights == 255).sum())
    meta = {**meta, "rows": rows, "learned_tokens": learned}
    (directory / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    return meta


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=36e6)
    parser.add_argument("--valid-tokens", type=float, default=3e5)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tokenizer", default="models/mini/tokenizer.json")
    parser.add_argument("--packages", default="build/mini-packages", help="folder for downloads")
    arguments = parser.parse_args()

    maker = Maker(arguments)  # fetches the packages, too
    tokenizer = Tokenizer.load(arguments.tokenizer)
    _, compressed = engram_token_map(tokenizer)
    meta = {"row_length": arguments.seq_len + 1, "vocab_size": tokenizer.size,
            "engram_compressed_vocab_size": compressed, "special_ids": tokenizer.added,
            "seed": arguments.seed, "shares": {name: s for name, s, _ in maker.mixture.tasks}}
    names = [name for name, _, _ in maker.mixture.tasks]
    each = max(1, round(arguments.valid_tokens / (arguments.seq_len + 1) / len(names)))
    valid = write(arguments.out / "valid", (maker.rows_of(name, each) for name in names),
                  {**meta, "tasks": [name for name in names for _ in range(each)]})
    print(f"valid: {valid['rows']} rows")
    blocks = round(arguments.tokens / (arguments.seq_len + 1) / ROWS_A_BLOCK)
    with multiprocessing.Pool(arguments.processes, _start_worker, (arguments,)) as pool:
        train = write(arguments.out, pool.imap(_make_block, range(blocks)), meta)
    print(f"train: {train['rows']} rows, {train['learned_tokens']} learned tokens")


if __name__ == "__main__":
    main()
