"""What the Gram matrices of windows say, one window at a time, in float64."""

import numpy as np

from torch_geometric_hyperbolic.geometry._numerics import FLAT
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def rows(start, stop, v, rowptr, out):
    """Of every row of every window's Gram matrix the diagonal entry, mean, and mean square."""
    longest = _longest(start, stop, rowptr)
    window, row = np.empty((v.shape[1], longest)), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _transpose(v, first, size, window)
        for a in range(size):
            _products(window, a, size, row)
            total, squares = 0.0, 0.0
            for b in range(size):
                total += row[b]
                squares += row[b] * row[b]
            out[first + a, 0] = row[a]
            out[first + a, 1] = total / size
            out[first + a, 2] = squares / size


@compiled
def row_gradients(start, stop, v, rowptr, grad, grad_v):
    """What gradients of :func:`rows` make of the vectors."""
    longest = _longest(start, stop, rowptr)
    window, row = np.empty((v.shape[1], longest)), np.empty(longest)
    by_mean, by_square = np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _transpose(v, first, size, window)
        for a in range(size):
            by_mean[a] = grad[first + a, 1] / size
            by_square[a] = 2.0 * grad[first + a, 2] / size
        for a in range(size):
            _products(window, a, size, row)
            for b in range(size):
                row[b] = by_mean[a] + by_mean[b] + row[b] * (by_square[a] + by_square[b])
            row[a] += 2.0 * grad[first + a, 0]
            for f in range(v.shape[1]):
                total = 0.0
                for b in range(size):
                    total += row[b] * window[f, b]
                grad_v[first + a, f] = total


@compiled
def coordinates(start, stop, v, rowptr, tie, z, pivot):
    """The pivoted Cholesky factor of the Gram matrix of every window, and its pivots."""
    rank = z.shape[1]
    longest = _longest(start, stop, rowptr)
    window, factor = np.empty((rank, longest)), np.empty((rank, longest))
    rest, to_mean = np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _transpose(v, first, size, window)
        widest = _scores(window, size, rest, to_mean)
        pivot[i] = -1
        found = 0
        while found < min(rank, size):
            p = _leader(rest, to_mean, size, widest, tie)
            if p < 0:
                break
            pivot[i, found] = p
            along = factor[found]
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
            rest[p] = 0.0
            found += 1
        for a in range(size):
            for s in range(found):
                z[first + a, s] = factor[s, a]
            for s in range(found, rank):
                z[first + a, s] = 0


@compiled
def _scores(window, size, squared, to_mean):
    """Squares of the vectors, of which it returns the largest, and products with their mean."""
    squared[:size] = 0
    to_mean[:size] = 0
    for f in range(window.shape[0]):
        mean = 0.0
        for a in range(size):
            mean += window[f, a] / size
        for a in range(size):
            squared[a] += window[f, a] * window[f, a]
            to_mean[a] += window[f, a] * mean
    widest = 0.0
    for a in range(size):
        widest = max(widest, squared[a])
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
def coordinate_gradients(start, stop, v, rowptr, z, pivot, grad_z, grad_v):
    r"""What a gradient of the coordinates makes of the vectors.

    With pivot rows :math:`L` and :math:`G = V V^\top`, :math:`Z = G_{:P} L^{-\top}` and
    :math:`G_{PP} = L L^\top`: the gradients of :math:`G_{:P}` and :math:`G_{PP}` are
    :math:`C = \bar Z L^{-1}` and :math:`-\tfrac12 L^{-\top} S L^{-1}`, where :math:`S` is
    :math:`\bar Z^\top Z` with its lower triangle copied to the upper.
    """
    rank = z.shape[1]
    longest = _longest(start, stop, rowptr)
    window, total = np.empty((rank, longest)), np.empty((rank, longest))
    factor, by_factor = np.empty((rank, longest)), np.empty((rank, longest))
    inner, lower, along = np.empty((rank, rank)), np.empty((rank, rank)), np.empty(rank)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        found = 0
        while found < rank and pivot[i, found] >= 0:
            lower[found] = z[first + pivot[i, found]]
            found += 1
        _transpose(v, first, size, window)
        for a in range(size):
            for s in range(found):
                factor[s, a] = z[first + a, s]
                by_factor[s, a] = grad_z[first + a, s]
        for s in range(found):
            for t in range(s + 1):
                product = 0.0
                for a in range(size):
                    product += by_factor[s, a] * factor[t, a]
                inner[s, t] = inner[t, s] = product
        _divide(by_factor, lower, found, size)
        _divide(inner, lower, found, found)
        for s in range(found):
            for t in range(s):
                inner[s, t], inner[t, s] = inner[t, s], inner[s, t]
        _divide(inner, lower, found, found)
        for s in range(found):
            for t in range(found):
                by_factor[t, pivot[i, s]] -= 0.5 * inner[s, t]
        # V gets both C V_P and, in the pivots' rows, C^T V
        for f in range(rank):
            for a in range(size):
                total[f, a] = 0
            for t in range(found):
                leader, product = window[f, pivot[i, t]], 0.0
                for a in range(size):
                    total[f, a] += by_factor[t, a] * leader
                    product += by_factor[t, a] * window[f, a]
                along[t] = product
            for t in range(found):
                total[f, pivot[i, t]] += along[t]
        for a in range(size):
            for f in range(rank):
                grad_v[first + a, f] = total[f, a]


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
def _transpose(v, first, size, window):
    """The vectors of one window as columns, in float64."""
    for a in range(size):
        for f in range(v.shape[1]):
            window[f, a] = v[first + a, f]


@compiled
def _products(window, a, size, row):
    """Row ``a`` of the Gram matrix of one window."""
    row[:size] = 0
    for f in range(window.shape[0]):
        factor = window[f, a]
        for b in range(size):
            row[b] += factor * window[f, b]
