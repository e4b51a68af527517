r"""Sum of activated values over the edges of every node, never storing a tensor of ``[E, F]``."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import (
    empty_gradients,
    gradients_of,
    refuse_second_derivatives,
)
from torch_geometric_hyperbolic.kernels._slopes import Activated
from torch_geometric_hyperbolic.kernels.dispatch import installed_engine
from torch_geometric_hyperbolic.kernels.edge_values import edge_values_reference
from torch_geometric_hyperbolic.kernels.group_edges import sum_of_groups
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import edges
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import edge_gradients
    from torch_geometric_hyperbolic.kernels._triton import edges as triton_edges


def edge_sum_reference(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    slope: float,
) -> Tensor:
    """:func:`edge_sum` in plain PyTorch, ``[E, F]`` in memory."""
    i, z = edge_values_reference(absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    activated = torch.where(z > 0, z, slope * z)
    return sum_of_groups(activated, i, absolute.size(0)).to(absolute.dtype)


@torch.library.custom_op("tgh::edge_sum", mutates_args=())
def edge_sum(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    slope: float,
) -> Tensor:
    r"""For every target the sum over its edges of :math:`z_e` where positive, ``slope`` times it
    elsewhere, with :math:`z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i`.

    A slope of 1 is no activation, 0 a ReLU; a batch norm goes into :math:`A` and :math:`R`.
    Computed in float64; :math:`O(E F)` time and :math:`O(E + N F)` memory, forward and backward
    (which computes :math:`z` again).

    Args:
        absolute (torch.Tensor): :math:`A`, ``[M, F]``, float32 or float64.
        relative_i (torch.Tensor): :math:`R` of targets, ``[M, F]``, float64.
        relative_j (torch.Tensor): :math:`R` of sources, ``[N, F]``, float64.
        alpha (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        beta (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        col (torch.Tensor): source of each edge, ``[E]``, int32.
        slope (float): of the activation below zero.

    Returns:
        Sums, ``[M, F]``, 0 for a target without edges. Differentiable once in the first five
        arguments.
    """
    return edge_sum_reference(absolute, relative_i, relative_j, alpha, beta, rowptr, col, slope)


@edge_sum.register_fake
def _(absolute, *args):  # type: ignore[no-untyped-def]
    return absolute.new_empty(absolute.shape)


@torch.library.custom_op("tgh::edge_sum_backward", mutates_args=(), device_types="cpu")
def _edge_sum_backward(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    slope: float,
    grad: Tensor,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (absolute, relative_i, relative_j, alpha, beta)
    none = relative_i.new_zeros(absolute.size(1))
    return edges.gradients(*given, rowptr, col, Activated(slope), grad, none, none, shared)


@_edge_sum_backward.register_fake
def _(absolute, relative_i, relative_j, alpha, beta, *args):  # type: ignore[no-untyped-def]
    given = (absolute, relative_i, relative_j, alpha, beta)
    return tuple(empty_gradients(given, [1] if args[-1] else []))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, ctx.slope = inputs
    ctx.save_for_backward(*tensors)
    ctx.shared = inputs[1] is inputs[2]


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("edge_sum")
    *given, rowptr, col = ctx.saved_tensors
    if installed_engine(grad) is None:
        grads = gradients_of(edge_sum_reference, given, (rowptr, col, ctx.slope), [grad])
    else:
        grads = _edge_sum_backward(*given, rowptr, col, ctx.slope, grad, ctx.shared)
        grads = (grads[0], None, *grads[2:]) if ctx.shared else grads
    return (*grads, None, None, None)


edge_sum.register_autograd(_backward, setup_context=_setup_context)


if WITH_NUMBA:

    @edge_sum.register_kernel("cpu")
    def _edge_sum_cpu(absolute: Tensor, *rest: Any) -> Tensor:
        *_, rowptr, _, _ = rest
        out = torch.empty(absolute.shape, dtype=absolute.dtype)
        parallel(edges.activated_sums, len(out), absolute, *rest, out, offsets=rowptr)
        return out


if WITH_TRITON:
    edge_sum.register_kernel("cuda", triton_edges.activated_sums)

    @_edge_sum_backward.register_kernel("cuda")
    def _edge_sum_backward_cuda(*given: Any) -> tuple[Tensor, ...]:
        *terms, slope, grad, shared = given
        none = grad.new_zeros(grad.size(1), dtype=torch.float64)
        by = (Activated(slope), grad, none, none, shared)
        return edge_gradients.gradients(*terms, *by)  # type: ignore[call-arg]
