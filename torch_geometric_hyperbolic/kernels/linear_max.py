r"""Largest value of a linear function of edges at every node, in parts that fit the cache."""

from itertools import pairwise

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels._slopes import Selected
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_max import edge_max
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors, OperatorTerms
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import edges

#: Windows whose edges are there at a time.
PART = 1024


def linear_max(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""For every target and channel the edge with the largest :math:`\pm z_e`, and moments of all.

    .. math::
        z_e = A_i + W d_e

    for numbers :math:`d_e` of each edge, where :func:`edge_max` takes numbers of nodes. On the CPU
    the products are never stored for all edges: the backward pass makes them again.
    :math:`O(E D F)` time and :math:`O(E D + N F)` memory there, otherwise :math:`O(E F)`.

    Args:
        absolute (torch.Tensor): :math:`A`, ``[M, F]``, float32 or float64.
        given (torch.Tensor): :math:`d`, grouped by target, ``[E, D]``, of the same dtype.
        weight (torch.Tensor): :math:`W`, ``[F, D]``, of the same dtype.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        sign (torch.Tensor): 1 for the largest, -1 for the smallest value, ``[F]``, float64.

    Returns:
        As :func:`edge_max`. Once differentiable in the first three arguments.

    Example:
        >>> absolute, given, rowptr = torch.zeros(1, 1), torch.rand(3, 2), torch.tensor([0, 3])
        >>> sign = torch.ones(1, dtype=torch.float64)
        >>> z, *_ = linear_max(absolute, given, torch.tensor([[2.0, 0.0]]), rowptr, sign)
        >>> torch.equal(z[0, 0], 2 * given[:, 0].max())
        True
    """
    if fused_engine(absolute) == "numba":
        return _linear_max(absolute, given, weight, rowptr, sign)
    values = EdgeVectors.stored(given @ weight.t(), rowptr)
    return edge_max(*values.terms(absolute, rowptr), sign)


def _parts(rowptr: Tensor) -> tuple[list[tuple[slice, slice]], int]:
    """Slices of targets and of their edges, and the largest number of edges in one."""
    cuts = [*range(0, len(rowptr) - 1, PART), len(rowptr) - 1]
    ends = rowptr[cuts].tolist()
    parts = [
        (slice(*targets), slice(*these))
        for targets, these in zip(pairwise(cuts), pairwise(ends), strict=True)
    ]
    return parts, max((these.stop - these.start for _, these in parts), default=0)


def _filled(
    buffer: Tensor, absolute: Tensor, given: Tensor, by_row: Tensor, rowptr: Tensor
) -> OperatorTerms:
    """The terms of one part, its values in ``buffer``.

    ``by_row`` is the transposed weight: with few rows, products with it are several times faster.
    """
    value = torch.mm(given, by_row, out=buffer[: len(given)])
    offsets = rowptr - rowptr[0]
    return EdgeVectors.stored(value, offsets).terms(absolute, offsets)


@torch.library.custom_op("tgh::linear_max", mutates_args=(), device_types="cpu")
def _linear_max(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    z, edge, total, squares = _outputs(absolute, given, weight, rowptr, sign)
    total.zero_()
    squares.zero_()
    by_row = weight.t().contiguous()
    parts, most = _parts(rowptr)
    buffer = absolute.new_empty(most, absolute.size(1))
    with torch.autocast("cpu", enabled=False):
        for targets, these in parts:
            offsets = rowptr[targets.start : targets.stop + 1]
            terms = _filled(buffer, absolute[targets], given[these], by_row, offsets)
            z[targets], chosen, these_total, these_squares = edge_max(*terms, sign)
            edge[targets] = chosen.add_((chosen >= 0) * these.start)
            total += these_total
            squares += these_squares
    return z, edge, total, squares


@_linear_max.register_fake
def _outputs(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    edge = absolute.new_empty(absolute.shape, dtype=torch.int32)
    total = absolute.new_empty(absolute.size(1), dtype=torch.float64)
    return absolute.new_empty(absolute.shape), edge, total, torch.empty_like(total)


@torch.library.custom_op("tgh::linear_max_backward", mutates_args=(), device_types="cpu")
def _linear_max_backward(
    absolute: Tensor,
    given: Tensor,
    weight: Tensor,
    rowptr: Tensor,
    edge: Tensor,
    grad_z: Tensor,
    grad_total: Tensor,
    grad_squares: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    d_absolute, d_given = absolute.new_empty(absolute.shape), given.new_empty(given.shape)
    by_row = weight.t().contiguous()
    d_by_row = torch.zeros_like(by_row)
    parts, most = _parts(rowptr)
    buffer, d_buffer = absolute.new_empty(2, most, absolute.size(1))
    with torch.autocast("cpu", enabled=False):
        for targets, these in parts:
            offsets = rowptr[targets.start : targets.stop + 1]
            terms = _filled(buffer, absolute[targets], given[these], by_row, offsets)
            how = Selected((edge[targets] - these.start).numpy())
            by = (how, grad_z[targets], grad_total, 2 * grad_squares)
            d_value = d_buffer[: these.stop - these.start].zero_()
            d_absolute[targets] = edges.gradients_of_own(terms, *by, d_value)
            torch.mm(d_value, by_row.t(), out=d_given[these])
            d_by_row.addmm_(given[these].t(), d_value)
    return d_absolute, d_given, d_by_row.t().contiguous()


@_linear_max_backward.register_fake
def _(absolute, given, weight, *args):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (absolute, given, weight))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:4], output[1])


def _backward(ctx, grad_z, grad_edge, grad_total, grad_squares):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("linear_max")
    grads = _linear_max_backward(*ctx.saved_tensors, grad_z, grad_total, grad_squares)
    return *grads, None, None


_linear_max.register_autograd(_backward, setup_context=_setup_context)
