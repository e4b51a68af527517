r"""Passes over edges grouped by target: every edge's value is computed where it is used.

.. math::
    z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i, \qquad e = (j \to i)

in float64 registers. A thread owns whole targets, or whole sources, or whole clouds, so no two
threads write the same row and every sum has one order.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba.extending import overload
from torch import Tensor

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, parallel

#: Targets whose moments are summed before they join the rest: fixed, so that the order of the sum
#: does not depend on the number of threads.
BLOCK = 128


class Selected(NamedTuple):
    """The edge that each target and channel took its value from, ``[M, F]``."""

    edge: Any


class Given(NamedTuple):
    """The gradient of every edge's value, ``[E, F]``."""

    grad: Any


class Activated(NamedTuple):
    """The slope of the activation below zero."""

    slope: float


def _weight(how: Any, i: int, e: int, channel: int, z: float) -> float:
    """Derivative of target ``i``'s result by the value ``z`` of its edge ``e``."""
    raise NotImplementedError


@overload(_weight, inline="always")
def _(how, i, e, channel, z):
    if how.instance_class is Selected:
        return lambda how, i, e, channel, z: 1.0 if how.edge[i, channel] == e else 0.0
    if how.instance_class is Given:
        return lambda how, i, e, channel, z: how.grad[e, channel]
    return lambda how, i, e, channel, z: 1.0 if z > 0 else how.slope


@compiled
def values(start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, out):
    """The value z of every edge."""
    for i in range(start, stop):
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            by_j = np.float64(alpha[e])
            by_i = by_j + np.float64(beta[e])
            for k in range(absolute.shape[1]):
                out[e, k] = absolute[i, k] + by_j * relative_j[j, k] - by_i * relative_i[i, k]


@compiled
def extremes(
    start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign, z, edge, moments
):
    """Largest ``sign * z`` of every target in blocks ``start`` to ``stop``, sums of z and z^2."""
    channels = absolute.shape[1]
    best, where = np.empty(channels), np.empty(channels, np.int32)
    total, squares = np.empty(channels), np.empty(channels)
    for block in range(start, stop):
        total[:] = 0
        squares[:] = 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(absolute))):
            best[:] = -np.inf
            where[:] = -1
            for e in range(rowptr[i], rowptr[i + 1]):
                j = col[e]
                by_j = np.float64(alpha[e])
                by_i = by_j + np.float64(beta[e])
                for k in range(channels):
                    value = absolute[i, k] + by_j * relative_j[j, k] - by_i * relative_i[i, k]
                    total[k] += value
                    squares[k] += value * value
                    signed = sign[k] * value
                    # the first NaN stays, and the first edge even if its value is -inf
                    better = (signed > best[k]) | (where[k] < 0)
                    better |= (signed != signed) & (best[k] == best[k])
                    best[k] = signed if better else best[k]
                    where[k] = e if better else where[k]
            for k in range(channels):
                edge[i, k] = where[k]
                z[i, k] = sign[k] * best[k] if where[k] >= 0 else 0.0
        moments[block, 0], moments[block, 1] = total, squares


@compiled
def activated_sums(
    start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, slope, out
):
    """Sum over every target's edges of z where positive, ``slope * z`` elsewhere."""
    channels = absolute.shape[1]
    total = np.empty(channels)
    for i in range(start, stop):
        total[:] = 0
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            by_j = np.float64(alpha[e])
            by_i = by_j + np.float64(beta[e])
            for k in range(channels):
                value = absolute[i, k] + by_j * relative_j[j, k] - by_i * relative_i[i, k]
                total[k] += value if value > 0 else slope * value
        out[i] = total


@compiled
def grad_targets(
    start,
    stop,
    absolute,
    relative_i,
    relative_j,
    alpha,
    beta,
    rowptr,
    col,
    how,
    grad,
    constant,
    linear,
    d_absolute,
    d_relative_i,
    d_alpha,
    d_beta,
    cuts,
    d_relative_j,
):
    """Gradients that belong to targets and edges; ``constant + linear * z`` is that of moments.

    With ``cuts`` (see :func:`cloud_cuts`) ``start`` and ``stop`` count clouds instead of targets,
    and the gradients that belong to sources are added to ``d_relative_j``.
    """
    channels = absolute.shape[1]
    by_a, by_r = np.empty(channels), np.empty(channels)
    if cuts is not None:
        start, stop = cuts[start], cuts[stop]
    for i in range(start, stop):
        by_a[:] = 0
        by_r[:] = 0
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            by_j = np.float64(alpha[e])
            by_i = by_j + np.float64(beta[e])
            along, against = 0.0, 0.0
            for k in range(channels):
                z = absolute[i, k] + by_j * relative_j[j, k] - by_i * relative_i[i, k]
                d = constant[k] + linear[k] * z + grad[i, k] * _weight(how, i, e, k, z)
                by_a[k] += d
                by_r[k] += by_i * d
                if d_relative_j is not None:
                    d_relative_j[j, k] += by_j * d
                along += d * (relative_j[j, k] - relative_i[i, k])
                against += d * relative_i[i, k]
            d_alpha[e] = along
            d_beta[e] = -against
        d_absolute[i] = by_a
        d_relative_i[i] = -by_r


