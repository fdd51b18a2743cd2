"""The tensors of a V4.1 text model. Spec: deepseek-v4.1.md section 2.

Tensors of one kind and shape are kept stacked, one entry per layer that owns one: the optimizer and
the quantizer then handle a handful of large tensors instead of hundreds of small ones. The table
below is the one place that knows names, shapes, formats and optimizer groups.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from quantize import quantize_weight


# While it trains, the output head is a tensor of its own plus this much of the embedding, so that
# whatever brings a token's embedding to the end of the stream writes that token: copying is learned
# for all tokens at once, the rare ones included.
TIE = 0.15


@dataclass
class Stack:
    """One parameter: `owners` x shape, stored in the release as owner + suffix."""

    key: str  # how the model asks for it, e.g. "attn.wq_a"
    suffix: str  # the released name after the owner's prefix; {} is the expert's number
    owners: list  # prefixes such as "layers.3."
    shape: tuple
    kind: str  # released format: fp8, fp4, row8, bf16, f32
    group: str  # optimizer group: muon, gates, plain, embed, head, table, fixed
    init: float = 0.0  # standard deviation, or the value of a "one"/"zero" tensor
    fill: str = "normal"  # normal, one, zero, own

    @property
    def experts(self):
        return "{}" in self.suffix


def _block_stacks(c, blocks):
    d, heads = c.hidden_size, c.num_attention_heads * c.head_dim
    q, o, inner = c.q_lora_rank, c.o_lora_rank * c.o_groups, c.moe_intermediate_size
    mix = (2 + c.hc_mult) * c.hc_mult
    out = []

    def add(key, shape, kind, group, init=0.0, fill="normal", suffix=None):
        out.append(Stack(key, suffix or key, blocks, shape, kind, group, init, fill))

    def matrix(key, n, k, gain=1.0):
        add(key, (n, k), "fp8", "muon", gain * k**-0.5, suffix=key + ".weight")

    matrix("attn.wq_a", q, d)
    matrix("attn.wq_b", heads, q)
    matrix("attn.wkv", c.head_dim, d)
    matrix("attn.wo_a", o, heads // c.o_groups)
    matrix("attn.wo_b", d, o, 0.3)
    matrix("ffn.shared_experts.w1", inner, d)
    matrix("ffn.shared_experts.w3", inner, d)
    matrix("ffn.shared_experts.w2", d, inner, 0.3)
    for key, n in (("attn_norm", d), ("ffn_norm", d), ("attn.q_norm", q), ("attn.kv_norm", c.head_dim)):
        add(key, (n,), "bf16", "plain", fill="one", suffix=key + ".weight")
    add("attn.attn_sink", (c.num_attention_heads,), "f32", "plain", fill="zero")
    for sub in ("attn", "ffn"):
        add(f"hc_{sub}_fn", (mix, c.hc_mult * d), "f32", "gates", (c.hc_mult * d) ** -0.5)
        add(f"hc_{sub}_base", (mix,), "f32", "plain", fill="own")
        add(f"hc_{sub}_scale", (3,), "f32", "plain", 0.2, fill="value")
    return out


def _expert_stacks(c, owners, experts, tag):
    d, inner = c.hidden_size, c.moe_intermediate_size
    out = [
        Stack(tag + "ffn.gate", "ffn.gate.weight", owners, (experts, d), "bf16", "gates", d**-0.5),
        Stack(tag + "ffn.gate.bias", "ffn.gate.bias", owners, (experts,), "f32", "fixed", fill="zero"),
    ]
    for name, n, k, gain in (("w1", inner, d, 1.0), ("w3", inner, d, 1.0), ("w2", d, inner, 0.3)):
        suffix = "ffn.experts.{}." + name + ".weight"
        shape = (experts, n, k)
        key = f"{tag}ffn.experts.{name}"
        out.append(Stack(key, suffix, owners, shape, "fp4", "muon", gain * k**-0.5))
    return out


def stacks(c):
    """All parameters of a model with config c."""
    d, hd = c.hidden_size, c.head_dim
    layers = [f"layers.{i}." for i in range(c.num_hidden_layers)]
    drafts = [f"mtp.{i}." for i in range(c.num_nextn_predict_layers)]
    kv = [f"layers.{i}." for i in c.kv_source_layer_ids]
    pooled = [f"layers.{i}." for i in c.kv_source_layer_ids if c.compress_ratios[i] > 1]
    index = [f"layers.{i}." for i in c.index_source_layer_ids]
    memory = [f"layers.{i}." for i in c.engram_layer_ids]
    out = [
        Stack("embed", "embed.weight", [""], (c.vocab_size, d), "bf16", "embed", 0.3),
        Stack("head", "head.weight", [""], (c.vocab_size, d), "bf16", "head", 0.002),
        Stack("norm", "norm.weight", [""], (d,), "bf16", "plain", fill="one"),
    ]
    out += _block_stacks(c, layers + drafts)
    out += _expert_stacks(c, layers, c.n_routed_experts, "")
    if drafts:
        out += _expert_stacks(c, drafts, c.dspark_n_routed_experts, "draft.")

    def add(key, suffix, owners, shape, kind, group, init=0.0, fill="normal"):
        if owners:
            out.append(Stack(key, suffix, owners, shape, kind, group, init, fill))

    def norm(key, owners, n):
        add(key, key + ".weight", owners, (n,), "bf16", "plain", fill="one")

    add("attn.compressor.wkv", "attn.compressor.wkv.weight", kv, (hd, d), "bf16", "muon", d**-0.5)
    add("attn.compressor.wgate", "attn.compressor.wgate.weight", pooled, (hd, d), "bf16", "muon", 0.3 * d**-0.5)
    norm("attn.compressor.norm", kv, hd)
    add("attn.indexer.wk", "attn.indexer.wk.weight", kv, (c.index_head_dim, hd), "bf16", "muon", hd**-0.5)
    norm("attn.indexer.k_norm", kv, c.index_head_dim)
    width = c.index_n_heads * c.index_head_dim
    add("attn.indexer.wq_b", "attn.indexer.wq_b.weight", index, (width, c.q_lora_rank), "fp8", "muon", c.q_lora_rank**-0.5)
    add("attn.indexer.weights_proj", "attn.indexer.weights_proj.weight", index, (c.index_n_heads, d), "bf16", "gates", d**-0.5)
    if memory:
        rows = c.engram_columns() * c.engram_head_dim
        copies = c.hc_mult
        add("engram.wkv", "engram.wkv.weight", memory, (d * (copies + 1), rows), "fp8", "muon", 0.5 * rows**-0.5)
        add("engram.q_weight", "engram.q_weight", memory, (copies, d), "bf16", "plain", fill="one")
        add("engram.k_weight", "engram.k_weight", memory, (copies, d), "bf16", "plain", fill="one")
        total = sum(c.engram_num_embeddings)
        add("engram.embed", "engram.embed.weight", [""], (total, c.engram_head_dim), "row8", "table", 0.1)
    if drafts:
        last, targets, rank = [drafts[-1]], len(c.dspark_target_layer_ids), c.dspark_markov_rank
        add("main_proj", "main_proj.weight", drafts[:1], (d, targets * d), "fp8", "muon", (targets * d) ** -0.5)
        norm("main_norm", drafts[:1], d)
        add("draft.norm", "norm.weight", last, (d,), "bf16", "plain", fill="one")
        add("markov_head.embed", "markov_head.embed.weight", last, (c.vocab_size, rank), "bf16", "embed", 0.3)
        add("markov_head.head", "markov_head.head.weight", last, (c.vocab_size, rank), "bf16", "head", 0.01)
        add("confidence_head.proj", "confidence_head.proj.weight", last, (1, d + rank), "bf16", "gates", fill="zero")
    return out


def _hyper_base(copies, generator):
    """pre: a quarter of each copy; post: 1; comb: nearly the identity. Noise tells copies apart."""
    pre = torch.full((copies,), -math.log(copies - 1))
    post = torch.zeros(copies)
    comb = (3.0 * torch.eye(copies)).flatten()
    base = torch.cat((pre, post, comb))
    return base + 0.3 * torch.randn(base.shape, generator=generator)


class Parameters(nn.Module):
    """The stacks as nn.Parameters, and what the forward pass computes with."""

    def __init__(self, config, seed=0):
        super().__init__()
        self.config = config
        self.tie = TIE
        self.stacks = {s.key: s for s in stacks(config)}
        generator = torch.Generator().manual_seed(seed)
        for stack in self.stacks.values():
            value = self._initial(stack, generator)
            parameter = nn.Parameter(value, requires_grad=stack.group != "fixed")
            self.register_parameter(stack.key.replace(".", "_"), parameter)

    def _initial(self, stack, generator):
        shape = (len(stack.owners), *stack.shape)
        if stack.fill == "own":
            copies = self.config.hc_mult
            return torch.stack([_hyper_base(copies, generator) for _ in stack.owners])
        if stack.fill == "normal":
            return stack.init * torch.randn(shape, generator=generator)
        return torch.full(shape, {"one": 1.0, "zero": 0.0, "value": stack.init}[stack.fill])

    def tensor(self, key):
        return getattr(self, key.replace(".", "_"))

    def value(self, key):
        """The tensor as the release has it, before rounding."""
        if key == "head" and self.tie:
            return self.tensor(key) + self.tie * self.tensor("embed").detach()
        return self.tensor(key)

    def used(self, amount, dtype):
        """{owner: {key: tensor}} as the forward pass uses them.

        amount: None for the exact values, else 0 to 1 of the way to the released format's values
        (gradients pass straight through). Matrices come in `dtype`, the f32 tensors as f32.
        """
        result = {}
        for key, stack in self.stacks.items():
            w = self.value(key)
            if amount is not None and stack.kind in ("fp8", "fp4", "row8"):
                w = w + (quantize_weight(w, stack.kind) - w).detach() * amount
            if stack.kind != "f32":
                w = w.to(dtype)
            for owner, piece in zip(stack.owners, torch.unbind(w)):
                result.setdefault(owner, {})[key] = piece
        return result
