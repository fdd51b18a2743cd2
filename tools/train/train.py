"""Trains a small V4.1 model. See README.md.

    python3 tools/train/train.py --data DIR --tokenizer models/mini/tokenizer.json --out DIR \\
        --steps 2000            # or --seconds 540: all phases are fitted into that time

Deterministic by --seed on a CPU (a GPU adds in changing order). `--resume` goes on from the
checkpoint in --out; `--start-from` goes on from a released model. On a GPU one training step is captured once and then replayed.
"""

import argparse
import json
import os
import time

import torch
import torch.nn.functional as F

import phases
from attention import FlexMasks, use_flex
from checkpoint import export, load_masters, save_slim
from config import Config
from corpus import Corpus, Feed
from dspark import draft_loss
from engram import token_map
from model import Model
from moe import balance
from muon import Optimizer
from region import compile_regions, region

METRICS = ("loss", "index", "draft", "accepted", "confidence", "busiest")


@region
def token_loss(normed, head, targets, weights):
    """Weighted mean cross entropy."""
    logits = F.linear(normed, head).float()
    ce = torch.logsumexp(logits, -1) - logits.gather(-1, targets[..., None])[..., 0]
    return (ce * weights).sum() / (weights.sum() + 1e-6)


class Trainer:
    """One model, its optimizer, and a training step that reads its inputs from fixed places."""

    ANCHOR_STRIDE = 16
    SAMPLE_STRIDE = 8

    def __init__(self, model, optimizer, corpus, batch, length, device):
        self.model, self.optimizer, self.corpus = model, optimizer, corpus
        self.length, self.device = length, device
        self.continued = False  # the model was trained before: no phase of the beginning
        self.index = torch.zeros(batch, dtype=torch.long, device=device)
        self.anchor_shift = torch.zeros((), dtype=torch.long, device=device)
        self.sample_shift = torch.zeros((), dtype=torch.long, device=device)
        self.amount = torch.zeros((), device=device)
        self.count = torch.zeros((), device=device)
        self.metrics = torch.zeros(len(METRICS), device=device)
        block = model.config.dspark_block_size
        usable = length - 1 - block - self.ANCHOR_STRIDE
        self.anchors = torch.arange(0, usable, self.ANCHOR_STRIDE, device=device)
        self.samples = torch.arange(0, length, self.SAMPLE_STRIDE, device=device)
        self.graph = None

    def set(self, index, shifts, fraction):
        """Fills in what the next step reads. fraction: of this run."""
        warm = phases.warm_up(fraction)
        if self.continued:
            fraction = phases.continued(fraction)
        self.index.copy_(index)
        self.anchor_shift.fill_(shifts % self.ANCHOR_STRIDE)
        self.sample_shift.fill_(shifts // self.ANCHOR_STRIDE % self.SAMPLE_STRIDE)
        self.amount.fill_(phases.rounding(fraction))
        topk = self.model.config.index_topk
        self.count.fill_(phases.readable_rows(fraction, self.length, topk))
        self.optimizer.factor.fill_(warm * phases.learning_rate(fraction))

    def compute(self):
        """Forward, backward and update."""
        model, config = self.model, self.model.config
        tokens, targets, weights = self.corpus.batch(self.index)
        w = model.weights(self.amount)
        samples = self.samples + self.sample_shift
        normed, hidden, index_loss = model.forward(w, tokens, self.amount, self.count, samples)
        head = w[""]["head"]
        loss = token_loss(normed, head, targets, weights)

        anchors = self.anchors + self.anchor_shift
        ahead = anchors[:, None] + 1 + torch.arange(config.dspark_block_size, device=self.device)
        shape = (tokens.shape[0], *ahead.shape)
        previous = tokens.index_select(1, ahead.flatten()).view(shape)
        importance = weights.index_select(1, ahead.flatten()).view(shape)
        x, logits = model.draft(w, hidden, anchors, previous[:, :, 0], self.amount)
        drafted, e = logits(previous)
        with torch.no_grad():
            rows = normed.detach().index_select(1, ahead.flatten()).view(*shape, -1)
            wanted = F.linear(rows, head)
        confidence = w[f"mtp.{config.num_nextn_predict_layers - 1}."]["confidence_head.proj"]
        draft, sure, accepted = draft_loss(drafted, wanted, x, e, confidence, importance)

        (loss + index_loss + draft + 0.1 * sure).backward()
        self.optimizer.step()
        busiest = self.balance_experts()
        with torch.no_grad():
            values = (loss, index_loss, draft, accepted, sure, busiest)
            self.metrics.copy_(torch.stack([v.detach().float() for v in values]))

    def balance_experts(self):
        """Moves the routers' biases; returns the largest share of a backbone expert."""
        speed = 1e-3 * (0.05 + self.optimizer.factor)
        worst = None
        for tag, loads in self.model.loads.items():
            stack = self.model.parameters.stacks[tag + "ffn.gate.bias"]
            load = torch.stack([loads[owner] for owner in stack.owners]).detach()
            balance(self.model.parameters.tensor(stack.key), load, speed)
            worst = load.max() if worst is None else worst
        return worst

    def capture(self):
        """Warms up (compiles) and captures the step, with a learning rate of 0."""
        parameters = list(self.model.parameters.parameters())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                for p in parameters:
                    p.grad = None
                self.compute()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        for p in parameters:
            p.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute()
        self.graph = graph

    def step(self):
        if self.graph is not None:
            self.graph.replay()
            return
        for p in self.model.parameters.parameters():
            p.grad = None
        self.compute()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, nargs="+", help="later ones follow when they are there")
    parser.add_argument("--rows", type=int, help="reserve so many rows: the data is still being made")
    parser.add_argument("--first-until", type=float, default=0.12, help="fraction of the run that reads the first of several --data")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--config", help="config.json to start from; default: the built-in shape")
    parser.add_argument("--start-from", help="released model whose weights the run begins with")
    parser.add_argument("--anew", action="store_true", help="with --start-from: all phases of a run, not its descent only")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, help="of the whole program, start and export included")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row, as in the data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.0, help="factor of all learning rates")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--plain", action="store_true", help="GPU: no compilation, no fused attention")
    parser.add_argument("--save-every", type=float, default=60, help="seconds between checkpoints")
    parser.add_argument("--slim", action="store_true", help="checkpoints without optimizer, in parts")
    parser.add_argument("--profile", action="store_true", help="GPU: write profile.txt, kernel by kernel")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--stop-after", type=int, help="end after this many steps, to be resumed")
    args = parser.parse_args()
    if not args.steps and not args.seconds:
        parser.error("give --steps or --seconds")
    if args.start_from and args.config:
        parser.error("--start-from has a config.json of its own: leave out --config")
    if args.anew and not args.start_from:
        parser.error("--anew says how to go on from a model: give --start-from, too")
    return args


