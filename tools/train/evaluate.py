"""Losses of a trained model on the validation rows: per task, per number format, without Engram, and
how many drafts the model would accept.

    python3 tools/train/evaluate.py --model models/mini --data DIR/valid [--master OUT] [--rows 3]
"""

import argparse
import json
import os

import torch

from checkpoint import load, load_slim
from config import Config
from corpus import Corpus
from engram import token_map
from model import Model


def row_loss(model, w, tokens, targets, weights, amount):
    """(weighted sum of cross entropy, sum of weights) of fully weighted tokens, and hidden rows."""
    normed, hidden, _ = model.forward(w, tokens, amount)
    logits = model.logits(w, normed)
    learned = (weights > 0.99).float()
    ce = torch.logsumexp(logits, -1) - logits.gather(-1, targets[..., None])[..., 0]
    right = (logits.argmax(-1) == targets).float()
    return ((ce * learned).sum(), (right * learned).sum(), learned.sum()), logits, hidden


def drafts_accepted(model, w, tokens, logits, hidden, weights, amount):
    """(drafts accepted, draft calls) when greedy, at positions inside answers."""
    block = model.config.dspark_block_size
    length = tokens.shape[1]
    inside = torch.nonzero(weights[0, : length - block - 2] > 0.99)[:, 0][::5]
    if len(inside) == 0:
        return 0, 0
    anchors = inside + 1
    best = logits[0].argmax(-1)
    # after position p the model says best[p]; count where the text agrees, so that later rows hold
    anchors = anchors[best[anchors] == tokens[0, anchors + 1]]
    if len(anchors) == 0:
        return 0, 0
    _, head = model.draft(w, hidden, anchors, tokens[:, anchors + 1], amount)
    previous = tokens[:, anchors + 1][..., None]
    alive = torch.ones(len(anchors), dtype=torch.bool)
    accepted = 0
    for i in range(block):
        row, _ = head(previous, slice(i, i + 1))
        drafted = row.argmax(-1)
        alive &= drafted[0, :, 0] == best[anchors + 1 + i]
        alive &= tokens[0, (anchors + 1 + i).clamp(max=length - 1)] == best[anchors + i]
        accepted += int(alive.sum())
        previous = drafted
    return accepted, len(anchors)


def evaluate(model, corpus, args, amount, live_engram=True, drafts=False):
    """{task: [ce, share right]} and drafts accepted per call."""
    model.live_engram = live_engram
    w = model.weights(amount)
    tasks = corpus.meta["tasks"]
    sums, taken, draft = {}, {}, [0, 0]
    for i, task in enumerate(tasks):
        if taken.get(task, 0) >= args.rows:
            continue
        taken[task] = taken.get(task, 0) + 1
        tokens, targets, weights = corpus.batch(torch.tensor([i]), args.length)
        values, logits, hidden = row_loss(model, w, tokens, targets, weights, amount)
        sums[task] = [a + b.item() for a, b in zip(sums.get(task, [0, 0, 0]), values)]
        if drafts:
            got = drafts_accepted(model, w, tokens, logits, hidden, weights, amount)
            draft = [a + b for a, b in zip(draft, got)]
    model.live_engram = True
    total = [sum(s[i] for s in sums.values()) for i in range(3)]
    sums["all"] = total
    result = {t: [round(s[0] / max(s[2], 1), 4), round(s[1] / max(s[2], 1), 4)] for t, s in sums.items()}
    return result, draft[0] / max(draft[1], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--master", help="directory with slim-*.bin: the weights before rounding")
    parser.add_argument("--rows", type=int, default=3, help="rows per task")
    parser.add_argument("--length", type=int, help="tokens of each row; default: all")
    parser.add_argument("--short", action="store_true", help="the released model only")
    args = parser.parse_args()
    config = Config.load(os.path.join(args.model, "config.json"))
    model = Model(config, token_map(os.path.join(args.model, "tokenizer.json")))
    corpus = Corpus.of(args.data)
    one = torch.tensor(1.0)
    with torch.no_grad():
        load(model, os.path.join(args.model, "model.safetensors"))
        result, accepted = evaluate(model, corpus, args, one, drafts=True)
        print("released, as it runs (activations and caches rounded too):")
        print(json.dumps(result, indent=1))
        print(f"drafts accepted per call: {accepted:.2f} of {config.dspark_block_size}")
        if args.short:
            return
        print("released, exact activations:", evaluate(model, corpus, args, None)[0]["all"])
        without, _ = evaluate(model, corpus, args, one, live_engram=False)
        print("released, without Engram:", json.dumps(without))
        if args.master:
            load_slim(model, args.master)
            print("before rounding:", evaluate(model, corpus, args, None)[0]["all"])


if __name__ == "__main__":
    main()
