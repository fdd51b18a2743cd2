"""Sparse attention over a window and compressed rows. Spec: deepseek-v4.1.md sections 4.1, 4.2.

One head of keys, which are also the values, serves all query heads. In training every compressed
row is there and a mask says which ones a query may read.
"""

import torch
import torch.nn.functional as F

from quantize import fake_activation, fake_kv
from region import region
from rope import linear, rms, rotate

_flex = None  # the fused kernel, once `use_flex()` found it


def use_flex():
    """Attention by FlexAttention's fused kernel (CUDA, PyTorch 2.6 and later)."""
    global _flex
    from torch.nn.attention import flex_attention as module

    compiled = torch.compile(module.flex_attention, dynamic=False, fullgraph=True)

    def flex(q, keys, mask):
        if hasattr(module, "AuxRequest"):  # PyTorch 2.9 and later
            aux = module.AuxRequest(lse=True)
            o, given = compiled(q, keys, keys, block_mask=mask, enable_gqa=True, return_aux=aux)
            return o, given.lse
        return compiled(q, keys, keys, block_mask=mask, enable_gqa=True, return_lse=True)

    _flex = flex


@region
def project(x, wq_a, q_norm, wq_b, wkv, kv_norm, cos, sin, head_dim, eps, amount):
    """(query latent [B, L, Q], queries [B, L, H, hd], window rows [B, L, hd])."""
    x = fake_activation(x, amount)
    latent = rms(linear(x, wq_a), q_norm, eps)
    q = linear(fake_activation(latent, amount), wq_b).unflatten(-1, (-1, head_dim))
    q = rotate(q, cos.unsqueeze(-2), sin.unsqueeze(-2))
    return latent, q, window_rows(x, wkv, kv_norm, cos, sin, eps, amount)


def window_rows(x, wkv, kv_norm, cos, sin, eps, amount):
    return fake_activation(rotate(rms(linear(x, wkv), kv_norm, eps), cos, sin), amount)


@region
def compress(x, wkv, wgate, norm, eps, ratio):
    """Latents [B, L/ratio, hd] before RoPE: groups of `ratio` tokens pooled channel by channel."""
    kv = linear(x, wkv)
    if ratio > 1:
        rows = kv.shape[1] // ratio * ratio
        kv = kv[:, :rows].float().unflatten(1, (-1, ratio))
        gate = linear(x, wgate)[:, :rows].float().unflatten(1, (-1, ratio))
        kv = (torch.softmax(gate, 2) * kv).sum(2).to(x.dtype)
    return rms(kv, norm, eps)


@region
def compressed_rows(latents, cos, sin, amount):
    """What queries read: the latents at their group's first position, rounded as they are stored."""
    return fake_kv(rotate(latents, cos, sin), amount)


def window_mask(length, window, device):
    """[L, L], true where a query (row) sees a key."""
    t = torch.arange(length, device=device)
    distance = t[:, None] - t[None, :]
    return (distance >= 0) & (distance < window)


def attend(q, kv, compressed, selected, sink, window):
    """(o [B, L, H, hd], log of the softmax's denominator [B, L, H]), written out.

    selected: [B, L, S] bool, which compressed rows a query reads; None without compressed rows.
    """
    b, length, heads, head_dim = q.shape
    mask = window_mask(length, window, q.device).expand(b, -1, -1)
    keys = kv
    if compressed is not None:
        keys = torch.cat((kv, compressed), 1)
        mask = torch.cat((mask, selected), -1)
    scores = torch.einsum("blhd,bsd->blhs", q.float(), keys.float()) * head_dim**-0.5
    scores = scores.masked_fill(~mask[:, :, None], float("-inf"))
    sinks = sink.view(1, 1, heads, 1).expand(b, length, heads, 1)
    everything = torch.cat((scores, sinks), -1)
    p = torch.softmax(everything, -1)[..., :-1]
    o = torch.einsum("blhs,bsd->blhd", p, keys.float())
    return o.to(q.dtype), torch.logsumexp(everything, -1)


class FlexMasks:
    """Block masks for the fused kernel. `selected` buffers are fixed places that a step fills in."""

    BLOCK = 128

    def __init__(self, batch, length, window, device):
        self.batch, self.length, self.window, self.device = batch, length, window, device
        self.buffers = {}
        self.masks = {}

    def buffer(self, layer, rows):
        if layer not in self.buffers:
            shape = (self.batch, self.length, rows)
            self.buffers[layer] = torch.zeros(shape, dtype=torch.bool, device=self.device)
        return self.buffers[layer]

    def mask(self, layer, ratio):
        """The mask of layers that read index source `layer` (None: window only)."""
        if layer not in self.masks:
            self.masks[layer] = self._make(self.buffers.get(layer), ratio)
        return self.masks[layer]

    def _make(self, selected, ratio):
        from torch.nn.attention.flex_attention import BlockMask

        length, window, size = self.length, self.window, self.BLOCK
        blocks = length // size
        lists = []
        for i in range(blocks):
            first = max(0, (i * size - window + 1) // size)
            seen = list(range(first, i + 1))
            if selected is not None:
                visible = (i + 1) * size // ratio
                seen += [blocks + j for j in range((visible + size - 1) // size)]
            lists.append(seen)
        width = blocks + (0 if selected is None else length // ratio // size)
        counts = torch.tensor([len(s) for s in lists], dtype=torch.int32)
        table = torch.zeros(blocks, width, dtype=torch.int32)
        for i, seen in enumerate(lists):
            rest = [j for j in range(width) if j not in seen]
            table[i] = torch.tensor(seen + rest, dtype=torch.int32)

        def window_only(b, h, i, j):
            return (i >= j) & (i - j < window)

        def both(b, h, i, j):
            near = (j < length) & (i >= j) & (i - j < window)
            far = (j >= length) & selected[b, i, (j - length).clamp(min=0)]
            return near | far

        return BlockMask.from_kv_blocks(
            counts[None, None].to(self.device).contiguous(),
            table[None, None].to(self.device).contiguous(),
            BLOCK_SIZE=size,
            mask_mod=window_only if selected is None else both,
            seq_lengths=(length, width * size),
        )


def attend_flex(q, kv, compressed, mask, sink):
    """`attend` by the fused kernel; mask from FlexMasks."""
    keys = kv if compressed is None else torch.cat((kv, compressed), 1)
    o, lse = _flex(q.transpose(1, 2), keys[:, None], mask)
    return with_sink(o, lse, sink)


@region
def with_sink(o, lse, sink):
    """Adds the sink to the denominator: o [B, H, L, hd], lse [B, H, L]."""
    total = torch.logaddexp(lse, sink[None, :, None])
    o = o.float() * torch.exp(lse - total)[..., None]
    return o.transpose(1, 2).to(torch.bfloat16), total.transpose(1, 2)


@region
def output(o, wo_a, wo_b, cos, sin, groups, amount):
    """Un-rotated heads -> groups of low rank -> D."""
    o = rotate(o, cos.unsqueeze(-2), sin.unsqueeze(-2), inverse=True)
    o = o.flatten(-2).unflatten(-1, (groups, -1))
    wo_a = wo_a.unflatten(0, (groups, -1)).to(o.dtype)
    parts = [F.linear(o[..., g, :], wo_a[g]) for g in range(groups)]
    return linear(fake_activation(torch.cat(parts, -1), amount), wo_b)
