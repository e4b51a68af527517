r"""The two scalars of every edge, from which the relative positions of a graph follow."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._autograd import (
    empty_gradients,
    gradients_of,
    or_zeros,
    refuse_second_derivatives,
    sum_in_order,
)
from torch_geometric_hyperbolic.kernels.dispatch import installed_engine
from torch_geometric_hyperbolic.kernels.group_edges import targets_of_edges
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import coefficients, graphs
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import coefficients as triton_coefficients


def edge_coefficients_reference(
    points_i: Tensor,
    gap_i: Tensor,
    points_j: Tensor,
    gap_j: Tensor,
    c: Tensor,
    unit: float,
    rowptr: Tensor,
    col: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """:func:`edge_coefficients` in plain PyTorch, ``[E, F]`` in memory."""
    i = targets_of_edges(rowptr, len(col))
    j = col.long()
    d = points_j[j].double() - points_i[i].double()
    squared = torch.where(c > 0, num.dot(d, d).squeeze(-1), 0.0)
    q = c * squared / (gap_i[i, 0] * gap_j[j, 0])
    a = unit * num.rel_factor(q)
    return (a / gap_j[j, 0]).to(dtype), (a * q).to(dtype)


@torch.library.custom_op("tgh::edge_coefficients", mutates_args=())
def _edge_coefficients(
    points_i: Tensor,
    gap_i: Tensor,
    points_j: Tensor,
    gap_j: Tensor,
    c: Tensor,
    unit: float,
    rowptr: Tensor,
    col: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    given = (points_i, gap_i, points_j, gap_j, c, unit, rowptr, col, dtype)
    return (*edge_coefficients_reference(*given), _kept(col))


def _kept(col: Tensor) -> Tensor:
    """For :math:`q`, :math:`a(q)` and :math:`a'(q)` of each edge, which spare the CPU's backward
    pass a logarithm; elsewhere nothing is kept.
    """
    edges_kept = col.size(0) if WITH_NUMBA and col.device.type == "cpu" else 0
    return col.new_empty(3, edges_kept, dtype=torch.float64)


@_edge_coefficients.register_fake
def _(points_i, gap_i, points_j, gap_j, c, unit, rowptr, col, dtype):  # type: ignore
    scalars = (col.new_empty(col.shape, dtype=dtype) for _ in range(2))
    return (*scalars, _kept(col))


@torch.library.custom_op("tgh::edge_coefficients_backward", mutates_args=(), device_types="cpu")
def _edge_coefficients_backward(
    points_i: Tensor,
    gap_i: Tensor,
    points_j: Tensor,
    gap_j: Tensor,
    c: Tensor,
    unit: float,
    rowptr: Tensor,
    col: Tensor,
    kept: Tensor,
    grad_alpha: Tensor,
    grad_beta: Tensor,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    # float64, to which many edges are added
    d_points_j, d_gap_j = (torch.zeros(t.shape, dtype=torch.float64) for t in (points_j, gap_j))
    d_points_i, d_gap_i = d_points_j, d_gap_j
    if not shared:
        d_points_i, d_gap_i = (torch.zeros(t.shape, dtype=torch.float64) for t in (points_i, gap_i))
    d_c = torch.empty(len(points_i), dtype=torch.float64)
    of_outputs = (kept, grad_alpha, grad_beta)
    nodes = (points_i, gap_i.reciprocal(), points_j, gap_j.reciprocal())
    given = (*nodes, c.item(), unit, rowptr, col, *of_outputs, d_points_i, d_gap_i, d_c)
    cuts = graphs.cloud_cuts(rowptr.numpy(), col.numpy(), len(points_j), shared)
    if len(cuts) > 2:
        clouds = (torch.from_numpy(cuts), d_points_j, d_gap_j)
        args = (*given, None, None, *clouds)
        parallel(coefficients.grad_targets, len(cuts) - 1, *args, offsets=rowptr[clouds[0]])
    else:
        of_edges = torch.empty(2, len(col), dtype=torch.float64)  # up to 1 / gap^2
        first = (*given, *of_edges, None, None, None)
        parallel(coefficients.grad_targets, len(points_i), *first, offsets=rowptr)
        order = graphs.by_source(rowptr.numpy(), col.numpy(), len(points_j))
        second = (points_i, points_j, *order, *of_edges, d_points_j, d_gap_j)
        parallel(coefficients.grad_sources, len(points_j), *second, offsets=order[0])
    if shared:
        d_points_i, d_gap_i = empty_gradients((points_i, gap_i), [0, 1])
    narrow_i, narrow_j = d_points_i.to(points_i.dtype), d_points_j.to(points_j.dtype)
    return narrow_i, d_gap_i, narrow_j, d_gap_j, sum_in_order(d_c)


@_edge_coefficients_backward.register_fake
def _(points_i, gap_i, points_j, gap_j, c, *others):  # type: ignore[no-untyped-def]
    given = (points_i, gap_i, points_j, gap_j, c)
    return tuple(empty_gradients(given, [0, 1] if others[-1] else []))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, unit, rowptr, col, _ = inputs
    ctx.save_for_backward(*tensors, rowptr, col, output[2])
    ctx.unit = unit
    ctx.shared = inputs[0] is inputs[2] and inputs[1] is inputs[3]
    ctx.set_materialize_grads(False)  # no zeros for what is kept


def _backward(ctx, grad_alpha, grad_beta, grad_kept):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("edge_coefficients")
    *tensors, rowptr, col, kept = ctx.saved_tensors
    of_outputs = (or_zeros(grad_alpha, col.shape, kept), or_zeros(grad_beta, col.shape, kept))
    if installed_engine(kept) is None:
        others = (ctx.unit, rowptr, col, torch.float64)
        grads = gradients_of(edge_coefficients_reference, tensors, others, of_outputs)
    else:
        rest = (ctx.unit, rowptr, col, kept, *of_outputs, ctx.shared)
        grads = _edge_coefficients_backward(*tensors, *rest)
        grads = (None, None, *grads[2:]) if ctx.shared else grads
    return (*grads, None, None, None, None)


_edge_coefficients.register_autograd(_backward, setup_context=_setup_context)


def edge_coefficients(
    points_i: Tensor,
    gap_i: Tensor,
    points_j: Tensor,
    gap_j: Tensor,
    c: Tensor,
    unit: float,
    rowptr: Tensor,
    col: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    r"""The scalars of :math:`\operatorname{rel}(x_i, x_j) = \alpha (p_j - p_i) - \beta p_i`.

    .. math::
        q = c \|p_j - p_i\|^2 / (g_i g_j), \qquad \alpha = u\,a(q) / g_j, \qquad
        \beta = u\,a(q)\,q

    for points of the ball and their gaps; :math:`u` says how many times as long
    :math:`\operatorname{rel}` is as in the ball. Computed in float64. No tensor of size ``[E, F]``
    is made; :math:`O(E F)` time, forward and backward.

    Args:
        points_i (torch.Tensor): targets in the ball, ``[M, F]``, float32 or float64.
        gap_i (torch.Tensor): their gaps, ``[M, 1]``, float64.
        points_j (torch.Tensor): sources in the ball, ``[N, F]``.
        gap_j (torch.Tensor): their gaps, ``[N, 1]``, float64.
        c (torch.Tensor): 0-dimensional, float64, the curvature is ``-c``; 0 in Euclidean space.
        unit (float): :attr:`Manifold.rel_unit`.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        col (torch.Tensor): source of each edge, ``[E]``, int32.
        dtype (torch.dtype): of the result.

    Returns:
        :math:`\alpha` and :math:`\beta` of each edge, ``[E]``; differentiable once in points, gaps
        and ``c``.
    """
    given = (points_i, gap_i, points_j, gap_j, c, unit, rowptr, col, dtype)
    return _edge_coefficients(*given)[:2]


if WITH_NUMBA:

    @_edge_coefficients.register_kernel("cpu")
    def _edge_coefficients_cpu(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
        points_i, gap_i, points_j, gap_j, c, unit, rowptr, col, dtype = given
        alpha, beta = torch.empty(len(col), dtype=dtype), torch.empty(len(col), dtype=dtype)
        kept = _kept(col)
        nodes = (points_i, gap_i.reciprocal(), points_j, gap_j.reciprocal())
        rest = (c.item(), unit, rowptr, col, alpha, beta, kept)
        parallel(coefficients.coefficients, len(points_i), *nodes, *rest, offsets=rowptr)
        return alpha, beta, kept


if WITH_TRITON:

    @_edge_coefficients.register_kernel("cuda")
    def _edge_coefficients_cuda(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
        return (*triton_coefficients.coefficients(*given), _kept(given[-2]))

    @_edge_coefficients_backward.register_kernel("cuda")
    def _edge_coefficients_backward_cuda(*given: Any) -> tuple[Tensor, ...]:
        *rest, _, grad_alpha, grad_beta, shared = given
        by = (grad_alpha, grad_beta, shared)
        return triton_coefficients.gradients(*rest, *by)  # type: ignore[call-arg]
