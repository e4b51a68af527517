"""What the backward passes of custom operators share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def refuse_second_derivatives(name: str) -> None:
    """Raise a :class:`RuntimeError` in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError(f"{name} is once differentiable (got create_graph=True)")


def gradients_of(
    reference: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> Any:
    """Gradients of ``inputs`` through ``reference``, where no faster way is registered."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        outputs = reference(*leaves)
    return torch.autograd.grad(outputs, leaves, grads)
