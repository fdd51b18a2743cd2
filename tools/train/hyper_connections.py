"""Lagged hyper-connections: four copies of the residual stream. Spec: deepseek-v4.1.md section 4.

A sublayer's `pre` coefficients, made from the stream before it, are used by the NEXT sublayer; its
`post` and `comb` by itself.
"""

import torch
import torch.nn.functional as F

from region import region
from rope import rms


def sinkhorn(logits, iterations, eps):
    """Nearly doubly stochastic [..., 4, 4] from logits."""
    comb = torch.softmax(logits, -1) + eps
    comb = comb / (comb.sum(-2, keepdim=True) + eps)
    for _ in range(iterations - 1):
        comb = comb / (comb.sum(-1, keepdim=True) + eps)
        comb = comb / (comb.sum(-2, keepdim=True) + eps)
    return comb


def mixes(h, fn, scale, base, iterations, hc_eps, eps):
    """(pre, post, comb) of the stream h [..., 4, D]; f32."""
    copies = h.shape[-2]
    x = h.flatten(-2)
    rho = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)
    m = F.linear(x, fn.to(x.dtype)).float() * rho
    pre = torch.sigmoid(m[..., :copies] * scale[0] + base[:copies]) + hc_eps
    post = 2 * torch.sigmoid(m[..., copies : 2 * copies] * scale[1] + base[copies : 2 * copies])
    comb = m[..., 2 * copies :] * scale[2] + base[2 * copies :]
    return pre, post, sinkhorn(comb.unflatten(-1, (copies, copies)), iterations, hc_eps)


def collapse(pre, h):
    """One row from the copies, in h's type."""
    total = pre[..., 0, None] * h[..., 0, :].float()
    for c in range(1, h.shape[-2]):
        total = total + pre[..., c, None] * h[..., c, :].float()
    return total.to(h.dtype)


@region
def enter(h, pre, fn, scale, base, norm, iterations, hc_eps, eps):
    """A sublayer's normalized input and its own (pre, post, comb)."""
    return (rms(collapse(pre, h), norm, eps), *mixes(h, fn, scale, base, iterations, hc_eps, eps))


@region
def leave(y, h, post, comb):
    """The stream after a sublayer whose output is y."""
    total = post[..., :, None] * y[..., None, :].float()
    for j in range(h.shape[-2]):
        total = total + comb[..., j, :, None] * h[..., j, None, :].float()
    return total.to(h.dtype)


@region
def final(h, pre, norm, eps):
    """The collapsed stream (draft confidence reads it) and its norm, the head's input."""
    x = collapse(pre, h)
    return x, rms(x, norm, eps)
