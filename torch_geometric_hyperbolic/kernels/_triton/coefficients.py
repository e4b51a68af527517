r"""Passes over edges for the scalars of relative positions.

:math:`q_e = c \|p_j - p_i\|^2 / (g_i g_j)`, :math:`\alpha_e = u\,a(q_e) / g_j`,
:math:`\beta_e = u\,a(q_e)\,q_e` in float64, differences first. Where :math:`c = 0`,
:math:`\alpha_e = u / g_j` and :math:`\beta_e = 0` whatever the points are.

A program takes some edges, or in :func:`_grad_points` one node with all its edges.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import empty_gradients
from torch_geometric_hyperbolic.kernels._triton.launch import (
    by_source,
    launch,
    row,
    rows,
    set_row,
    targets_of_edges,
    tile,
)
from torch_geometric_hyperbolic.kernels._triton.scalars import rel_factor

#: Edges of a program, a thread each for the scalars, and channels read at a time.
EDGES, CHANNELS = 128, 16


@triton.jit
def _pairs(
    points_i, gap_i, points_j, gap_j, c, target, col, edges, channels,
    EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Edges of a program, one over the gaps of their ends, and :math:`q / c`."""
    e = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)
    valid = e < edges
    i = tl.load(target + e, mask=valid, other=0)
    j = tl.load(col + e, mask=valid, other=0)
    squared = tl.zeros([EDGES], tl.float64)
    if c != 0:
        for first in range(0, channels, CHANNELS):
            p_i = rows(points_i, i, valid, first, channels, CHANNELS).to(tl.float64)
            d = rows(points_j, j, valid, first, channels, CHANNELS).to(tl.float64) - p_i
            squared += tl.sum(d * d, axis=1)
    by_i = 1 / tl.load(gap_i + i, mask=valid, other=1)
    by_j = 1 / tl.load(gap_j + j, mask=valid, other=1)
    return e, valid, by_i, by_j, squared * (by_i * by_j)


@triton.jit(do_not_specialize=["edges"])
def _coefficients(
    points_i, gap_i, points_j, gap_j, c, target, col, alpha, beta, edges, channels,
    UNIT: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    c = tl.load(c)
    e, valid, _, by_j, ratio = _pairs(
        points_i, gap_i, points_j, gap_j, c, target, col, edges, channels, EDGES, CHANNELS
    )
    q = c * ratio
    a, _ = rel_factor(q)
    tl.store(alpha + e, UNIT * a * by_j, mask=valid)
    tl.store(beta + e, UNIT * a * q, mask=valid)


@triton.jit(do_not_specialize=["edges"])
def _grad_edges(
    points_i, gap_i, points_j, gap_j, c, target, col, grad_alpha, grad_beta, pull, by_gap_i,
    by_gap_j, by_c, edges, channels,
    UNIT: tl.constexpr, EDGES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients by both gaps and c, and the ``pull`` on the source along :math:`p_j - p_i`."""
    c = tl.load(c)
    e, valid, by_i, by_j, ratio = _pairs(
        points_i, gap_i, points_j, gap_j, c, target, col, edges, channels, EDGES, CHANNELS
    )
    q = c * ratio
    a, slope = rel_factor(q)
    d_alpha = tl.load(grad_alpha + e, mask=valid, other=0).to(tl.float64)
    d_beta = tl.load(grad_beta + e, mask=valid, other=0).to(tl.float64)
    d_q = UNIT * (d_alpha * slope * by_j + d_beta * (slope * q + a))
    tl.store(pull + e, 2 * c * d_q * (by_i * by_j), mask=valid)
    tl.store(by_gap_i + e, -d_q * q * by_i, mask=valid)
    tl.store(by_gap_j + e, -(d_q * q + UNIT * d_alpha * a * by_j) * by_j, mask=valid)
    tl.store(by_c + e, d_q * ratio, mask=valid)


@triton.jit
def _grad_points(
    points, others, ptr, order, other, pull, by_gap, d_points, d_gap, channels,
    WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Gradients that belong to nodes, their edges in ``order``, at the other ends of which are
    ``other``.
    """
    node = tl.program_id(0).to(tl.int64)
    p = row(points, node, channels, WIDTH).to(tl.float64)
    moved, total = tl.zeros([1, WIDTH], tl.float64), tl.zeros([1], tl.float64)
    stop = tl.load(ptr + node + 1)
    for first in range(tl.load(ptr + node), stop, EDGES):
        position = first + tl.arange(0, EDGES)
        valid = position < stop
        e = tl.load(order + position, mask=valid, other=0)
        end = tl.load(other + position, mask=valid, other=0)
        d = p - rows(others, end, valid, 0, channels, WIDTH).to(tl.float64)
        along = tl.load(pull + e, mask=valid, other=0)[:, None]
        moved += tl.sum(tl.where(along != 0, along * d, 0.0), axis=0)[None, :]
        total += tl.sum(tl.load(by_gap + e, mask=valid, other=0))
    set_row(d_points, node, channels, moved, WIDTH)
    tl.store(d_gap + node + tl.arange(0, 1), total)


def coefficients(
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
    """Both scalars of every edge."""
    alpha, beta = (col.new_empty(col.shape, dtype=dtype) for _ in range(2))
    given = (points_i, gap_i, points_j, gap_j, c, targets_of_edges(rowptr, len(col)), col)
    _launch_by_edges(_coefficients, unit, *given, alpha, beta)
    return alpha, beta


def gradients(
    points_i: Tensor,
    gap_i: Tensor,
    points_j: Tensor,
    gap_j: Tensor,
    c: Tensor,
    unit: float,
    rowptr: Tensor,
    col: Tensor,
    grad_alpha: Tensor,
    grad_beta: Tensor,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the first five arguments: a pass by edges, by targets, and by sources.

    Where targets are the sources (``shared``), their whole gradients are returned as those of
    sources, and no rows as those of targets.
    """
    given = (points_i, gap_i, points_j, gap_j, c, targets_of_edges(rowptr, len(col)), col)
    d_points_i, d_gap_i, d_points_j, d_gap_j = (t.new_empty(t.shape) for t in given[:4])
    of_edges = pull, by_gap_i, by_gap_j, by_c = gap_i.new_empty(4, len(col))
    _launch_by_edges(_grad_edges, unit, *given, grad_alpha, grad_beta, *of_edges)
    in_order = torch.arange(len(col), device=col.device)
    of_targets = (points_i, points_j, rowptr, in_order, col, pull, by_gap_i, d_points_i, d_gap_i)
    order = by_source(rowptr, col, len(points_j))
    of_sources = (points_j, points_i, *order, pull, by_gap_j, d_points_j, d_gap_j)
    channels = points_i.size(1)
    launch(_grad_points, len(points_i), *of_targets, channels, **tile(channels))
    launch(_grad_points, len(points_j), *of_sources, channels, **tile(channels))
    if shared:
        d_points_j, d_gap_j = d_points_i + d_points_j, d_gap_i + d_gap_j
        d_points_i, d_gap_i = empty_gradients((points_i, gap_i), [0, 1])
    return d_points_i, d_gap_i, d_points_j, d_gap_j, by_c.sum()


def _launch_by_edges(kernel: Any, unit: float, points_i: Tensor, *args: Tensor) -> None:
    edges, channels = len(args[-1]), points_i.size(1)
    width = triton.next_power_of_2(max(1, channels))
    block = {"EDGES": EDGES, "CHANNELS": min(CHANNELS, width)}
    programs = triton.cdiv(edges, EDGES)
    launch(kernel, programs, points_i, *args, edges, channels, UNIT=unit, **block)
