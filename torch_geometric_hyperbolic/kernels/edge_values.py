r"""What a linear layer makes of every edge, its matrix product taken on nodes."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import (
    empty_gradients,
    gradients_of,
    refuse_second_derivatives,
)
from torch_geometric_hyperbolic.kernels._slopes import Given
from torch_geometric_hyperbolic.kernels.dispatch import installed_engine
from torch_geometric_hyperbolic.kernels.group_edges import targets_of_edges
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import edges
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import edge_gradients
    from torch_geometric_hyperbolic.kernels._triton import edges as triton_edges


def edge_values_reference(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
) -> tuple[Tensor, Tensor]:
    """The target of each edge, ``[E]``, and :func:`edge_values` in plain PyTorch and float64."""
    i = targets_of_edges(rowptr, len(col))
    difference = relative_j[col.long()] - relative_i[i]
    z = absolute[i] + alpha[:, None] * difference - beta[:, None] * relative_i[i]
    return i, z


@torch.library.custom_op("tgh::edge_values", mutates_args=())
def edge_values(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
) -> Tensor:
    r""":math:`z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i` of every edge :math:`e = (j \to i)`.

    For networks whose later layers need every edge; :func:`edge_max` and :func:`edge_sum` reduce
    without storing. Computed in float64; :math:`O(E F)` time and memory.

    Args:
        absolute (torch.Tensor): :math:`A`, ``[M, F]``, float32 or float64.
        relative_i (torch.Tensor): :math:`R` of targets, ``[M, F]``, float64.
        relative_j (torch.Tensor): :math:`R` of sources, ``[N, F]``, float64.
        alpha (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        beta (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        col (torch.Tensor): source of each edge, ``[E]``, int32.

    Returns:
        Values, ``[E, F]``, in the dtype of ``absolute``. Differentiable once in the first five
        arguments.
    """
    _, z = edge_values_reference(absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    return z.to(absolute.dtype)


@edge_values.register_fake
def _(absolute, relative_i, relative_j, alpha, beta, rowptr, col):  # type: ignore[no-untyped-def]
    return absolute.new_empty(col.size(0), absolute.size(1))


@torch.library.custom_op("tgh::edge_values_backward", mutates_args=(), device_types="cpu")
def _edge_values_backward(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    grad: Tensor,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (absolute, relative_i, relative_j, alpha, beta)
    how = Given(grad.contiguous().numpy())
    none = relative_i.new_zeros(absolute.size(1))
    return edges.gradients(*given, rowptr, col, how, torch.ones_like(absolute), none, none, shared)


@_edge_values_backward.register_fake
def _(absolute, relative_i, relative_j, alpha, beta, *args):  # type: ignore
    given = (absolute, relative_i, relative_j, alpha, beta)
    return tuple(empty_gradients(given, [1] if args[-1] else []))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)
    ctx.shared = inputs[1] is inputs[2]


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("edge_values")
    *given, rowptr, col = ctx.saved_tensors
    if installed_engine(grad) is None:
        grads = gradients_of(edge_values_reference, given, (rowptr, col), [grad.double()])
    else:
        grads = _edge_values_backward(*given, rowptr, col, grad, ctx.shared)
        grads = (grads[0], None, *grads[2:]) if ctx.shared else grads
    return (*grads, None, None)


edge_values.register_autograd(_backward, setup_context=_setup_context)


if WITH_NUMBA:

    @edge_values.register_kernel("cpu")
    def _edge_values_cpu(absolute: Tensor, *rest: Tensor) -> Tensor:
        *_, rowptr, col = rest
        out = torch.empty(len(col), absolute.size(1), dtype=absolute.dtype)
        parallel(edges.values, len(absolute), absolute, *rest, out, offsets=rowptr)
        return out


if WITH_TRITON:
    edge_values.register_kernel("cuda", triton_edges.values)

    @_edge_values_backward.register_kernel("cuda")
    def _edge_values_backward_cuda(*given: Any) -> tuple[Tensor, ...]:
        *terms, grad, shared = given
        none = grad.new_zeros(grad.size(1), dtype=torch.float64)
        by = (Given(grad), grad, none, none, shared)
        return edge_gradients.gradients(*terms, *by)  # type: ignore[call-arg]
