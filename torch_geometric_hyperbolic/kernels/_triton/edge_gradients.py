"""The backward passes of :mod:`edges`, which compute the values of edges again.

A program owns whole targets, or in :func:`_grad_sources` whole sources, with all their channels.
"""

import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._slopes import Activated, Given, Selected
from torch_geometric_hyperbolic.kernels._triton.edges import scalars, some_edges, value
from torch_geometric_hyperbolic.kernels._triton.launch import (
    by_source,
    launch,
    row,
    rows,
    set_row,
    tile,
)

SELECTED, GIVEN, ACTIVATED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
KINDS = {Selected: SELECTED, Given: GIVEN, Activated: ACTIVATED}


@triton.jit
def _by_value(
    z, e, valid, g, selected, constant, linear, marks, channels,
    KIND: tl.constexpr, SLOPE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Gradient by the value z of each edge, ``[len(e), WIDTH]``."""
    if KIND == SELECTED:
        d = constant + linear * z + tl.where(selected == e[:, None], g, 0.0)
    elif KIND == ACTIVATED:
        d = tl.where(z > 0, g, SLOPE * g)
    else:
        d = rows(marks, e, valid, 0, channels, WIDTH).to(tl.float64)
    return tl.where(valid[:, None], d, 0.0)


@triton.jit
def _of_targets(
    absolute, relative_i, grad, marks, i, valid, channels, KIND: tl.constexpr, WIDTH: tl.constexpr
):
    """Rows of targets: A, R, and by kind the gradient of the result and the selected edge."""
    a = rows(absolute, i, valid, 0, channels, WIDTH)
    r_i = rows(relative_i, i, valid, 0, channels, WIDTH)
    g, selected = a, a
    if KIND != GIVEN:
        g = rows(grad, i, valid, 0, channels, WIDTH).to(tl.float64)
    if KIND == SELECTED:
        selected = rows(marks, i, valid, 0, channels, WIDTH)
    return a, r_i, g, selected


@triton.jit
def _grad_targets(
    absolute, relative_i, relative_j, alpha, beta, rowptr, col, marks, grad, constant, linear,
    d_absolute, d_relative_i, d_alpha, d_beta, channels,
    KIND: tl.constexpr, SLOPE: tl.constexpr, WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Gradients that belong to targets and edges; ``constant + linear * z`` is that of moments."""
    i = tl.program_id(0).to(tl.int64)
    itself = i + tl.arange(0, 1)
    a, r_i, g, selected = _of_targets(
        absolute, relative_i, grad, marks, itself, itself >= 0, channels, KIND, WIDTH
    )
    constant, linear = row(constant, 0, channels, WIDTH), row(linear, 0, channels, WIDTH)
    by_a, by_r = tl.zeros([1, WIDTH], tl.float64), tl.zeros([1, WIDTH], tl.float64)
    stop = tl.load(rowptr + i + 1)
    for first in range(tl.load(rowptr + i), stop, EDGES):
        e, valid, r_j, by_i, z = some_edges(
            relative_j, alpha, beta, col, a, r_i, first, stop, channels, WIDTH, EDGES
        )
        d = _by_value(
            z, e, valid, g, selected, constant, linear, marks, channels, KIND, SLOPE, WIDTH
        )
        by_a += tl.sum(d, axis=0)[None, :]
        by_r += tl.sum(by_i * d, axis=0)[None, :]
        tl.store(d_alpha + e, tl.sum(d * (r_j - r_i), axis=1), mask=valid)
        tl.store(d_beta + e, -tl.sum(d * r_i, axis=1), mask=valid)
    set_row(d_absolute, i, channels, by_a, WIDTH)
    set_row(d_relative_i, i, channels, -by_r, WIDTH)


@triton.jit
def _grad_sources(
    absolute, relative_i, relative_j, alpha, beta, colptr, order, target, marks, grad, constant,
    linear, d_relative_j, channels,
    KIND: tl.constexpr, SLOPE: tl.constexpr, WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Gradients that belong to sources, edges grouped by them: see :func:`by_source`."""
    j = tl.program_id(0).to(tl.int64)
    r_j = row(relative_j, j, channels, WIDTH)
    constant, linear = row(constant, 0, channels, WIDTH), row(linear, 0, channels, WIDTH)
    by_r = tl.zeros([1, WIDTH], tl.float64)
    stop = tl.load(colptr + j + 1)
    for first in range(tl.load(colptr + j), stop, EDGES):
        position = first + tl.arange(0, EDGES)
        valid = position < stop
        e = tl.load(order + position, mask=valid, other=0)
        i = tl.load(target + position, mask=valid, other=0)
        a, r_i, g, selected = _of_targets(
            absolute, relative_i, grad, marks, i, valid, channels, KIND, WIDTH
        )
        alphas, betas = scalars(alpha, beta, e, valid)
        z = value(a, r_i, r_j, alphas, betas)
        d = _by_value(
            z, e, valid, g, selected, constant, linear, marks, channels, KIND, SLOPE, WIDTH
        )
        by_r += tl.sum(alphas * d, axis=0)[None, :]
    set_row(d_relative_j, j, channels, by_r, WIDTH)


def gradients(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    how: Selected | Given | Activated,
    grad: Tensor,
    constant: Tensor,
    linear: Tensor,
    shared: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the first five arguments: a pass by targets, then a pass by sources.

    ``grad`` is not read where the gradient of every edge is given, and ``constant`` and ``linear``
    only where an edge is selected. Where both R are one tensor (``shared``), its whole gradient is
    returned as that of the second, and no rows as that of the first.
    """
    (targets, channels), sources = absolute.shape, len(relative_j)
    given = (absolute, relative_i, relative_j, alpha, beta)
    d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta = (t.new_empty(t.shape) for t in given)
    marks, slope = (grad, how.slope) if isinstance(how, Activated) else (how[0], 1.0)
    by = (marks, grad, constant, linear)
    constants = {"KIND": KINDS[type(how)].value, "SLOPE": slope, **tile(channels)}
    of_targets = (d_absolute, d_relative_i, d_alpha, d_beta)
    launch(_grad_targets, targets, *given, rowptr, col, *by, *of_targets, channels, **constants)
    order = by_source(rowptr, col, sources)
    launch(_grad_sources, sources, *given, *order, *by, d_relative_j, channels, **constants)
    if shared:
        d_relative_j, d_relative_i = d_relative_i + d_relative_j, relative_i.new_empty(0, channels)
    return d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta
