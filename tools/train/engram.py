"""Engram, the hashed n-gram memory. Spec: deepseek-v4.1.md section 6."""

import json

import numpy as np
import torch

from engram_map import map_of_strings
from quantize import fake_activation
from region import region
from rope import linear

# ---- 6.1: compressed token map ----


def token_map(path):
    """Compressed id of every token id of a tokenizer.json."""
    with open(path, encoding="utf-8") as file:
        root = json.load(file)
    strings = {i: t for t, i in root["model"]["vocab"].items()}
    strings.update({a["id"]: a["content"] for a in root.get("added_tokens", [])})
    return map_of_strings([strings[i] for i in range(len(strings))])[0]


# ---- 6.2, 6.3: primes and multipliers ----


def _is_prime(n):
    if n < 2:
        return False
    return all(n % d for d in range(2, int(n**0.5) + 1))


def primes(config):
    """For each Engram layer the primes of its columns."""
    result, n = [], config.engram_vocab_size
    for _ in config.engram_layer_ids:
        columns = []
        while len(columns) < config.engram_columns():
            if _is_prime(n):
                columns.append(n)
            n += 1
        result.append(columns)
    return result


def multipliers(config, layer_id):
    bound = max(1, (2**63 - 1) // config.engram_compressed_vocab_size // 2)
    random = np.random.default_rng(10007 * layer_id)
    drawn = random.integers(0, bound, size=config.engram_max_ngram_size, dtype=np.int64)
    return [2 * int(v) + 1 for v in drawn]


class EngramHash:
    """Table rows of n-grams (6.4). Rows of all Engram layers are numbered through."""

    def __init__(self, config, compressed_ids):
        self.size = config.engram_max_ngram_size
        self.heads = config.engram_n_heads
        self.primes = primes(config)
        self.rows = [sum(p) for p in self.primes]
        factors = [multipliers(config, layer) for layer in config.engram_layer_ids]
        self.multipliers = torch.tensor(factors)
        padded = list(compressed_ids) + [0] * (config.vocab_size - len(compressed_ids))
        self.map = torch.tensor(padded)
        self.pad = compressed_ids[config.engram_pad_token_id]
        flat = [p for layer in self.primes for p in layer]
        self.moduli = torch.tensor(flat).view(len(self.primes), -1)
        self.offsets = (torch.tensor(flat).cumsum(0) - torch.tensor(flat)).view_as(self.moduli)

    def to(self, device):
        for name in ("multipliers", "map", "moduli", "offsets"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __call__(self, tokens):
        """[B, L] ids -> [layers, B, L, columns] rows."""
        return hash_rows(
            tokens, self.map, self.multipliers, self.moduli, self.offsets, self.size, self.heads, self.pad
        )


@region
def hash_rows(tokens, ids, multipliers, moduli, offsets, size, heads, pad):
    t = ids[tokens]
    layers = []
    for layer in range(multipliers.shape[0]):
        rolling = t * multipliers[layer, 0]
        columns = []
        for s in range(1, size):
            shifted = torch.nn.functional.pad(t[:, :-s], (s, 0), value=pad)
            rolling = rolling ^ (shifted * multipliers[layer, s])
            for head in range(heads):
                c = (s - 1) * heads + head
                columns.append(rolling % moduli[layer, c] + offsets[layer, c])
        layers.append(torch.stack(columns, -1))
    return torch.stack(layers)


# ---- 6.5: injection ----


class Rows(torch.autograd.Function):
    """Rows of a table; the gradient is summed row by row (no sort, so that a step can be captured)."""

    @staticmethod
    def forward(ctx, table, index):
        ctx.save_for_backward(index)
        ctx.rows = table.shape[0]
        return table[index]

    @staticmethod
    def backward(ctx, gradient):
        (index,) = ctx.saved_tensors
        flat = gradient.float().flatten(0, -2)
        total = flat.new_zeros(ctx.rows, flat.shape[-1])
        return total.index_add_(0, index.flatten(), flat), None


@region
def inject(h, e, wkv, q_weight, k_weight, eps, amount):
    """The stream h [B, L, 4, D] after the memory's gated value; e [B, L, columns * dim]."""
    copies, dim = h.shape[-2:]
    kv = linear(fake_activation(e, amount), wkv)
    key = kv[..., : copies * dim].unflatten(-1, (copies, dim)).float()
    value = kv[..., copies * dim :].float()
    x = h.float()
    dot = (x * (q_weight.float() * k_weight.float()) * key).sum(-1)
    dot = dot * torch.rsqrt(x.square().mean(-1) + eps) * torch.rsqrt(key.square().mean(-1) + eps)
    dot = dot * dim**-0.5
    # sign(dot) * sqrt(max(|dot|, 1e-6)); the derivative at 0 is kept finite
    root = torch.sqrt(dot.abs().clamp(min=1e-6))
    gate = torch.sigmoid(torch.where(torch.signbit(dot), -root, root))
    return (x + gate[..., None] * value[..., None, :]).to(h.dtype)
