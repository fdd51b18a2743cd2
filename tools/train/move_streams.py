"""Gives a released model another layout of compressed streams, as a beginning for further training.

    python3 tools/train/move_streams.py --model models/mini --out DIR --ratios 0,2,2,2,2,2,1,1,0,0 \\
        --kv-sources 1,6 --index-sources 1,3,6,7 --candidate-source 6

A layer that becomes the source of a stream begins with its own window's keys: its compressed rows (of
ratio 1) then say what its window rows say, at any distance, and what its heads find near by they find far
away, too. A new indexer begins with random weights, which training must replace. The tokenizer is copied.
"""

import argparse
import os
import shutil

from checkpoint import decode, export, load, places, read_safetensors
from config import Config
from engram import token_map
from model import Model

_FROM_WINDOW = {"attn.compressor.wkv.weight": "attn.wkv.weight",
                "attn.compressor.norm.weight": "attn.kv_norm.weight"}  # fmt: skip


def beginning(raw, name):
    """The value that tensor `name` begins with; None: the random one of a new model."""
    if name in raw:
        return decode(raw, name)
    for new, old in _FROM_WINDOW.items():
        if name.endswith(new):
            return decode(raw, name[: -len(new)] + old)
    return None


def moved(config, tokenizer, weights, seed=1):
    """A model of shape `config` with the weights of a released one; and the names that are new."""
    model = Model(config, token_map(tokenizer), seed)
    load(model, weights, beginning)
    old = read_safetensors(weights)
    return model, [name for name, _, _ in places(model) if name not in old]


def _numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="directory of the released model")
    parser.add_argument("--out", required=True)
    parser.add_argument("--ratios", type=_numbers, required=True, help="of every layer, drafts too")
    parser.add_argument("--kv-sources", type=_numbers, required=True)
    parser.add_argument("--index-sources", type=_numbers, required=True)
    parser.add_argument("--candidate-source", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    config = Config.load(os.path.join(args.model, "config.json"))
    if len(args.ratios) != len(config.compress_ratios):
        parser.error(f"--ratios: {len(config.compress_ratios)} numbers, as in {args.model}")
    config.compress_ratios = args.ratios
    config.kv_source_layer_ids = args.kv_sources
    config.index_source_layer_ids = args.index_sources
    config.candidate_source_layer_id = args.candidate_source
    tokenizer = os.path.join(args.model, "tokenizer.json")
    weights = os.path.join(args.model, "model.safetensors")
    model, new = moved(config, tokenizer, weights, args.seed)
    os.makedirs(args.out, exist_ok=True)
    config.save(os.path.join(args.out, "config.json"))
    export(model, os.path.join(args.out, "model.safetensors"))
    shutil.copy(tokenizer, args.out)
    print("new tensors:", *(new or ["none"]), sep="\n  ")


if __name__ == "__main__":
    main()
