"""Attention over a window and selected compressed rows as Triton kernels (CUDA).

FlexAttention asks the selection for every head; here the heads of some positions share one tile of
it. `FusedAttention.apply` gives what `attention.attend` gives without a sink; `verified` tries it.
"""

import torch
import triton
import triton.language as tl

TILE, KEYS = 16, 64  # positions and keys that a program handles at a time
LOG2E = 1.4426950408889634
FAR_AWAY = -1e30


@triton.jit
def _selected(selected, b, first, j, length, far_rows, TILE: tl.constexpr, HEADS: tl.constexpr, KEYS: tl.constexpr):
    """[TILE * HEADS, KEYS]: whether the rows' positions read the keys j."""
    t = first + tl.arange(0, TILE)
    chosen = tl.load(selected + (b * length + t)[:, None] * far_rows + j[None, :])
    chosen = tl.broadcast_to(chosen[:, None, :], (TILE, HEADS, KEYS))
    return tl.reshape(chosen, (TILE * HEADS, KEYS)) != 0


@triton.jit
def _forward(q, near, far, selected, out, lse, length, far_rows, ratio, scale,
             WINDOW: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr):  # fmt: skip
    ROWS: tl.constexpr = TILE * HEADS
    first = tl.program_id(0) * TILE
    b = tl.program_id(1)
    rows = tl.arange(0, ROWS)
    t = first + rows // HEADS
    dims = tl.arange(0, DIM)
    keys = tl.arange(0, KEYS)
    place = (b * length + first) * HEADS + rows
    queries = tl.load(q + place[:, None] * DIM + dims[None, :])
    largest = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, DIM), tl.float32)
    for j0 in range(tl.maximum(first - WINDOW + 1, 0) // KEYS * KEYS, first + TILE, KEYS):
        j = j0 + keys
        k = tl.load(near + (b * length + j)[:, None] * DIM + dims[None, :])
        distance = t[:, None] - j[None, :]
        s = tl.dot(queries, tl.trans(k)) * scale
        s = tl.where((distance >= 0) & (distance < WINDOW), s, -1e30)
        high = tl.maximum(largest, tl.max(s, 1))
        p = tl.exp2(s - high[:, None])
        shrink = tl.exp2(largest - high)
        total = total * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(tl.bfloat16), k)
        largest = high
    for j0 in range(0, tl.minimum((first + TILE) // ratio, far_rows), KEYS):
        j = j0 + keys
        k = tl.load(far + (b * far_rows + j)[:, None] * DIM + dims[None, :])
        seen = _selected(selected, b, first, j, length, far_rows, TILE, HEADS, KEYS)
        s = tl.dot(queries, tl.trans(k)) * scale
        s = tl.where(seen, s, -1e30)
        high = tl.maximum(largest, tl.max(s, 1))
        p = tl.exp2(s - high[:, None])
        shrink = tl.exp2(largest - high)
        total = total * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(tl.bfloat16), k)
        largest = high
    acc = acc / total[:, None]
    tl.store(out + place[:, None] * DIM + dims[None, :], acc.to(tl.bfloat16))
    tl.store(lse + place, largest + tl.log2(total))


@triton.jit
def _query_gradient(q, near, far, selected, gradient, lse, delta, dq, length, far_rows, ratio, scale,
                    WINDOW: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr):  # fmt: skip
    ROWS: tl.constexpr = TILE * HEADS
    first = tl.program_id(0) * TILE
    b = tl.program_id(1)
    rows = tl.arange(0, ROWS)
    t = first + rows // HEADS
    dims = tl.arange(0, DIM)
    keys = tl.arange(0, KEYS)
    place = (b * length + first) * HEADS + rows
    queries = tl.load(q + place[:, None] * DIM + dims[None, :])
    do = tl.load(gradient + place[:, None] * DIM + dims[None, :])
    norm = tl.load(lse + place)
    off = tl.load(delta + place)
    acc = tl.zeros((ROWS, DIM), tl.float32)
    for j0 in range(tl.maximum(first - WINDOW + 1, 0) // KEYS * KEYS, first + TILE, KEYS):
        j = j0 + keys
        k = tl.load(near + (b * length + j)[:, None] * DIM + dims[None, :])
        distance = t[:, None] - j[None, :]
        s = tl.dot(queries, tl.trans(k)) * scale
        s = tl.where((distance >= 0) & (distance < WINDOW), s, -1e30)
        p = tl.exp2(s - norm[:, None])
        ds = p * (tl.dot(do, tl.trans(k)) - off[:, None])
        acc += tl.dot(ds.to(tl.bfloat16), k)
    for j0 in range(0, tl.minimum((first + TILE) // ratio, far_rows), KEYS):
        j = j0 + keys
        k = tl.load(far + (b * far_rows + j)[:, None] * DIM + dims[None, :])
        seen = _selected(selected, b, first, j, length, far_rows, TILE, HEADS, KEYS)
        s = tl.dot(queries, tl.trans(k)) * scale
        s = tl.where(seen, s, -1e30)
        p = tl.exp2(s - norm[:, None])
        ds = p * (tl.dot(do, tl.trans(k)) - off[:, None])
        acc += tl.dot(ds.to(tl.bfloat16), k)
    acc = acc * (scale / 1.4426950408889634)
    tl.store(dq + place[:, None] * DIM + dims[None, :], acc.to(tl.bfloat16))


@triton.jit
def _key_gradient(q, source, selected, gradient, lse, delta, dk, length, source_rows, far_rows, ratio, scale,
                  WINDOW: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr, NEAR: tl.constexpr):  # fmt: skip
    ROWS: tl.constexpr = TILE * HEADS
    j0 = tl.program_id(0) * KEYS
    b = tl.program_id(1)
    rows = tl.arange(0, ROWS)
    dims = tl.arange(0, DIM)
    j = j0 + tl.arange(0, KEYS)
    k = tl.load(source + (b * source_rows + j)[:, None] * DIM + dims[None, :])
    acc_p = tl.zeros((KEYS, DIM), tl.float32)
    acc_s = tl.zeros((KEYS, DIM), tl.float32)
    if NEAR:
        begin = j0 // TILE * TILE
        end = tl.minimum(j0 + KEYS + WINDOW - 1, length)
    else:
        begin = (j0 * ratio + ratio - 1) // TILE * TILE
        end = length
    for first in range(begin, end, TILE):
        place = (b * length + first) * HEADS + rows
        queries = tl.load(q + place[:, None] * DIM + dims[None, :])
        do = tl.load(gradient + place[:, None] * DIM + dims[None, :])
        norm = tl.load(lse + place)
        off = tl.load(delta + place)
        s = tl.dot(queries, tl.trans(k)) * scale
        if NEAR:
            t = first + rows // HEADS
            distance = t[:, None] - j[None, :]
            s = tl.where((distance >= 0) & (distance < WINDOW), s, -1e30)
        else:
            seen = _selected(selected, b, first, j, length, far_rows, TILE, HEADS, KEYS)
            s = tl.where(seen, s, -1e30)
        p = tl.exp2(s - norm[:, None])
        ds = p * (tl.dot(do, tl.trans(k)) - off[:, None])
        acc_p += tl.dot(tl.trans(p.to(tl.bfloat16)), do)
        acc_s += tl.dot(tl.trans(ds.to(tl.bfloat16)), queries)
    acc = acc_p + acc_s * (scale / 1.4426950408889634)
    tl.store(dk + (b * source_rows + j)[:, None] * DIM + dims[None, :], acc.to(tl.bfloat16))


class FusedAttention(torch.autograd.Function):
    """(o [B, L, H, hd], log denominator [B, L, H]) of bf16 q [B, L, H, hd], near [B, L, hd] and
    far [B, S, hd] with selected [B, L, S] bool; S may be 0."""

    @staticmethod
    def forward(ctx, q, near, far, selected, window, ratio):
        q, near, far = q.contiguous(), near.contiguous(), far.contiguous()
        batch, length, heads, dim = q.shape
        out = torch.empty_like(q)
        lse = torch.empty(batch, length, heads, device=q.device)
        scale = dim**-0.5 * LOG2E
        chosen = selected.contiguous().view(torch.uint8)
        _forward[(length // TILE, batch)](
            q, near, far, chosen, out, lse, length, far.shape[1], ratio, scale,
            window, heads, dim, TILE, KEYS, num_warps=4, num_stages=3,
        )  # fmt: skip
        ctx.save_for_backward(q, near, far, chosen, out, lse)
        ctx.window, ctx.ratio = window, ratio
        return out, lse / LOG2E

    @staticmethod
    def backward(ctx, do, dlse):
        q, near, far, chosen, out, lse = ctx.saved_tensors
        batch, length, heads, dim = q.shape
        do = do.contiguous()
        delta = ((do.float() * out.float()).sum(-1) - dlse).contiguous()
        scale = dim**-0.5 * LOG2E
        rows = far.shape[1]
        dq, dnear, dfar = torch.empty_like(q), torch.empty_like(near), torch.empty_like(far)
        last = (ctx.window, heads, dim, TILE, KEYS)
        _query_gradient[(length // TILE, batch)](
            q, near, far, chosen, do, lse, delta, dq, length, rows, ctx.ratio, scale, *last, num_warps=8, num_stages=2
        )  # fmt: skip
        _key_gradient[(length // KEYS, batch)](
            q, near, chosen, do, lse, delta, dnear, length, length, rows, ctx.ratio, scale, *last, True, num_warps=8, num_stages=2
        )  # fmt: skip
        if rows:
            _key_gradient[(rows // KEYS, batch)](
                q, far, chosen, do, lse, delta, dfar, length, rows, rows, ctx.ratio, scale, *last, False, num_warps=8, num_stages=2
            )  # fmt: skip
        return dq, dnear, dfar, None, None, None


def fused(q, near, far, selected, window, ratio):
    """FusedAttention with no compressed rows where `far` is None."""
    if far is None:
        far = near.new_empty(near.shape[0], 0, near.shape[2])
        selected = torch.empty(near.shape[0], near.shape[1], 0, dtype=torch.bool, device=near.device)
        ratio = 1
    return FusedAttention.apply(q, near, far, selected, window, ratio)


def _difference(a, b):
    return ((a.float() - b.float()).norm() / (b.float().norm() + 1e-9)).item()


def verified(length, heads, dim, window, device="cuda", batch=2):
    """Largest relative difference from the attention written out, forward and backward."""
    from attention import attend

    worst = 0.0
    generator = torch.Generator(device=device).manual_seed(1)
    for ratio in (0, 2, 1):
        def random(*shape):
            return torch.randn(*shape, device=device, generator=generator).bfloat16().requires_grad_()

        q, near = random(batch, length, heads, dim), random(batch, length, dim)
        far = selected = None
        inputs = [q, near]
        if ratio:
            rows = length // ratio
            far = random(batch, rows, dim)
            t = torch.arange(length, device=device)
            seen = torch.arange(rows, device=device)[None] < ((t + 1) // ratio)[:, None]
            selected = seen & (torch.rand(batch, length, rows, device=device, generator=generator) < 0.1)
            inputs.append(far)
        weight = torch.randn(batch, length, heads, dim, device=device, generator=generator)
        none = torch.full((heads,), FAR_AWAY, device=device)
        results = []
        for o, lse in (fused(q, near, far, selected, window, ratio), attend(q, near, far, selected, none, window)):
            loss = (o.float() * weight).sum() + (lse * weight[..., 0]).sum()
            results.append([o.detach(), lse.detach(), *torch.autograd.grad(loss, inputs)])
        worst = max([worst] + [_difference(a, b) for a, b in zip(*results)])
    return worst


def seconds_per_pass(length, heads, dim, window, batch, ratio=1, passes=10):
    """Time of one forward and backward pass."""
    device = "cuda"
    q = torch.randn(batch, length, heads, dim, device=device).bfloat16().requires_grad_()
    near = torch.randn(batch, length, dim, device=device).bfloat16().requires_grad_()
    far = torch.randn(batch, length // ratio, dim, device=device).bfloat16().requires_grad_()
    selected = torch.rand(batch, length, length // ratio, device=device) < 0.05
    times = []
    for _ in range(passes):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        o, _ = fused(q, near, far, selected, window, ratio)
        middle = torch.cuda.Event(enable_timing=True)
        middle.record()
        o.sum().backward()
        end.record()
        torch.cuda.synchronize()
        times.append((begin.elapsed_time(middle) / 1e3, middle.elapsed_time(end) / 1e3))
    return sorted(times)[passes // 2]


if __name__ == "__main__":
    print("largest relative difference", verified(2048, 8, 64, 128))
    for r in (1, 2):
        print("ratio", r, "forward, backward (s)", seconds_per_pass(2048, 8, 64, 128, 32, r))
