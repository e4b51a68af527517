r"""Passes over edges grouped by target for the scalars of relative positions.

:math:`q_e = c \|p_j - p_i\|^2 / (g_i g_j)`, :math:`\alpha_e = u\,a(q_e) / g_j`,
:math:`\beta_e = u\,a(q_e)\,q_e` in float64, differences first. Where :math:`c = 0`,
:math:`\alpha_e = u / g_j` and :math:`\beta_e = 0` whatever the points are.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.scalars import rel_factor

#: Targets whose edges' distances are in the cache when functions of them are taken.
STRIP = 32


@compiled
def _squared(points_i, i, points_j, j):
    total = 0.0
    for k in range(points_i.shape[1]):
        d = np.float64(points_j[j, k]) - np.float64(points_i[i, k])
        total += d * d
    return total


@compiled
def coefficients(
    start, stop, points_i, inverse_i, points_j, inverse_j, c, unit, rowptr, col, alpha, beta, kept
):
    """Both scalars of every edge of targets ``start`` to ``stop``; ``inverse`` is 1 / gap. Of each
    edge :math:`q`, :math:`a(q)` and :math:`a'(q)` are kept.
    """
    for top in range(start, stop, STRIP):
        end = min(top + STRIP, stop)
        for i in range(top, end):
            by_i = inverse_i[i, 0]
            for e in range(rowptr[i], rowptr[i + 1]):
                j = col[e]
                by_j = inverse_j[j, 0]
                q = c * _squared(points_i, i, points_j, j) * (by_i * by_j) if c != 0 else 0.0
                kept[0, e], kept[1, e] = q, by_j
        first, last = rowptr[top], rowptr[end]
        of_edges = kept[0, first:last], kept[1, first:last], kept[2, first:last]
        _scalars(unit, *of_edges, alpha[first:last], beta[first:last])


@compiled
def _scalars(unit, q, a, slope, alpha, beta):
    """Scalars of edges given :math:`q` and, as ``a``, :math:`1 / g_j`. Counted from 0, below which
    no index then can be, they fill vector registers.
    """
    for e in range(len(q)):
        by_j = a[e]
        a[e], slope[e] = rel_factor(q[e])
        alpha[e], beta[e] = unit * a[e] * by_j, unit * a[e] * q[e]


@compiled
def grad_targets(
    start, stop, points_i, inverse_i, points_j, inverse_j, c, unit, rowptr, col, kept,
    grad_alpha, grad_beta, d_points_i, d_gap_i, d_c, pull, d_gap, cuts, d_points_j, d_gap_j,
):  # fmt: skip
    """Gradients that belong to targets, added to what is there, and of every edge: its ``pull`` on
    the source along :math:`p_j - p_i`, and the gradient by the source's gap.

    With ``cuts`` (see :func:`graphs.cloud_cuts`) ``start`` and ``stop`` count clouds instead of
    targets, and what belongs to sources is added to ``d_points_j`` and ``d_gap_j``.
    """
    channels = points_i.shape[1]
    moved = np.empty(channels)
    if cuts is not None:
        start, stop = cuts[start], cuts[stop]
    for i in range(start, stop):
        moved[:] = 0
        by_gap, by_c = 0.0, 0.0
        by_i = inverse_i[i, 0]
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            by_j = inverse_j[j, 0]
            q, a, slope = kept[0, e], kept[1, e], kept[2, e]
            d_q, along = 0.0, 0.0
            if c != 0:  # a flat space does not look at its points
                d_q = unit * (grad_alpha[e] * slope * by_j + grad_beta[e] * (slope * q + a))
                along = 2 * c * d_q * (by_i * by_j)
                for k in range(channels):
                    step = along * (np.float64(points_j[j, k]) - np.float64(points_i[i, k]))
                    moved[k] -= step
                    if d_points_j is not None:
                        d_points_j[j, k] += step
            by_gap -= d_q * q * by_i
            by_c += d_q * q
            of_gap = -(d_q * q + grad_alpha[e] * unit * a * by_j) * by_j
            if d_gap_j is not None:
                d_gap_j[j, 0] += of_gap
            if pull is not None:
                pull[e] = along
            if d_gap is not None:
                d_gap[e] = of_gap
        for k in range(channels):
            d_points_i[i, k] += moved[k]
        d_gap_i[i, 0] += by_gap
        d_c[i] = by_c / c if c != 0 else 0.0


@compiled
def grad_sources(
    start, stop, points_i, points_j, colptr, order, target, pull, d_gap, d_points_j, d_gap_j
):
    """Gradients that belong to sources, edges grouped by them (see :func:`graphs.by_source`), are
    added to what is there.
    """
    channels = points_j.shape[1]
    moved = np.empty(channels)
    for j in range(start, stop):
        moved[:] = 0
        by_gap = 0.0
        for position in range(colptr[j], colptr[j + 1]):
            e = order[position]
            i = target[position]
            if pull[e] != 0:  # a flat space does not look at its points
                for k in range(channels):
                    moved[k] += pull[e] * (np.float64(points_j[j, k]) - np.float64(points_i[i, k]))
            by_gap += d_gap[e]
        for k in range(channels):
            d_points_j[j, k] += moved[k]
        d_gap_j[j, 0] += by_gap
