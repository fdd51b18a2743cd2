"""The lightning indexer: which compressed rows a query reads. Spec: deepseek-v4.1.md section 4.3.

It learns from the attention itself: its softmax over a query's visible rows is pulled towards the
attention mass that the layers using its selection put on them. Nothing flows back into the rest of
the network.
"""

import torch

from quantize import fake_index
from region import region
from rope import linear, rms, rotate

MINUS = -1e30


@region
def index_keys(latents, wk, k_norm, cos, sin, eps, amount):
    return fake_index(rotate(rms(linear(latents.detach(), wk), k_norm, eps), cos, sin), amount)


@region
def index_queries(latent, x, wq_b, weights_proj, cos, sin, dim, amount):
    """(queries [B, L, heads, dim], head weights [B, L, heads])."""
    q = linear(latent.detach(), wq_b).unflatten(-1, (-1, dim))
    w = linear(x.detach(), weights_proj) * (dim * q.shape[-2]) ** -0.5
    return fake_index(rotate(q, cos.unsqueeze(-2), sin.unsqueeze(-2)), amount), w


def scores(q, w, keys):
    """[B, L, S]: sum over heads of weight * relu(q . k)."""
    dots = torch.einsum("blhd,bsd->blhs", q, keys)
    return (torch.relu(dots.float()) * w.float()[..., None]).sum(-2)


def visible(length, rows, ratio, device):
    """[L, S], true where row j is complete at position t: j < (t + 1) // ratio."""
    t = torch.arange(length, device=device)
    return torch.arange(rows, device=device)[None, :] < ((t + 1) // ratio)[:, None]


def best_exactly(scored, count):
    """True at the `count` best finite scores of each row; the lower index wins a tie."""
    order = torch.sort(scored, dim=-1, descending=True, stable=True)[1][..., :count]
    mask = torch.zeros_like(scored, dtype=torch.bool).scatter_(-1, order, True)
    return mask & (scored > MINUS)


def best_by_bisection(scored, seen, count, steps=18):
    """As best_exactly but for ties and near ties at the cut. `count` may be a tensor."""
    high = torch.where(seen, scored, -1e9).amax(-1, keepdim=True) + 1e-3
    low = torch.where(seen, scored, 1e9).amin(-1, keepdim=True) - 1e-3
    for _ in range(steps):
        middle = 0.5 * (low + high)
        enough = ((scored >= middle) & seen).float().sum(-1, keepdim=True) >= count
        low = torch.where(enough, middle, low)
        high = torch.where(enough, high, middle)
    return (scored >= low) & seen


def block_scores(scored, size):
    padding = -scored.shape[-1] % size
    scored = torch.nn.functional.pad(scored, (0, padding), value=MINUS)
    return scored.unflatten(-1, (-1, size)).amax(-1)


@region
def select(q, w, keys, count, ratio, candidates):
    """Rows read by each query [B, L, S] bool. candidates: [B, L, S] or None."""
    scored = scores(q, w, keys)
    seen = visible(scored.shape[1], scored.shape[2], ratio, scored.device)
    if candidates is not None:
        seen = seen & candidates
    return best_by_bisection(scored, seen.expand_as(scored), count)


@region
def candidate_rows(q, w, keys, blocks, size):
    """Rows of the best blocks of a candidate source (ratio 1), the newest block always among them."""
    scored = scores(q, w, keys)
    length, rows = scored.shape[1:]
    seen = visible(length, rows, 1, scored.device)
    best = block_scores(torch.where(seen, scored, MINUS), size)
    t = torch.arange(length, device=scored.device)
    numbers = torch.arange(best.shape[-1], device=scored.device)
    newest = numbers[None, :] == (t // size)[:, None]
    known = numbers[None, :] <= (t // size)[:, None]
    chosen = best_by_bisection(best, (known & ~newest).expand_as(best), blocks - 1) | newest
    return chosen.repeat_interleave(size, -1)[..., :rows]


def select_exactly(q, w, keys, ratio, topk, candidates=None, blocks=None, size=None):
    """(selected, candidate rows or None) with exact ties; what evaluation and tests use."""
    scored = scores(q, w, keys)
    length, rows = scored.shape[1:]
    seen = visible(length, rows, ratio, scored.device)
    scored = scored.masked_fill(~seen, -float("inf"))
    published = None
    if blocks is not None:
        best = block_scores(scored, size)
        t = torch.arange(length, device=scored.device)
        newest = ((t + 1) // ratio - 1) // size
        numbers = torch.arange(best.shape[-1], device=scored.device)
        best = best.masked_fill(numbers[None, :] == newest[:, None], float("inf"))
        published = best_exactly(best, blocks).repeat_interleave(size, -1)[..., :rows]
    if candidates is not None:
        scored = scored.masked_fill(~candidates, -float("inf"))
    return best_exactly(scored, topk), published


@region
def attention_mass(q, compressed, lse, positions, ratio, head_dim):
    """[B, n, S]: what the heads of some queries (positions [n]) put on each visible row, summed."""
    with torch.no_grad():
        dots = torch.einsum("bnhd,bsd->bnhs", q, compressed).float() * head_dim**-0.5
        p = torch.exp((dots - lse[..., None]).clamp(max=0))
        j = torch.arange(compressed.shape[1], device=q.device)
        seen = j[None, :] < ((positions + 1) // ratio)[:, None]
        return (p.sum(2) * seen).float()


@region
def index_loss(q, w, keys, mass, positions, ratio):
    """Cross entropy of the index softmax to the attention mass (no constant subtracted: KL + H)."""
    scored = scores(q, w, keys)
    j = torch.arange(keys.shape[1], device=q.device)
    seen = j[None, :] < ((positions + 1) // ratio)[:, None]
    logs = torch.log_softmax(scored.masked_fill(~seen, MINUS), -1)
    total = mass.sum(-1, keepdim=True)
    target = mass / (total + 1e-9)
    divergence = (target * (torch.log(target + 1e-9) - logs)).masked_fill(~seen, 0).sum(-1)
    weight = total[..., 0].clamp(max=4.0) + 0.02
    return (divergence * weight).sum() / weight.sum()
