r"""Coordinates of the vectors of a window in a frame that the window itself defines."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import NEGLIGIBLE, TIE, dot, safe_sqrt
from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors, as_edge_vectors
from torch_geometric_hyperbolic.kernels.group_edges import mean_of_targets, targets_of_edges
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import windows
    from torch_geometric_hyperbolic.kernels._cpu.local_coordinates import (
        coordinate_gradients,
        coordinates,
    )
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel


def local_coordinates(
    v: Tensor | EdgeVectors,
    rowptr: Tensor,
    rank: int | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Coordinates of each window's vectors in the window's own orthonormal frame.

    Gram-Schmidt over the vectors of the window: the next axis is the direction of the residual
    :math:`r_j` with the largest :math:`\langle r_j, r_j + \bar r \rangle`, :math:`\bar r` being
    their mean. What is chosen depends on inner products only, so the frame turns (and reflects)
    with the vectors and the coordinates stay as they are: together they are the pivoted Cholesky
    factor of the window's Gram matrix. Two fallbacks. Where no residual is longer than 4e-6 of the
    longest vector there is no further axis, and the coordinates that would belong to it are 0.
    Where scores are equal up to rounding the first vector wins: if the window is symmetric, the
    coordinates are the same set whoever wins; if it is not, they depend on the vectors' order.

    Computed in float64: :math:`O(k n \min(k, n))` per window of ``k`` vectors and :math:`O(E n)`
    memory on the CPU; without an engine Gram-Schmidt itself, :math:`O(E n^2)` memory. Of nearly
    flat windows, with residuals of :math:`\rho` times the longest vector, gradients on the CPU
    are right to :math:`\epsilon / \rho^2` in float64, and to :math:`\epsilon / \rho` in float32.

    Args:
        v (torch.Tensor or EdgeVectors): vectors grouped by window, ``[E, n]``, float32 or float64.
        rowptr (torch.Tensor): offsets of each window's vectors, ``[M + 1]``, int64.
        rank (int, optional): axes of each frame; the size of the largest window is enough.
            (default: ``n``)
        dtype (torch.dtype, optional): of the result, and of what the vectors were made of, whose
            rounding is what scores are equal up to. (default: that of ``v``)

    Returns:
        Coordinates ``[E, rank]``. Differentiable once where fused.

    Example:
        >>> import torch
        >>> local_coordinates(torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([0, 2]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    vectors = as_edge_vectors(v, rowptr)
    dtype = vectors.alpha.dtype if dtype is None else dtype
    rank = vectors.relative_i.size(1) if rank is None else rank
    if fused_engine(vectors.alpha) == "numba":
        return _local_coordinates(*vectors, rowptr, rank, TIE[dtype])[0].to(dtype)
    return gram_schmidt(vectors.values(rowptr), rowptr, rank, TIE[dtype]).to(dtype)


def gram_schmidt(v: Tensor, rowptr: Tensor, rank: int, tie: float) -> Tensor:
    """:func:`local_coordinates` of float64 vectors in plain PyTorch."""
    i = targets_of_edges(rowptr, v.size(0))
    residual, mean = v, mean_of_targets(v, rowptr)
    squared = dot(residual, residual).squeeze(-1).detach()
    longest = squared.new_zeros(mean.size(0)).scatter_reduce(0, i, squared, "amax")
    columns = [residual[:, :0]]
    for _ in range(rank):
        squared = dot(residual, residual).squeeze(-1).detach()
        score = squared + dot(residual, mean[i]).squeeze(-1).detach()
        score = torch.where(squared > NEGLIGIBLE * longest[i], score, -torch.inf)
        now = torch.zeros_like(longest).scatter_reduce(0, i, squared, "amax")
        pivot, found = _first_of_largest(score, i, tie * (now * longest).sqrt())
        leader = torch.cat([residual, residual[:0].new_zeros(1, v.size(1))])[pivot]
        axis = leader / torch.where(found, safe_sqrt(dot(leader, leader)), 1.0)
        along = dot(residual, axis[i])
        columns.append(along)
        residual = residual - along * axis[i]
        mean = mean - dot(mean, axis) * axis
    return torch.cat(columns, dim=-1)


def _first_of_largest(score: Tensor, index: Tensor, tie: Tensor) -> tuple[Tensor, Tensor]:
    """The first score of each group that is finite and less than ``tie`` below the largest, or the
    number of scores, ``[M]``, and whether there is one, ``[M, 1]``.
    """
    best = torch.full_like(tie, -torch.inf).scatter_reduce(0, index, score, "amax") - tie
    number = torch.arange(score.size(0), device=score.device)
    number = torch.where(score.isfinite() & (score >= best[index]), number, score.size(0))
    first = number.new_full(tie.shape, score.size(0)).scatter_reduce(0, index, number, "amin")
    return first, (first < score.size(0))[:, None]


@torch.library.custom_op("tgh::local_coordinates", mutates_args=(), device_types="cpu")
def _local_coordinates(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
    rank: int,
    tie: float,
) -> tuple[Tensor, Tensor]:
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    outputs = _outputs(*v, rowptr, rank, tie)
    rest = (v, rowptr, tie, *outputs)
    parallel(coordinates, len(rowptr) - 1, *rest, offsets=rowptr, always=True)
    return outputs


@_local_coordinates.register_fake
def _outputs(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
    rank: int,
    tie: float,
) -> tuple[Tensor, Tensor]:
    """For the coordinates, and the place in its window of each axis's pivot."""
    return alpha.new_empty(alpha.size(0), rank), rowptr.new_empty(rowptr.size(0) - 1, rank)


@torch.library.custom_op("tgh::local_coordinates_backward", mutates_args=(), device_types="cpu")
def _local_coordinates_backward(
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    col: Tensor,
    rowptr: Tensor,
    z: Tensor,
    pivot: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    v = EdgeVectors(relative_i, relative_j, alpha, beta, col)
    return windows.gradients(coordinate_gradients, v, rowptr, z, pivot, grad)


@_local_coordinates_backward.register_fake
def _(relative_i, relative_j, alpha, beta, *args):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (relative_i, relative_j, alpha, beta))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:6], *output)


def _backward(ctx, grad, _):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("local_coordinates")
    return *_local_coordinates_backward(*ctx.saved_tensors, grad), None, None, None, None


_local_coordinates.register_autograd(_backward, setup_context=_setup_context)
