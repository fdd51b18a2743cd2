"""Mixture of experts. Spec: deepseek-v4.1.md section 4.4.

The experts are small, so all of them compute every token and the routing weight (0 for those not
chosen) decides what counts: one plain matrix product instead of gathers of changing sizes.
"""

import torch
import torch.nn.functional as F

from quantize import fake_activation
from region import region
from rope import linear


def choose(scores, bias, count):
    """0/1 mask [..., E] of the `count` best by biased score; the lower id wins a tie."""
    left = scores.detach() + bias
    chosen = torch.zeros_like(left)
    ids = torch.arange(left.shape[-1], device=left.device)
    for _ in range(count):
        best = (ids == left.argmax(-1, keepdim=True)).to(left.dtype)
        chosen = chosen + best
        left = left.masked_fill(best > 0, float("-inf"))
    return chosen


def swiglu(g, u, limit):
    return F.silu(g.float().clamp(max=limit)) * u.float().clamp(-limit, limit)


@region
def moe(x, gate, bias, w1, w2, w3, s1, s2, s3, count, scale, limit, amount):
    """(y, share of the tokens that each expert got). w1, w3 [E, I, D]; w2 [E, D, I]; s* shared."""
    scores = F.softplus(F.linear(x.float(), gate.float()))
    scores = torch.sqrt(scores)
    chosen = choose(scores, bias, count)
    weights = scores * chosen
    if count > 1:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    weights = weights * scale

    experts, inner = w1.shape[:2]
    x = fake_activation(x, amount)
    g = linear(x, w1.flatten(0, 1)).unflatten(-1, (experts, inner))
    u = linear(x, w3.flatten(0, 1)).unflatten(-1, (experts, inner))
    z = (swiglu(g, u, limit) * weights[..., None]).to(x.dtype).flatten(-2)
    y = linear(fake_activation(z, amount), w2.permute(1, 0, 2).flatten(1))
    zs = swiglu(linear(x, s1), linear(x, s3), limit).to(x.dtype)
    y = y.float() + linear(fake_activation(zs, amount), s2).float()
    return y.to(x.dtype), chosen.flatten(0, -2).mean(0)


def balance(bias, load, speed):
    """noaux_tc: the bias of an expert with less than its share rises, of one with more falls."""
    with torch.no_grad():
        bias += speed * torch.sign(load.mean(-1, keepdim=True) - load)
