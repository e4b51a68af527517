r"""Largest value over the edges of every node, never storing a tensor of size ``[E, F]``."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import (
    empty_gradients,
    gradients_of,
    or_zeros,
    refuse_second_derivatives,
)
from torch_geometric_hyperbolic.kernels._slopes import Selected
from torch_geometric_hyperbolic.kernels.dispatch import installed_engine
from torch_geometric_hyperbolic.kernels.edge_values import edge_values_reference
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import edges, extremes
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import edge_gradients
    from torch_geometric_hyperbolic.kernels._triton import edges as triton_edges


def edge_max_reference(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    sign: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`edge_max` in plain PyTorch, ``[E, F]`` in memory."""
    i, z = edge_values_reference(absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    index = i[:, None].expand_as(z)
    best = z.new_full(absolute.shape, -torch.inf)
    best = best.scatter_reduce(0, index, sign * z.detach(), "amax")
    number = torch.arange(len(z), device=z.device)[:, None].expand_as(z)
    hit = torch.where((sign * z == best[i]) | z.isnan(), number, len(z))
    edge = hit.new_full(absolute.shape, len(z)).scatter_reduce(0, index, hit, "amin")
    none = edge == len(z)
    padded = torch.cat([z, z.new_zeros(1, z.size(1))])
    chosen = padded.gather(0, edge).to(absolute.dtype)
    return chosen, edge.where(~none, -1).int(), z.sum(0), z.square().sum(0)


@torch.library.custom_op("tgh::edge_max", mutates_args=())
def edge_max(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    sign: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""For every target and channel the edge with the largest :math:`\pm z_e`, and moments of all.

    .. math::
        z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i, \qquad e = (j \to i)

    is what a linear layer makes of :math:`\log_0 x_i \, \Vert \, \operatorname{rel}(x_i, x_j)`. A
    monotone function of :math:`z`, such as a batch norm and an activation, may be applied to the
    largest value alone. Computed in float64; :math:`O(E F)` time and :math:`O(E + N F)` memory,
    forward and backward (which computes :math:`z` again).

    Args:
        absolute (torch.Tensor): :math:`A`, ``[M, F]``, float32 or float64.
        relative_i (torch.Tensor): :math:`R` of targets, ``[M, F]``, float64.
        relative_j (torch.Tensor): :math:`R` of sources, ``[N, F]``, float64.
        alpha (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        beta (torch.Tensor): see :func:`edge_coefficients`, ``[E]``.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        col (torch.Tensor): source of each edge, ``[E]``, int32.
        sign (torch.Tensor): 1 for the largest, -1 for the smallest value, ``[F]``, float64.

    Returns:
        The chosen :math:`z` ``[M, F]`` (0 for a target without edges; the first NaN where there is
        one), the edge it came from ``[M, F]`` (int32; any one of those equal up to rounding; -1 for
        none), and :math:`\sum_e z_e` and :math:`\sum_e z_e^2` over all edges, ``[F]``, float64.
        Differentiable once in the first five arguments.
    """
    return edge_max_reference(absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign)


@edge_max.register_fake
def _(absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign):  # type: ignore
    edge = absolute.new_empty(absolute.shape, dtype=torch.int32)
    moment = relative_i.new_empty(absolute.size(1))
    return absolute.new_empty(absolute.shape), edge, moment, torch.empty_like(moment)


@torch.library.custom_op("tgh::edge_max_backward", mutates_args=(), device_types="cpu")
def _edge_max_backward(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    edge: Tensor,
    grad_z: Tensor,
    grad_total: Tensor,
    grad_squares: Tensor,
    shared: bool,
    moments: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    by = (Selected(edge.contiguous().numpy()), grad_z, grad_total, 2 * grad_squares)
    return edges.gradients(*given, *by, shared, moments)


@_edge_max_backward.register_fake
def _(absolute, relative_i, relative_j, alpha, beta, *args):  # type: ignore[no-untyped-def]
    given = (absolute, relative_i, relative_j, alpha, beta)
    return tuple(empty_gradients(given, [1] if args[-2] else []))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs, output[1])
    ctx.shared = inputs[1] is inputs[2]
    ctx.set_materialize_grads(False)  # no zeros for the edges


def _backward(ctx, grad_z, grad_edge, grad_total, grad_squares):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("edge_max")
    *given, rowptr, col, sign, edge = ctx.saved_tensors
    absolute, relative_i = given[:2]
    of_outputs = (
        or_zeros(grad_z, absolute.shape, absolute),
        or_zeros(grad_total, sign.shape, relative_i),
        or_zeros(grad_squares, sign.shape, relative_i),
    )
    if installed_engine(absolute) is None:
        grads = gradients_of(edge_max_reference, given, (rowptr, col, sign), of_outputs)
    else:
        moments = grad_total is not None or grad_squares is not None
        how = (*of_outputs, ctx.shared, moments)
        grads = _edge_max_backward(*given, rowptr, col, edge, *how)
        grads = (grads[0], None, *grads[2:]) if ctx.shared else grads
    return (*grads, None, None, None)


edge_max.register_autograd(_backward, setup_context=_setup_context)


if WITH_NUMBA:

    @edge_max.register_kernel("cpu")
    def _edge_max_cpu(absolute: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        *_, rowptr, _, _ = rest
        targets, channels = absolute.shape
        blocks = -(-targets // extremes.BLOCK)
        z = torch.empty(targets, channels, dtype=absolute.dtype)
        edge = torch.empty(targets, channels, dtype=torch.int32)
        moments = torch.empty(blocks, 2, channels, dtype=torch.float64)
        given = (absolute, *rest, z, edge, moments)
        offsets = torch.cat([rowptr[: -1 : extremes.BLOCK], rowptr[-1:]])
        parallel(extremes.extremes, blocks, *given, offsets=offsets)
        total, squares = moments.sum(0)
        return z, edge, total.clone(), squares.clone()


if WITH_TRITON:
    edge_max.register_kernel("cuda", triton_edges.extremes)

    @_edge_max_backward.register_kernel("cuda")
    def _edge_max_backward_cuda(*given: Any) -> tuple[Tensor, ...]:
        *terms, edge, grad_z, grad_total, grad_squares, shared, _ = given
        by = (Selected(edge), grad_z, grad_total, 2 * grad_squares, shared)
        return edge_gradients.gradients(*terms, *by)  # type: ignore[call-arg]
