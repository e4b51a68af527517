r"""What the Gram matrices of windows say, one window at a time, in float64.

A window's vectors :math:`v_e = \alpha_e (R_j - R_i) - \beta_e R_i` are made in the
cache, and so are their gradients.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import FLAT
from torch_geometric_hyperbolic.kernels._cpu import edges
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, parallel
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors


class Gradients(NamedTuple):
    """Of the terms of :class:`EdgeVectors`."""

    relative_i: Any
    relative_j: Any
    alpha: Any
    beta: Any


#: Rows of a Gram matrix that are there at a time; even.
STRIP = 4


@compiled
def lengths(start, stop, v, rowptr, of_windows, of_vectors):
    """The lengths of every window and of its vectors: see :func:`window_lengths`."""
    channels, longest = v.relative_i.shape[1], _longest(start, stop, rowptr) + STRIP
    window, strip = np.zeros((longest, channels)), np.empty((STRIP, longest))
    own, mean, square = np.empty(longest), np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _vectors(v, i, rowptr, window)
        for top in range(0, size, STRIP):
            _inner(window, top, STRIP, window, size, channels, strip)
            for a in range(top, min(top + STRIP, size)):
                total, squares = 0.0, 0.0
                for b in range(size):
                    total += strip[a - top, b]
                    squares += strip[a - top, b] * strip[a - top, b]
                own[a], mean[a], square[a] = strip[a - top, a], total / size, squares / size
        of_all, of_mean = 0.0, 0.0
        for a in range(size):
            of_all += own[a] / size
            of_mean += mean[a] / size
        root = math.sqrt(of_all)
        unit = 1 / root if root != 0 else 1.0
        of_windows[i, 0] = root
        of_windows[i, 1] = math.sqrt(of_mean) if not of_mean < 0 else 0.0
        for a in range(size):
            of_vectors[first + a, 0] = math.sqrt(own[a])
            of_vectors[first + a, 1] = mean[a] * unit
            of_vectors[first + a, 2] = math.sqrt(square[a]) * unit


@compiled
def length_gradients(
    start, stop, v, rowptr, of_windows, of_vectors, grad_windows, grad_vectors, cuts, d_v
):
    r"""What gradients of :func:`lengths` make of the vectors' terms, of clouds ``start`` to
    ``stop``: see :func:`edges.cloud_cuts`. Those of sources are added to ``d_v.relative_j``.

    With :math:`s` and :math:`t` of the window and :math:`e_1, e_2, e_3` of a vector :math:`a`, the
    derivatives by :math:`G_{aa}` are :math:`1 / 2 e_1` of :math:`e_1` and :math:`1 / 2 s k` of
    :math:`s`, on which :math:`e_2` and :math:`e_3` depend by :math:`-e_2 / s` and
    :math:`-e_3 / s`; by the row's mean :math:`1 / s` of :math:`e_2` and :math:`1 / 2 t k` of
    :math:`t`; by its mean square :math:`1 / 2 e_3 s^2` of :math:`e_3`.
    """
    start, stop = cuts[start], cuts[stop]
    channels, longest = v.relative_i.shape[1], _longest(start, stop, rowptr) + STRIP
    window, across = np.zeros((longest, channels)), np.zeros((channels + 1, longest))
    strip, total = np.empty((STRIP, longest)), np.empty((STRIP, channels + 1))
    by_own, by_mean, by_square = np.empty(longest), np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        d_v.relative_i[i] = 0
        _vectors(v, i, rowptr, window)
        _transpose(window, 0, size, across)
        by_s = _inverse(of_windows[i, 0])
        of_s = np.float64(grad_windows[i, 0])
        of_t = grad_windows[i, 1] * _inverse(of_windows[i, 1])
        for e in range(first, first + size):
            of_s -= grad_vectors[e, 1] * of_vectors[e, 1] * by_s
            of_s -= grad_vectors[e, 2] * of_vectors[e, 2] * by_s
        for a in range(size):
            e = first + a
            by_own[a] = grad_vectors[e, 0] * _inverse(of_vectors[e, 0]) + of_s * by_s / size
            by_mean[a] = (grad_vectors[e, 1] * by_s + 0.5 * of_t / size) / size
            by_square[a] = grad_vectors[e, 2] * _inverse(of_vectors[e, 2]) * by_s * by_s / size
        for top in range(0, size, STRIP):
            bottom = min(top + STRIP, size)
            _inner(window, top, STRIP, window, size, channels, strip)
            for a in range(top, bottom):
                for b in range(size):
                    by = by_mean[a] + by_mean[b]
                    strip[a - top, b] = by + strip[a - top, b] * (by_square[a] + by_square[b])
                strip[a - top, a] += by_own[a]
            _inner(strip, 0, STRIP, across, channels, size, total)
            _pull(v, i, first + top, bottom - top, total, d_v)


@compiled
def _inverse(length):
    """1 / length; 0 for 0, whose gradient is 0."""
    return 1 / np.float64(length) if length != 0 else 0.0


@compiled
def coordinates(start, stop, v, rowptr, tie, z, pivot):
    """The pivoted Cholesky factor of the Gram matrix of every window, and its pivots."""
    channels, rank, longest = v.relative_i.shape[1], z.shape[1], _longest(start, stop, rowptr) + 3
    window, factor = np.zeros((longest, channels)), np.empty((rank, longest))
    rest, to_mean, along = np.empty(longest), np.empty(longest), np.empty(longest)
    mean_vector = np.empty(channels)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _vectors(v, i, rowptr, window)
        widest = _scores(window, size, mean_vector, rest, to_mean)
        pivot[i] = -1
        found = 0
        while found < min(rank, size):
            p = _leader(rest, to_mean, size, widest, tie)
            if p < 0:
                break
            pivot[i, found] = p
            _products(window, p, size, along)
            for t in range(found):
                by = factor[t, p]
                for a in range(size):
                    along[a] -= by * factor[t, a]
            scale, mean = 1 / np.sqrt(rest[p]), 0.0
            for a in range(size):
                along[a] *= scale
                mean += along[a] / size
            for a in range(size):
                rest[a] -= along[a] * along[a]
                to_mean[a] -= along[a] * mean
                factor[found, a] = along[a]
            rest[p] = 0.0
            found += 1
        for a in range(size):
            for s in range(found):
                z[first + a, s] = factor[s, a]
            for s in range(found, rank):
                z[first + a, s] = 0


@compiled
def _scores(window, size, mean, squared, to_mean):
    """Squares of the vectors, of which it returns the largest, and products with their mean."""
    mean[:] = 0
    for a in range(size):
        for f in range(window.shape[1]):
            mean[f] += window[a, f] / size
    widest = 0.0
    for a in range(size):
        square, product = 0.0, 0.0
        for f in range(window.shape[1]):
            square += window[a, f] * window[a, f]
            product += window[a, f] * mean[f]
        squared[a], to_mean[a] = square, product
        widest = max(widest, square)
    return widest


@compiled
def _leader(rest, to_mean, size, widest, tie):
    """The first of those vectors whose scores equal the largest; -1 if none is long enough."""
    best, longest = -np.inf, 0.0
    for a in range(size):
        if rest[a] > FLAT * widest:
            best = max(best, rest[a] + to_mean[a])
            longest = max(longest, rest[a])
    least = best - tie * np.sqrt(longest * widest)
    for a in range(size):
        if rest[a] > FLAT * widest and rest[a] + to_mean[a] >= least:
            return a
    return -1


@compiled
def coordinate_gradients(start, stop, v, rowptr, z, pivot, grad_z, cuts, d_v):
    r"""What gradients of coordinates make of the vectors' terms: see :func:`length_gradients`.

    With pivot rows :math:`L` and :math:`G = V V^\top`, :math:`Z = G_{:P} L^{-\top}` and
    :math:`G_{PP} = L L^\top`: the gradients of :math:`G_{:P}` and :math:`G_{PP}` are
    :math:`\bar Z L^{-1}` and :math:`-\tfrac12 L^{-\top} S L^{-1}`, where :math:`S` is
    :math:`\bar Z^\top Z` with its lower triangle copied to the upper. Together, as columns:
    :math:`C = (\bar Z - \tfrac12 \Pi_P L^{-\top} S) L^{-1}`.
    """
    start, stop = cuts[start], cuts[stop]
    channels, rank, longest = v.relative_i.shape[1], z.shape[1], _longest(start, stop, rowptr) + 1
    window, across = np.empty((longest, channels)), np.zeros((channels + 1, longest))
    leaders = np.zeros((channels + 1, rank))
    factor, columns = np.zeros((rank + 1, longest)), np.zeros((rank + 1, longest))
    inner, lower, rows = (
        np.empty((rank + 1, rank + 1)),
        np.empty((rank, rank)),
        np.zeros((longest, rank)),
    )
    total, along = np.empty((longest, channels + 1)), np.empty((rank + 1, channels + 1))
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        found = 0
        while found < rank and pivot[i, found] >= 0:
            lower[found] = z[first + pivot[i, found]]
            found += 1
        d_v.relative_i[i] = 0
        _vectors(v, i, rowptr, window)
        _transpose(window, 0, size, across)
        _transpose(z, first, size, factor)
        _transpose(grad_z, first, size, columns)
        _inner(columns, 0, found, factor, found, size, inner)
        for s in range(found):
            for t in range(s):
                inner[t, s] = inner[s, t]
        _divide(inner, lower, found, found)
        for s in range(found):
            for t in range(found):
                columns[t, pivot[i, s]] -= 0.5 * inner[s, t]
        _divide(columns, lower, found, size)
        # V gets both C V_P and, in the pivots' rows, C^T V
        for t in range(found):
            for a in range(size):
                rows[a, t] = columns[t, a]
            for f in range(channels):
                leaders[f, t] = window[pivot[i, t], f]
        _inner(rows, 0, size, leaders, channels, found, total)
        _inner(columns, 0, found, across, channels, size, along)
        for t in range(found):
            for f in range(channels):
                total[pivot[i, t], f] += along[t, f]
        _pull(v, i, first, size, total, d_v)


@compiled
def _divide(columns, lower, rank, size):
    """``inverse(lower).T @ columns`` in place."""
    for s in range(rank - 1, -1, -1):
        for a in range(size):
            columns[s, a] /= lower[s, s]
        for t in range(s):
            for a in range(size):
                columns[t, a] -= lower[s, t] * columns[s, a]


@compiled
def _longest(start, stop, rowptr):
    """Size of the largest window."""
    size = 0
    for i in range(start, stop):
        size = max(size, rowptr[i + 1] - rowptr[i])
    return size


@compiled
def _vectors(v, i, rowptr, window):
    """The vectors of one window as rows."""
    for a in range(rowptr[i + 1] - rowptr[i]):
        e = rowptr[i] + a
        j = v.col[e]
        by_j = np.float64(v.alpha[e])
        by_i = by_j + np.float64(v.beta[e])
        for f in range(v.relative_i.shape[1]):
            window[a, f] = by_j * v.relative_j[j, f] - by_i * v.relative_i[i, f]


@compiled
def _pull(v, i, first, size, total, d_v):
    """Gradients ``total`` of some vectors of one window, handed to what they are made of."""
    for a in range(size):
        e = first + a
        j = v.col[e]
        by_j = np.float64(v.alpha[e])
        by_i = by_j + np.float64(v.beta[e])
        along, against = 0.0, 0.0
        for f in range(v.relative_i.shape[1]):
            d = total[a, f]
            d_v.relative_j[j, f] += by_j * d
            d_v.relative_i[i, f] -= by_i * d
            along += d * (v.relative_j[j, f] - v.relative_i[i, f])
            against += d * v.relative_i[i, f]
        d_v.alpha[e] = along
        d_v.beta[e] = -against


@compiled
def _transpose(v, first, size, columns):
    """Some rows as columns, in float64."""
    for a in range(size):
        for f in range(v.shape[1]):
            columns[f, a] = v[first + a, f]


@compiled
def _products(window, p, size, out):
    """Inner products of row ``p`` with all rows, four at a time: up to three more are read."""
    for a in range(0, size, 4):
        by_0, by_1, by_2, by_3 = 0.0, 0.0, 0.0, 0.0
        for f in range(window.shape[1]):
            by_0 += window[p, f] * window[a, f]
            by_1 += window[p, f] * window[a + 1, f]
            by_2 += window[p, f] * window[a + 2, f]
            by_3 += window[p, f] * window[a + 3, f]
        out[a], out[a + 1], out[a + 2], out[a + 3] = by_0, by_1, by_2, by_3


@compiled
def _inner(x, first, count, y, columns, width, out):
    """Inner products of ``count`` rows of x with ``columns`` rows of y, the first ``width`` numbers
    of each. Two by two, so that numbers are read half as often: of both one row more is read.
    """
    for a in range(0, count, 2):
        p = first + a
        for b in range(0, columns, 2):
            aa, ab, ba, bb = 0.0, 0.0, 0.0, 0.0
            for f in range(width):
                aa += x[p, f] * y[b, f]
                ab += x[p, f] * y[b + 1, f]
                ba += x[p + 1, f] * y[b, f]
                bb += x[p + 1, f] * y[b + 1, f]
            out[a, b], out[a, b + 1], out[a + 1, b], out[a + 1, b + 1] = aa, ab, ba, bb


def gradients(
    loop: Any, v: EdgeVectors, rowptr: Tensor, *rest: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the vectors' terms by :func:`length_gradients` or :func:`coordinate_gradients`.

    One pass, a thread for whole clouds, where the graph falls into clouds; otherwise those of the
    vectors themselves are stored. Which, depends on the graph alone.
    """
    cuts = edges.cloud_cuts(rowptr.numpy(), v.col.numpy(), len(v.relative_j))
    if len(cuts) > 2:
        return _of_clouds(loop, v, rowptr, rest, torch.from_numpy(cuts))
    none = torch.zeros_like(v.relative_i)
    terms = (none, *v[:4], rowptr, v.col)
    values = torch.empty(len(v.col), none.size(1), dtype=v.alpha.dtype)
    parallel(edges.values, len(none), *terms, values)
    own = EdgeVectors.stored(values, rowptr)
    d_values = _of_clouds(loop, own, rowptr, rest, torch.arange(len(rowptr))).relative_j
    moments = none.new_zeros(none.size(1))
    by = (edges.Given(d_values.numpy()), torch.ones_like(none), moments, moments)
    return edges.gradients(*terms, *by)[1:]


def _of_clouds(
    loop: Any, v: EdgeVectors, rowptr: Tensor, rest: tuple[Tensor, ...], cuts: Tensor
) -> Gradients:
    out = Gradients(*(torch.empty(term.shape, dtype=term.dtype) for term in v[:4]))
    out.relative_j.zero_()
    parallel(loop, len(cuts) - 1, v, rowptr, *rest, cuts, out)
    return out
