"""The optimizer: Muon for matrices, Adam for everything else, as DeepSeek-V4's report describes.

Muon: momentum with Nesterov's look-ahead, made (nearly) orthogonal by ten Newton-Schulz steps (eight
that move fast, two that settle), scaled so that an update's root mean square is that of Adam's.
Matrices of one shape are handled together. All of it works on tensors whose addresses never
change, so that a whole training step can be captured in a CUDA graph; the learning rate is a tensor.
"""

import torch

FAST = (3.4445, -4.7750, 2.0315)
SETTLE = (2.0, -1.5, 0.5)
RMS = 0.18


def orthogonal(m):
    """The nearest semi-orthogonal matrices to m [n, rows <= cols], roughly."""
    x = m / (m.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if m.is_cuda:
        x = x.bfloat16()
    for i in range(10):
        a, b, c = FAST if i < 8 else SETTLE
        s = x @ x.transpose(-2, -1)
        x = a * x + (b * s + c * (s @ s)) @ x
    return x.float()


class Bucket:
    """All Muon matrices of one shape, oriented rows <= cols."""

    def __init__(self, shape):
        self.shape = shape
        self.members = []  # (parameter, view as [n, rows, cols], transposed)
        self.momentum = None

    def gather(self, tensors):
        pieces = []
        for t, (_, view, transposed) in zip(tensors, self.members):
            t = t.reshape(view)
            pieces.append(t.transpose(-2, -1) if transposed else t)
        return torch.cat(pieces)


def _muon_view(stack, parameter, groups):
    """The shape in which a stack's matrices are orthogonalized: one expert, one output group each."""
    *_, n, k = stack.shape
    if stack.key == "attn.wo_a":
        n //= groups
    if stack.key == "engram.wkv":
        n //= 5  # the keys of each copy, and the value
    return (parameter.numel() // (n * k), n, k)


class Optimizer:
    """Steps all trainable stacks of a Parameters. Call `step` after backward."""

    def __init__(self, parameters, rates, decay=0.05, momentum=0.95, betas=(0.9, 0.98)):
        """rates: {group: peak learning rate} for muon, gates, plain, embed, head and table."""
        self.rates, self.decay, self.momentum, self.betas = rates, decay, momentum, betas
        device = parameters.tensor("embed").device
        self.factor = torch.zeros((), device=device)  # of the peak rates: the schedule's place
        self.steps = torch.zeros((), device=device)
        self.buckets, self.groups = {}, {}
        for stack in parameters.stacks.values():
            p = parameters.tensor(stack.key)
            if stack.group == "fixed":
                continue
            if stack.group != "muon":
                self.groups.setdefault(stack.group, []).append(p)
                continue
            view = _muon_view(stack, p, parameters.config.o_groups)
            transposed = view[1] > view[2]
            shape = (view[2], view[1]) if transposed else view[1:]
            bucket = self.buckets.setdefault(shape, Bucket(shape))
            bucket.members.append((p, view, transposed))
        for bucket in self.buckets.values():
            count = sum(view[0] for _, view, _ in bucket.members)
            bucket.momentum = torch.zeros(count, *bucket.shape, device=device)
        self.moments = {}
        for group, members in self.groups.items():
            size = sum(p.numel() for p in members)
            self.moments[group] = [torch.zeros(size, device=device) for _ in range(2)]

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for bucket in self.buckets.values():
            self._step_bucket(bucket)
        for group, members in self.groups.items():
            self._step_group(group, members)

    def _step_bucket(self, bucket):
        g = torch.nan_to_num(bucket.gather([p.grad for p, _, _ in bucket.members]), 0.0, 0.0, 0.0)
        bucket.momentum.mul_(self.momentum).add_(g)
        update = orthogonal(g + self.momentum * bucket.momentum)
        rate = self.rates["muon"] * self.factor
        update = update * (RMS * max(bucket.shape) ** 0.5 * rate)
        first = 0
        for p, view, transposed in bucket.members:
            u = update[first : first + view[0]]
            first += view[0]
            u = u.transpose(-2, -1) if transposed else u
            p.mul_(1 - rate * self.decay).sub_(u.reshape(p.shape))

    def _step_group(self, group, members):
        b1, b2 = self.betas
        mean, square = self.moments[group]
        g = torch.cat([p.grad.reshape(-1).float() for p in members])
        g = torch.nan_to_num(g, 0.0, 0.0, 0.0)
        mean.mul_(b1).add_(g, alpha=1 - b1)
        square.mul_(b2).addcmul_(g, g, value=1 - b2)
        corrected = mean / (1 - b1**self.steps)
        # tokens that are never wanted would drift at full speed on the head's vanishing gradients
        tiny = 1e-6 if group == "head" else 1e-10
        scale = torch.sqrt(square / (1 - b2**self.steps)) + tiny
        update = corrected / scale * (self.rates[group] * self.factor)
        first = 0
        for p in members:
            p.sub_(update[first : first + p.numel()].view_as(p))
            first += p.numel()

    def state(self):
        return {
            "steps": self.steps,
            "momentum": [b.momentum for b in self.buckets.values()],
            "moments": self.moments,
        }

    def restore(self, state):
        self.steps.copy_(state["steps"])
        for bucket, value in zip(self.buckets.values(), state["momentum"]):
            bucket.momentum.copy_(value)
        for group, values in state["moments"].items():
            for mine, value in zip(self.moments[group], values):
                mine.copy_(value)
