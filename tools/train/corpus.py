"""Training rows as make_data.py writes them: tokens.u16 and weights.u8, [rows, length + 1] each."""

import json
import os

import numpy as np
import torch


class Corpus:
    """All rows, on one device. A row's tokens 0..L-1 predict its tokens 1..L."""

    def __init__(self, directory, device="cpu"):
        with open(os.path.join(directory, "meta.json"), encoding="utf-8") as file:
            self.meta = json.load(file)
        width = self.meta["row_length"]
        tokens = np.fromfile(os.path.join(directory, "tokens.u16"), dtype="<u2").reshape(-1, width)
        weights = np.fromfile(os.path.join(directory, "weights.u8"), dtype=np.uint8)
        self.tokens = torch.from_numpy(tokens.astype(np.int16)).to(device)
        self.weights = torch.from_numpy(weights.reshape(-1, width)).to(device)
        self.rows, self.length = len(tokens), width - 1

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