@compiled
def grad_sources(
    start,
    stop,
    absolute,
    relative_i,
    relative_j,
    alpha,
    beta,
    colptr,
    order,
    target,
    how,
    grad,
    constant,
    linear,
    d_relative_j,
):
    """Gradients that belong to sources, edges grouped by them: see :func:`by_source`."""
    channels = absolute.shape[1]
    by_r = np.empty(channels)
    for j in range(start, stop):
        by_r[:] = 0
        for position in range(colptr[j], colptr[j + 1]):
            e = order[position]
            i = target[position]
            by_j = np.float64(alpha[e])
            by_i = by_j + np.float64(beta[e])
            for k in range(channels):
                z = absolute[i, k] + by_j * relative_j[j, k] - by_i * relative_i[i, k]
                d = constant[k] + linear[k] * z + grad[i, k] * _weight(how, i, e, k, z)
                by_r[k] += by_j * d
        d_relative_j[j] = by_r


@compiled
def cloud_cuts(rowptr, col, num_sources):
    """Targets before and after which edges share no source: 0, ..., M. None but those two if one
    part would have more than half of the edges.
    """
    targets = len(rowptr) - 1
    least_after = np.empty(targets + 1, np.int64)
    least_after[targets] = num_sources
    for i in range(targets - 1, -1, -1):
        least = least_after[i + 1]
        for e in range(rowptr[i], rowptr[i + 1]):
            least = min(least, col[e])
        least_after[i] = least
    cuts = np.empty(targets + 1, np.int64)
    cuts[0] = 0
    count, most, largest = 1, -1, 0
    for i in range(targets):
        for e in range(rowptr[i], rowptr[i + 1]):
            most = max(most, col[e])
        if most < least_after[i + 1] and rowptr[i + 1] > rowptr[cuts[count - 1]]:
            largest = max(largest, rowptr[i + 1] - rowptr[cuts[count - 1]])
            cuts[count] = i + 1
            count += 1
    if 2 * largest > len(col) or count == 1:
        return np.array([0, targets])
    cuts[count - 1] = targets
    return cuts[:count].copy()


@compiled
def by_target(source, target, num_targets):
    """Offsets of each target's edges and the sources in that order, by a stable counting sort."""
    rowptr = np.zeros(num_targets + 1, np.int64)
    for e in range(len(target)):
        rowptr[target[e] + 1] += 1
    for i in range(num_targets):
        rowptr[i + 1] += rowptr[i]
    free = rowptr[:-1].copy()
    col = np.empty(len(source), np.int32)
    for e in range(len(target)):
        col[free[target[e]]] = source[e]
        free[target[e]] += 1
    return rowptr, col


@compiled
def by_source(rowptr, col, num_sources):
    """Edges in the order of their sources: offsets of each source, edge, and its target."""
    colptr = np.zeros(num_sources + 1, np.int64)
    for e in range(len(col)):
        colptr[col[e] + 1] += 1
    for j in range(num_sources):
        colptr[j + 1] += colptr[j]
    free = colptr[:-1].copy()
    order, target = np.empty(len(col), np.int32), np.empty(len(col), np.int32)
    for i in range(len(rowptr) - 1):
        for e in range(rowptr[i], rowptr[i + 1]):
            position = free[col[e]]
            free[col[e]] = position + 1
            order[position] = e
            target[position] = i
    return colptr, order, target


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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the first five arguments.

    One pass, a thread for whole clouds, where the graph falls into clouds; otherwise a pass by
    targets, then a pass by sources. Which, depends on the graph alone.
    """
    given = (absolute, relative_i, relative_j, alpha, beta)
    d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta = (
        torch.empty(t.shape, dtype=t.dtype) for t in given
    )
    by = (how, grad, constant, linear)
    out = (d_absolute, d_relative_i, d_alpha, d_beta)
    cuts = cloud_cuts(rowptr.numpy(), col.numpy(), len(relative_j))
    if len(cuts) > 2:
        d_relative_j.zero_()
        clouds = (torch.from_numpy(cuts), d_relative_j)
        parallel(grad_targets, len(cuts) - 1, *given, rowptr, col, *by, *out, *clouds)
    else:
        parallel(grad_targets, len(absolute), *given, rowptr, col, *by, *out, None, None)
        order = by_source(rowptr.numpy(), col.numpy(), len(relative_j))
        parallel(grad_sources, len(relative_j), *given, *order, *by, d_relative_j)
    return d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta


def gradients_of_own(
    terms: tuple[Tensor, ...],
    how: Selected | Given | Activated,
    grad: Tensor,
    constant: Tensor,
    linear: Tensor,
    d_relative_j: Tensor,
) -> Tensor:
    """Gradient of ``absolute``, the first of the terms, where each edge is its own source, whose
    gradients are added to ``d_relative_j``.
    """
    absolute, relative_i, _, alpha, beta, rowptr, _ = terms
    given = (absolute, relative_i, alpha, beta)
    out = [torch.empty(t.shape, dtype=t.dtype) for t in given]
    clouds = (torch.arange(len(rowptr)), d_relative_j)
    parallel(grad_targets, len(absolute), *terms, how, grad, constant, linear, *out, *clouds)
    return out[0]