RATES = {"muon": 4e-3, "gates": 7e-4, "plain": 2e-3, "embed": 4e-3, "head": 1e-3, "table": 1e-2}


def choose_attention(model, args):
    """Our own kernels where they are right on this machine, else FlexAttention."""
    c = model.config
    try:
        from fused_attention import fused, verified

        difference = verified(args.length, c.num_attention_heads, c.head_dim, c.sliding_window)
        print(f"fused attention: largest relative difference {difference:.1e}", flush=True)
        if difference < 0.02:
            model.fused = fused
            return
    except Exception as error:  # whatever a compiler may say: there is the other way
        print(f"fused attention: {error!r:.500}", flush=True)
    use_flex()
    model.masks = FlexMasks(args.batch, args.length, c.sliding_window, args.device)


def build(args):
    path = os.path.join(args.start_from, "config.json") if args.start_from else args.config
    config = Config.load(path) if path else Config()
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    model = Model(config, token_map(args.tokenizer), args.seed, dtype).to(args.device)
    if args.start_from:
        load_masters(model, os.path.join(args.start_from, "model.safetensors"))
    optimizer = Optimizer(model.parameters, {k: v * args.rate for k, v in RATES.items()})
    return model, optimizer


def save(args, trainer, feed, step, log):
    log.flush()
    if args.slim:
        save_slim(trainer.model, args.out)
        return
    state = {
        "parameters": trainer.model.parameters.state_dict(),
        "optimizer": trainer.optimizer.state(),
        "feed": feed.state(),
        "step": step,
    }
    torch.save(state, os.path.join(args.out, "state.pt.tmp"))
    os.replace(os.path.join(args.out, "state.pt.tmp"), os.path.join(args.out, "state.pt"))


