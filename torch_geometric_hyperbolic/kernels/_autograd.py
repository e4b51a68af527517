"""What the backward passes of custom operators share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def refuse_second_derivatives(name: str) -> None:
    """Raise a :class:`RuntimeError` in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError(
            f"{name} is differentiable once (got create_graph=True); "
            "torch_geometric_hyperbolic.kernels.set_fused(False) makes layers twice differentiable"
        )


@torch.no_grad()
def overwrite(buffer: Tensor, value: Tensor) -> None:
    """Overwrite a buffer without raising its version: an earlier call may have saved it for its
    backward pass, which does not read its values.
    """
    if not torch.compiler.is_compiling() and buffer.is_inference():
        buffer.copy_(value)  # it has no version to keep
        return
    with torch.autograd._unsafe_preserve_version_counter(buffer):
        buffer.copy_(value)


def or_zeros(grad: Tensor | None, shape: torch.Size, like: Tensor) -> Tensor:
    """A gradient, or zeros for an output that nobody used."""
    return like.new_zeros(shape) if grad is None else grad


def empty_gradients(inputs: Sequence[Tensor], spared: Sequence[int]) -> list[Tensor]:
    """A tensor for the gradient of each input; those of the ``spared`` ones have no rows.

    If targets and sources are one tensor, its whole gradient is returned as that of the sources
    and nothing as that of the targets, which spares the sum of two.
    """
    shapes = [(0, *t.shape[1:]) if n in spared else t.shape for n, t in enumerate(inputs)]
    return [t.new_empty(shape) for t, shape in zip(inputs, shapes, strict=True)]


def sum_in_order(values: Tensor) -> Tensor:
    """The sum over the first dimension on the CPU, the same for any number of threads."""
    with np.errstate(all="ignore"):  # what overflows shows in the sum, as in PyTorch's
        return torch.as_tensor(values.numpy().sum(0))


def gradients_of(
    reference: Callable[..., Any],
    inputs: Sequence[Tensor],
    others: Sequence[Any],
    grads: Sequence[Tensor],
) -> Any:
    """Gradients of ``inputs`` through ``reference(*inputs, *others)``, where there is no engine.

    ``grads`` are those of its differentiable outputs.
    """
    leaves = [tensor.detach().double().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        outputs = reference(*leaves, *others)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    outputs = [output for output in outputs if output.requires_grad]
    wide = torch.autograd.grad(outputs, leaves, [grad.double() for grad in grads])
    return [grad.to(tensor.dtype) for grad, tensor in zip(wide, inputs, strict=True)]
