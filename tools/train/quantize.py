"""Number formats of the release, emulated: e4m3, e2m1 and their scales.

Spec: deepseek-v4.1.md section 3 (activations and caches), section 2 (weights). `fake_*` functions
return what the released model would compute with, and let gradients through unchanged (straight
through), so that training can see the rounding.
"""

import torch

E4M3_MAX = 448.0
E2M1_MAX = 6.0
GROUP = 32


def round_e4m3(x):
    """Nearest e4m3 value, ties to even, saturating. f32 in and out."""
    x = x.clamp(-E4M3_MAX, E4M3_MAX)
    if x.is_cuda:
        return x.to(torch.float8_e4m3fn).to(torch.float32)
    exponent = torch.frexp(x)[1] - 1
    step = torch.ldexp(torch.ones_like(x), exponent.clamp(min=-6) - 3)
    return torch.round(x / step) * step


def round_e2m1(x):
    """Nearest e2m1 value, ties to even, saturating."""
    x = x.clamp(-E2M1_MAX, E2M1_MAX)
    size = x.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.round(x / step) * step


def pow2_scale(amax, largest):
    """2^ceil(log2(amax / largest)), from the bits: spec section 3, P2."""
    y = amax * (1.0 / largest)
    bits = y.view(torch.int32)
    bits = (bits + 0x7FFFFF) & 0x7F800000
    return bits.view(torch.float32)


def _grouped(x, group):
    return x.float().unflatten(-1, (-1, group))


def quantize_activation(x, group=GROUP):
    """ACT8/QDQ8: e4m3 with one power-of-two scale per group."""
    g = _grouped(x, group)
    scale = pow2_scale(g.abs().amax(-1, keepdim=True).clamp(min=1e-4), E4M3_MAX)
    return (round_e4m3(g / scale) * scale).flatten(-2)


def quantize_index(x, group=GROUP):
    """QDQ4-index: e2m1 with one power-of-two scale per group."""
    g = _grouped(x, group)
    amax = g.abs().amax(-1, keepdim=True).clamp(min=6 * 2.0**-126)
    scale = pow2_scale(amax, E2M1_MAX)
    return (round_e2m1(g / scale) * scale).flatten(-2)


def quantize_kv(x, group=16):
    """QDQ4-kv: e2m1 with an e4m3 scale per group of 16."""
    g = _grouped(x, group)
    scale = round_e4m3(g.abs().amax(-1, keepdim=True).clamp(min=6 * 2.0**-9) / 6)
    return (round_e2m1(g / scale) * scale).flatten(-2)


def straight_through(x, quantized, amount):
    """x on the way back; on the way forth `amount` (0 to 1) of the way to its rounded value."""
    return x + ((quantized - x.float()) * amount).to(x.dtype).detach()


def fake_activation(x, amount):
    return x if amount is None else straight_through(x, quantize_activation(x), amount)


def fake_index(x, amount):
    return x if amount is None else straight_through(x, quantize_index(x), amount)


def fake_kv(x, amount):
    return x if amount is None else straight_through(x, quantize_kv(x), amount)


# ---- Weights ----


def _pad_to_blocks(w, rows, cols):
    n, k = w.shape[-2:]
    return torch.nn.functional.pad(w, (0, -k % cols, 0, -n % rows))


def weight_scales(w, rows, cols, largest):
    """One power-of-two scale for each tile of rows x cols."""
    w = _pad_to_blocks(w.float(), rows, cols)
    tiles = w.unflatten(-1, (-1, cols)).unflatten(-3, (-1, rows))  # ..., N, rows, K, cols
    amax = tiles.abs().amax(-1).amax(-2)
    return pow2_scale(amax.clamp(min=largest * 2.0**-100), largest)


def _spread(scales, rows, cols, like):
    full = scales.repeat_interleave(rows, -2).repeat_interleave(cols, -1)
    return full[..., : like.shape[-2], : like.shape[-1]]


def fp8_weight(w, rows=GROUP, cols=GROUP):
    """e4m3 codes' values (unscaled) and the scales of a dense weight [..., N, K]."""
    scales = weight_scales(w, rows, cols, E4M3_MAX)
    return round_e4m3(w.float() / _spread(scales, rows, cols, w)), scales


def fp4_weight(w):
    """e2m1 codes' values (unscaled) and scales [..., N, K/32] of an expert weight."""
    scales = weight_scales(w, 1, GROUP, E2M1_MAX)
    return round_e2m1(w.float() / _spread(scales, 1, GROUP, w)), scales


def dequantize(values, scales, rows, cols):
    return values * _spread(scales, rows, cols, values)


def quantize_weight(w, kind):
    """The value a weight has in the released file. kind: fp8, fp4, row8 (Engram), bf16 or f32."""
    with torch.no_grad():
        if kind == "fp8":
            return dequantize(*fp8_weight(w), GROUP, GROUP)
        if kind == "fp4":
            return dequantize(*fp4_weight(w), 1, GROUP)
        if kind == "row8":
            return dequantize(*fp8_weight(w, 1, GROUP), 1, GROUP)
        if kind == "bf16":
            return w.to(torch.bfloat16).float()
        return w
