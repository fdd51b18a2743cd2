"""Writes the training data of the small model.

DIR/tokens.u16 holds rows of L+1 ids (uint16, little endian), DIR/weights.u8 the weight of each id
in the loss (255: full), DIR/meta.json what is in them. DIR/valid holds the same for validation,
where every row is of one task: meta.json names it."""

import argparse
import json
import multiprocessing
import sys
from pathlib import Path

import numpy

from bpe import Tokenizer
from engram_map import engram_token_map
from mixture import PHASES, Mixture, Sources, random_of
from packer import Packer, RowsTooShort
from schedule import Schedule

ROWS_A_BLOCK = 64


class Maker:
    """Makes blocks of rows; a block depends on the seed and its number only."""

    def __init__(self, arguments):
        self._length = arguments.seq_len + 1
        self._seed = arguments.seed
        self._tokenizer = Tokenizer.load(arguments.tokenizer)
        self.mixture = Mixture(Sources(arguments.packages), arguments.seq_len, arguments.phase)

    def block(self, number):
        """(ids, weights) of the rows of a training block."""
        return self._rows(self.mixture.tasks, random_of(self._seed, "train", number), ROWS_A_BLOCK)

    def rows_of(self, name, number):
        """Validation rows of one task alone."""
        tasks = [task for task in self.mixture.tasks if task[0] == name]
        return self._rows(tasks, random_of(self._seed, "valid", name), number)

    def _rows(self, tasks, rng, number):
        packer = Packer(self._length, self._tokenizer, Schedule(tasks, rng),
                        lambda: self.mixture.plain_text.make(rng))
        rows = [packer.row() for _ in range(number)]
        return (numpy.array([ids for ids, _ in rows], dtype="<u2"),
                numpy.array([weights for _, weights in rows], dtype="u1"))


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
    parser.add_argument("--phase", choices=PHASES, help="other shares than those of the main part")
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
    try:
        main()
    except RowsTooShort as error:
        sys.exit(f"make_data.py: {error} (--seq-len)")
