"""Functions that may be compiled.

A step of a small model is thousands of small operations. `@region` marks the functions that
torch.compile is to fuse; `compile_regions()` turns that on (CUDA), otherwise they run as written.
Every layer calls the same few regions, so that each is compiled once per shape.
"""

import functools

_compiled = False


def compile_regions():
    """From now on regions run compiled."""
    import torch

    global _compiled
    _compiled = True
    for name in ("cache_size_limit", "recompile_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 64)
    for name in ("accumulated_cache_size_limit", "accumulated_recompile_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 1024)


def region(function):
    """Marks a function of tensors (and constants) for compilation."""
    cache = []

    @functools.wraps(function)
    def call(*args, **kwargs):
        if not _compiled:
            return function(*args, **kwargs)
        if not cache:
            import torch

            cache.append(torch.compile(function, dynamic=False, fullgraph=True))
        return cache[0](*args, **kwargs)

    return call
