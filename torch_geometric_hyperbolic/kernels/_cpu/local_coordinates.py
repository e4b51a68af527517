"""Pivoted Cholesky factors of the Gram matrices of windows."""

import numpy as np

from torch_geometric_hyperbolic.geometry._numerics import NEGLIGIBLE
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.windows import (
    inner_products,
    largest,
    pull,
    transpose,
    vectors,
)


@compiled
def coordinates(start, stop, v, rowptr, tie, z, pivot):
    """The pivoted Cholesky factor of the Gram matrix of every window, and its pivots."""
    channels, rank, longest = v.relative_i.shape[1], z.shape[1], largest(start, stop, rowptr) + 3
    window, factor = np.zeros((longest, channels)), np.empty((rank, longest))
    rest, to_mean, along = np.empty(longest), np.empty(longest), np.empty(longest)
    mean_vector = np.empty(channels)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        vectors(v, i, rowptr, window)
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
                z[first + a, s] = 0.0 * abs(rest[a])  # NaN of a vector that is not finite


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
        if rest[a] > NEGLIGIBLE * widest:
            best = max(best, rest[a] + to_mean[a])
            longest = max(longest, rest[a])
    least = best - tie * np.sqrt(longest * widest)
    for a in range(size):
        if rest[a] > NEGLIGIBLE * widest and rest[a] + to_mean[a] >= least:
            return a
    return -1


@compiled
def coordinate_gradients(start, stop, v, rowptr, z, pivot, grad_z, cuts, d_v):
    r"""What gradients of coordinates make of the vectors' terms: see :func:`windows.gradients`.

    With pivot rows :math:`L` and :math:`G = V V^\top`, :math:`Z = G_{:P} L^{-\top}` and
    :math:`G_{PP} = L L^\top`: the gradients of :math:`G_{:P}` and :math:`G_{PP}` are
    :math:`\bar Z L^{-1}` and :math:`-\tfrac12 L^{-\top} S L^{-1}`, where :math:`S` is
    :math:`\bar Z^\top Z` with its lower triangle copied to the upper. Together, as columns:
    :math:`C = (\bar Z - \tfrac12 \Pi_P L^{-\top} S) L^{-1}`.
    """
    start, stop = cuts[start], cuts[stop]
    channels, rank, longest = v.relative_i.shape[1], z.shape[1], largest(start, stop, rowptr) + 1
    window, across = np.empty((longest, channels)), np.zeros((channels + 1, longest))
    leaders = np.zeros((channels + 1, rank))
    factor, columns = np.zeros((rank + 1, longest)), np.zeros((rank + 1, longest))
    inner, lower = np.empty((rank + 1, rank + 1)), np.empty((rank, rank))
    rows = np.zeros((longest, rank))
    total, along = np.empty((longest, channels + 1)), np.empty((rank + 1, channels + 1))
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        found = 0
        while found < rank and pivot[i, found] >= 0:
            lower[found] = z[first + pivot[i, found]]
            found += 1
        d_v.relative_i[i] = 0
        vectors(v, i, rowptr, window)
        transpose(window, 0, size, across)
        transpose(z, first, size, factor)
        transpose(grad_z, first, size, columns)
        inner_products(columns, 0, found, factor, found, size, inner)
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
        inner_products(rows, 0, size, leaders, channels, found, total)
        inner_products(columns, 0, found, across, channels, size, along)
        for t in range(found):
            for f in range(channels):
                total[pivot[i, t], f] += along[t, f]
        pull(v, i, first, size, total, d_v)


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
