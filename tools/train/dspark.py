"""DSpark, the draft head. Spec: deepseek-v4.1.md section 7.

In training a draft block is made at many positions of every row at once. Everything it reads of the
main model is detached: the drafts learn from the model, never the other way round.
"""

import torch
import torch.nn.functional as F

from attention import output, project, window_rows
from hyper_connections import enter, final, leave
from moe import moe
from quantize import fake_activation
from region import region
from rope import linear, rms


@region
def main_rows(hidden, main_proj, main_norm, eps, amount):
    """What all stages read of the main model, one row per position."""
    return rms(linear(fake_activation(hidden, amount), main_proj), main_norm, eps)


@region
def ring_rows(x, wkv, kv_norm, cos, sin, eps, amount):
    return window_rows(fake_activation(x, amount), wkv, kv_norm, cos, sin, eps, amount)


@region
def attend_block(q, ring, known, block, sink):
    """q [B, A, k, H, hd]; ring [B, A, W, hd] with known [A, W]; every row sees the whole block."""
    keys = torch.cat((ring, block), -2)
    a, k = q.shape[1], q.shape[2]
    own = torch.ones(a, k, dtype=torch.bool, device=q.device)
    mask = torch.cat((known, own), -1)[None, :, None, None, :]
    scores = torch.einsum("bakhd,basd->bakhs", q, keys).float() * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask, float("-inf"))
    sinks = sink.view(1, 1, 1, -1, 1).expand(*scores.shape[:-1], 1)
    p = torch.softmax(torch.cat((scores, sinks), -1), -1)[..., :-1]
    return torch.einsum("bakhs,basd->bakhd", p.to(q.dtype), keys)


def draft_hidden(model, w, hidden, anchors, first_tokens, amount):
    """(x, normed) [B, A, k, D] of draft blocks.

    hidden [B, L, targets * D]: the main model's streams; anchors [A]: positions whose next token is
    known, first_tokens [B, A].
    """
    c = model.config
    k, window = c.dspark_block_size, c.sliding_window
    length = hidden.shape[1]
    stages = [f"mtp.{i}." for i in range(c.num_nextn_predict_layers)]
    first = w[stages[0]]
    rows = main_rows(hidden, first["main_proj"], first["main_norm"], c.rms_norm_eps, amount)
    cos, sin = model.angles(0, torch.arange(length, device=hidden.device))
    steps = torch.arange(k, device=hidden.device)
    block_cos, block_sin = model.angles(0, anchors[:, None] + 1 + steps)
    back = anchors[:, None] - (window - 1) + torch.arange(window, device=hidden.device)
    known, back = back >= 0, back.clamp(min=0)

    noise = torch.full_like(first_tokens, c.dspark_noise_token_id)
    ids = torch.stack([first_tokens] + [noise] * (k - 1), -1)
    h = w[""]["embed"].detach()[ids]
    h = h.unsqueeze(-2).expand(*h.shape[:-1], c.hc_mult, -1).contiguous()
    pre = model.identity(h)
    for stage in stages:
        p = w[stage]
        y, attn_pre, post, comb = enter(h, pre, p["hc_attn_fn"], p["hc_attn_scale"], p["hc_attn_base"], p["attn_norm"], *model.hc)  # fmt: skip
        _, q, block = project(y, p["attn.wq_a"], p["attn.q_norm"], p["attn.wq_b"], p["attn.wkv"], p["attn.kv_norm"], block_cos, block_sin, c.head_dim, c.rms_norm_eps, amount)  # fmt: skip
        ring = ring_rows(rows, p["attn.wkv"], p["attn.kv_norm"], cos, sin, c.rms_norm_eps, amount)
        o = attend_block(q, ring.index_select(1, back.flatten()).unflatten(1, back.shape), known, block, p["attn.attn_sink"])
        y = output(o, p["attn.wo_a"], p["attn.wo_b"], block_cos, block_sin, c.o_groups, amount)
        h = leave(y, h, post, comb)
        y, pre, post, comb = enter(h, attn_pre, p["hc_ffn_fn"], p["hc_ffn_scale"], p["hc_ffn_base"], p["ffn_norm"], *model.hc)  # fmt: skip
        y, load = moe(y, *model.experts(p, "draft."), c.dspark_num_experts_per_tok, c.routed_scaling_factor, c.swiglu_limit, amount)  # fmt: skip
        model.note_load("draft.", stage, load)
        h = leave(y, h, post, comb)
    return final(h, pre, w[stages[-1]]["draft.norm"], c.rms_norm_eps)


@region
def draft_logits(normed, head, previous, markov_embed, markov_head):
    """[.., k, V]: the head plus what the Markov head says of the token before."""
    e = markov_embed[previous]
    return F.linear(normed, head).float() + F.linear(e, markov_head).float(), e


@region
def draft_loss(logits, main_logits, x, e, confidence, weights):
    """(cross entropy to the main model, confidence loss, share of drafts accepted when greedy)."""
    target = torch.softmax(main_logits.float(), -1)
    logs = torch.log_softmax(logits, -1)
    total = weights.sum() + 1e-6
    ce = (-(target * logs).sum(-1) * weights).sum() / total
    accepted = torch.minimum(target, logs.exp()).sum(-1)
    sure = F.linear(torch.cat((x, e), -1).detach(), confidence)[..., 0].float()
    bce = F.binary_cross_entropy_with_logits(sure, accepted.detach(), reduction="none")
    same = (logits.argmax(-1) == main_logits.argmax(-1)).float()
    return ce, (bce * weights).sum() / total, (same * weights).sum() / total
