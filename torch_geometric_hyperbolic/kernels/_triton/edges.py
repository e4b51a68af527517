r"""Passes over edges grouped by target: every edge's value is computed where it is used.

.. math::
    z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i, \qquad e = (j \to i)

in float64 registers. A program owns whole targets with all their channels, and takes a few edges at
a time: no two programs write the same row, and every sum has one order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._triton.launch import (
    launch,
    row,
    rows,
    set_row,
    tile,
)

#: Programs that share the targets of :func:`extremes`: enough to fill a device, and fixed, so that
#: the order of the sums of moments does not depend on the device.
PROGRAMS = 4096


@triton.jit
def scalars(alpha, beta, e, valid):
    r"""Both scalars of each edge, ``[len(e), 1]``."""
    alphas = tl.load(alpha + e, mask=valid, other=0).to(tl.float64)
    betas = tl.load(beta + e, mask=valid, other=0).to(tl.float64)
    return alphas[:, None], betas[:, None]


@triton.jit
def value(a, r_i, r_j, alphas, betas):
    """The values z of edges. The difference first: of equal points it is 0."""
    return a + (alphas * (r_j - r_i) - betas * r_i)


@triton.jit
def some_edges(
    relative_j, alpha, beta, col, a, r_i, first, stop, channels,
    WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Edges of a target from ``first``: their numbers, valid below ``stop``, the rows of their
    sources, what :math:`-R_i` is multiplied by, and z.
    """
    e = first + tl.arange(0, EDGES)
    valid = e < stop
    j = tl.load(col + e, mask=valid, other=0)
    r_j = rows(relative_j, j, valid, 0, channels, WIDTH)
    alphas, betas = scalars(alpha, beta, e, valid)
    return e, valid, r_j, alphas + betas, value(a, r_i, r_j, alphas, betas)


@triton.jit
def _values(
    absolute, relative_i, relative_j, alpha, beta, rowptr, col, out, channels,
    WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    a, r_i = row(absolute, i, channels, WIDTH), row(relative_i, i, channels, WIDTH)
    channel = tl.arange(0, WIDTH)[None, :]
    stop = tl.load(rowptr + i + 1)
    for first in range(tl.load(rowptr + i), stop, EDGES):
        e, valid, _, _, z = some_edges(
            relative_j, alpha, beta, col, a, r_i, first, stop, channels, WIDTH, EDGES
        )
        place = out + e[:, None] * channels + channel
        tl.store(place, z, mask=valid[:, None] & (channel < channels))


@triton.jit(do_not_specialize=["targets"])
def _extremes(
    absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign, best, edge, moments, targets,
    channels, WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    s = row(sign, 0, channels, WIDTH)
    total, squares = tl.zeros([WIDTH], tl.float64), tl.zeros([WIDTH], tl.float64)
    for i in range(program, targets, tl.num_programs(0)):
        a, r_i = row(absolute, i, channels, WIDTH), row(relative_i, i, channels, WIDTH)
        # each place of a tile keeps the best edge that it met: the first NaN, or first of equals
        signed = tl.zeros([EDGES, WIDTH], tl.float64)
        where = tl.full([EDGES, WIDTH], -1, tl.int32)
        stop = tl.load(rowptr + i + 1)
        for first in range(tl.load(rowptr + i), stop, EDGES):
            e, valid, _, _, z = some_edges(
                relative_j, alpha, beta, col, a, r_i, first, stop, channels, WIDTH, EDGES
            )
            z = tl.where(valid[:, None], z, 0.0)
            total += tl.sum(z, axis=0)
            squares += tl.sum(z * z, axis=0)
            new = s * z
            better = (where < 0) | (new > signed) | ((new != new) & (signed == signed))
            better &= valid[:, None]
            signed = tl.where(better, new, signed)
            where = tl.where(better, e[:, None].to(tl.int32), where)
        # of these places: the first with NaN if there is one, else the first of the largest
        nan = signed != signed
        any_nan = tl.max(nan.to(tl.int32), axis=0)[None, :] > 0
        candidate = (where >= 0) & (nan == any_nan)
        largest = tl.max(tl.where(candidate & ~any_nan, signed, -float("inf")), axis=0)[None, :]
        candidate &= any_nan | (signed == largest)
        chosen = tl.min(tl.where(candidate, where, stop), axis=0)
        z = s * tl.sum(tl.where(where == chosen[None, :], signed, 0.0), axis=0)[None, :]
        set_row(best, i, channels, z, WIDTH)
        set_row(edge, i, channels, tl.where(chosen < stop, chosen, -1)[None, :], WIDTH)
    set_row(moments, 2 * program, channels, total[None, :], WIDTH)
    set_row(moments, 2 * program + 1, channels, squares[None, :], WIDTH)


@triton.jit
def _activated_sums(
    absolute, relative_i, relative_j, alpha, beta, rowptr, col, out, channels,
    SLOPE: tl.constexpr, WIDTH: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    a, r_i = row(absolute, i, channels, WIDTH), row(relative_i, i, channels, WIDTH)
    total = tl.zeros([1, WIDTH], tl.float64)
    stop = tl.load(rowptr + i + 1)
    for first in range(tl.load(rowptr + i), stop, EDGES):
        _, valid, _, _, z = some_edges(
            relative_j, alpha, beta, col, a, r_i, first, stop, channels, WIDTH, EDGES
        )
        activated = tl.where(z > 0, z, SLOPE * z)
        total += tl.sum(tl.where(valid[:, None], activated, 0.0), axis=0)[None, :]
    set_row(out, i, channels, total, WIDTH)


def values(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
) -> Tensor:
    """Value of every edge."""
    targets, channels = absolute.shape
    out = absolute.new_empty(len(col), channels)
    given = (absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    launch(_values, targets, *given, out, channels, **tile(channels))
    return out


def extremes(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    sign: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value where ``sign * z`` is largest, its edge, and the sums of all z and z^2."""
    targets, channels = absolute.shape
    programs = min(targets, PROGRAMS)
    z = absolute.new_empty(targets, channels)
    edge = absolute.new_empty(targets, channels, dtype=torch.int32)
    moments = relative_i.new_empty(programs, 2, channels)
    given = (absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign)
    launch(_extremes, programs, *given, z, edge, moments, targets, channels, **tile(channels))
    total, squares = moments.sum(0)
    return z, edge, total.clone(), squares.clone()


def activated_sums(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    slope: float,
) -> Tensor:
    """Sum over every target's edges of z where positive, ``slope * z`` elsewhere."""
    targets, channels = absolute.shape
    out = absolute.new_empty(targets, channels)
    given = (absolute, relative_i, relative_j, alpha, beta, rowptr, col)
    launch(_activated_sums, targets, *given, out, channels, SLOPE=slope, **tile(channels))
    return out
