"""Sharpness-aware minimisation: gradients from the worst weights nearby.

`"Sharpness-Aware Minimization for Efficiently Improving Generalization"
<https://arxiv.org/abs/2010.01412>`_, algorithm 1: the weights w are moved up their gradient g by
rho g / |g| (equation 2), and the gradient there is what the optimiser gets at w.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def uphill(model: nn.Module, rho: float) -> Iterator[None]:
    """Moves the parameters up their gradients, over a distance of `rho` in all; afterwards they,
    and the buffers, which are not to see other weights' batches, are as they were.
    """
    moved = [p for p in model.parameters() if p.grad is not None]
    grads = [p.grad for p in moved]
    kept = [(t, t.detach().clone()) for t in (*moved, *model.buffers())]
    with torch.no_grad():
        length = nn.utils.get_total_norm(grads)
        if length > 0:
            torch._foreach_add_(moved, torch._foreach_mul(grads, rho / length))
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
