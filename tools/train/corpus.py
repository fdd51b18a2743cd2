"""Training rows as make_data.py writes them: tokens.u16 and weights.u8, [rows, length + 1] each."""

import json
import os
import time

import numpy as np
import torch


class Corpus:
    """All rows, on one device. A row's tokens 0..L-1 predict its tokens 1..L."""

    def __init__(self, capacity, length, device="cpu"):
        self.length = length
        self.tokens = torch.zeros(capacity, length + 1, dtype=torch.int16, device=device)
        self.weights = torch.zeros(capacity, length + 1, dtype=torch.uint8, device=device)
        self.rows = 0
        self.meta = None

    @staticmethod
    def of(directory, device="cpu"):
        """The rows of a directory."""
        with open(os.path.join(directory, "meta.json"), encoding="utf-8") as file:
            meta = json.load(file)
        corpus = Corpus(meta["rows"], meta["row_length"] - 1, device)
        corpus.read(directory)
        return corpus

    def read(self, directory):
        """Replaces the rows by those of a directory, as many as there is room for."""
        with open(os.path.join(directory, "meta.json"), encoding="utf-8") as file:
            self.meta = json.load(file)
        capacity, width = self.tokens.shape
        assert self.meta["row_length"] == width
        for name, dtype, target in (("tokens.u16", "<i2", self.tokens), ("weights.u8", "u1", self.weights)):
            values = np.fromfile(os.path.join(directory, name), dtype=dtype).reshape(-1, width)
            self.rows = min(len(values), capacity)
            target[: self.rows].copy_(torch.from_numpy(values[: self.rows]))

    def batch(self, index, length=None):
        """(inputs, targets, weights) [B, length] of some rows."""
        length = length or self.length
        tokens = self.tokens[index, : length + 1].long()
        weights = self.weights[index, 1 : length + 1].float() / 255
        return tokens[:, :-1], tokens[:, 1:], weights


class Order:
    """Row numbers, batch by batch: each epoch a new permutation, all of it determined by the seed."""

    def __init__(self, rows, batch, seed):
        self.rows, self.batch, self.seed = rows, batch, seed
        self.taken = 0
        self.epoch, self.order = -1, None

    def next(self):
        index = []
        while len(index) < self.batch:
            epoch, place = divmod(self.taken, self.rows)
            if epoch != self.epoch:
                random = np.random.default_rng([self.seed, epoch])
                self.epoch, self.order = epoch, random.permutation(self.rows)
            piece = self.order[place : place + self.batch - len(index)].tolist()
            index += piece
            self.taken += len(piece)
        return torch.tensor(index)


def _exists(directory):
    return os.path.exists(os.path.join(directory, "meta.json"))


class Feed:
    """Batches of one or more data sets that follow one another.

    The first is read until `first_until` of the run is over; the others come in turn, the next as soon
    as it is there (it may still be in the making).
    """

    def __init__(self, directories, corpus, batch, seed, first_until):
        self.directories, self.corpus = directories, corpus
        self.batch, self.seed, self.first_until = batch, seed, first_until
        self.current, self.order = -1, None

    @staticmethod
    def capacity(directories):
        """Rows of the largest set that is there."""
        rows = []
        for directory in filter(_exists, directories):
            with open(os.path.join(directory, "meta.json"), encoding="utf-8") as file:
                rows.append(json.load(file)["rows"])
        return max(rows)

    def open(self, number, taken=0):
        """Reads a set, once it is there; `taken` rows of it have been used."""
        while not _exists(self.directories[number]):
            time.sleep(0.2)
        self.corpus.read(self.directories[number])
        self.current = number
        self.order = Order(self.corpus.rows, self.batch, self.seed)
        self.order.taken = taken

    def next(self, fraction):
        """Row numbers of the next batch."""
        following = self.current + 1
        due = following == 1 and fraction >= self.first_until or following > 1
        if due and following < len(self.directories) and _exists(self.directories[following]):
            self.open(following)
        return self.order.next()

    def state(self):
        return {"set": self.current, "taken": self.order.taken}