def restore(args, trainer, feed):
    """The state that `save` wrote; returns the step."""
    state = torch.load(os.path.join(args.out, "state.pt"), map_location=args.device)
    trainer.model.parameters.load_state_dict(state["parameters"])
    trainer.optimizer.restore(state["optimizer"])
    feed.open(state["feed"]["set"], state["feed"]["taken"])
    return state["step"]


def run(args, trainer, feed, step, started):
    """Steps until the steps or the seconds are over; returns the number of the last."""
    begin = saved = time.monotonic()
    deadline = started + (args.seconds or 0)
    chatty = args.device == "cpu"
    with open(os.path.join(args.out, "log.jsonl"), "a" if step else "w", encoding="utf-8") as log:
        while True:
            now = time.monotonic()
            fraction = step / args.steps if args.steps else (now - begin) / (deadline - begin)
            if fraction >= 1 or (args.stop_after and step >= args.stop_after):
                break
            trainer.set(feed.next(fraction), step * 2654435761 % 2**31 // 64, fraction)
            trainer.step()
            step += 1
            if step % 10 == 0 or chatty:
                record = {"step": step, "tokens": step * args.batch * args.length}
                record.update(zip(METRICS, (round(v, 4) for v in trainer.metrics.tolist())))
                record.update(fraction=round(fraction, 4), seconds=round(now - started, 1))
                log.write(json.dumps(record) + "\n")
                if step % 100 == 0 or chatty:
                    print(json.dumps(record), flush=True)
            if now - saved > args.save_every:
                save(args, trainer, feed, step, log)
                saved = now
        save(args, trainer, feed, step, log)
    return step


def profile(trainer, path):
    """Where the time of a step goes (its learning rate is 0)."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as recorder:
        for _ in range(2):
            trainer.step()
        torch.cuda.synchronize()
    table = recorder.key_averages().table(sort_by="cuda_time_total", row_limit=80, max_name_column_width=100)
    with open(path, "w", encoding="utf-8") as file:
        file.write(table)


def main():
    started = time.monotonic()
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    if args.device == "cuda" and not args.plain:
        compile_regions()
    model, optimizer = build(args)
    corpus = Corpus(args.rows or Feed.capacity(args.data), args.length, args.device)
    trainer = Trainer(model, optimizer, corpus, args.batch, args.length, args.device)
    trainer.continued = bool(args.start_from) and not args.anew
    if args.device == "cuda" and not args.plain:
        choose_attention(model, args)
        trainer.set(torch.zeros(args.batch, dtype=torch.long), 0, 0.0)
        optimizer.factor.fill_(0)
        trainer.capture()
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f"captured after {time.monotonic() - started:.1f} s, {memory:.1f} GiB", flush=True)
    if args.profile:
        profile(trainer, os.path.join(args.out, "profile.txt"))
    feed = Feed(args.data, corpus, args.batch, args.seed, args.first_until)
    first = restore(args, trainer, feed) if args.resume else 0
    if not args.resume:
        feed.open(0)
    step = run(args, trainer, feed, first, started)
    model.config.save(os.path.join(args.out, "config.json"))
    size = export(model, os.path.join(args.out, "model.safetensors"))
    spent = time.monotonic() - started
    tokens = step * args.batch * args.length / 1e6
    print(f"{step} steps, {tokens:.1f} M tokens, {spent:.0f} s; {size} bytes")


if __name__ == "__main__":
    main()
