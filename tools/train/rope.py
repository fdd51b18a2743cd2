"""Norms and rotary positions. Spec: deepseek-v4.1.md section 3."""

import math

import torch
import torch.nn.functional as F


def rms(x, weight, eps=1e-20):
    """x over its root mean square, in f32, rounded to x's type."""
    y = x.float()
    y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
    return (y * weight.float()).to(x.dtype)


def linear(x, weight):
    """Product with a weight of the stored layout [out, in], in x's type."""
    return F.linear(x, weight.to(x.dtype))


def frequencies(theta, dims, yarn=None):
    """Angle per position of each pair of dims: plain, or YaRN where `yarn` (rope_scaling) is given."""
    exponent = torch.arange(0, dims, 2, dtype=torch.float32) / dims
    power = torch.pow(torch.tensor(float(theta), dtype=torch.float64), exponent.double()).float()
    f = 1.0 / power
    if not yarn:
        return f
    original = yarn["original_max_position_embeddings"]

    def turns(n):
        return dims * math.log(original / (n * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(turns(yarn["beta_fast"])), 0)
    high = min(math.ceil(turns(yarn["beta_slow"])), dims - 1)
    ramp = (torch.arange(dims // 2, dtype=torch.float32) - low) / max(high - low, 1e-3)
    ramp = ramp.clamp(0, 1)
    return f / yarn["factor"] * ramp + f * (1 - ramp)


def angles(positions, freqs):
    """cos and sin of position * frequency, [positions, pairs] each."""
    a = positions.float()[..., None] * freqs
    return torch.cos(a), torch.sin(a)


def rotate(x, cos, sin, inverse=False):
    """RoPE on the last dims of x: adjacent pairs are complex numbers. cos, sin broadcast to x."""
    dims = 2 * cos.shape[-1]
    head, tail = x[..., :-dims], x[..., -dims:].float()
    a, b = tail[..., 0::2], tail[..., 1::2]
    if inverse:
        sin = -sin
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
    return torch.cat((head, turned.to(x.dtype)), -1)
