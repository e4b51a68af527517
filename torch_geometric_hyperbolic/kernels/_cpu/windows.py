"""What the Gram matrices of windows say, one window at a time, in float64."""

import numpy as np

from torch_geometric_hyperbolic.geometry._numerics import FLAT, TIE
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def rows(start, stop, v, rowptr, out):
    """Of every row of every window's Gram matrix the diagonal entry, mean, and mean square."""
    longest = _longest(start, stop, rowptr)
    window, gram = np.empty((v.shape[1], longest)), np.empty((longest, longest))
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, window, gram)
        for a in range(size):
            total, squares = 0.0, 0.0
            for b in range(size):
                total += gram[a, b]
                squares += gram[a, b] * gram[a, b]
            out[first + a, 0] = gram[a, a]
            out[first + a, 1] = total / size
            out[first + a, 2] = squares / size


@compiled
def row_gradients(start, stop, v, rowptr, grad, grad_v):
    """What gradients of :func:`rows` make of the vectors."""
    longest = _longest(start, stop, rowptr)
    window, gram = np.empty((v.shape[1], longest)), np.empty((longest, longest))
    total = np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, window, gram)
        for a in range(size):
            for b in range(a):
                by_mean = grad[first + a, 1] + grad[first + b, 1]
                by_square = grad[first + a, 2] + grad[first + b, 2]
                both = (by_mean + 2.0 * gram[a, b] * by_square) / size
                gram[a, b] = gram[b, a] = both
            by_mean, by_square = grad[first + a, 1], grad[first + a, 2]
            both = (by_mean + 2.0 * gram[a, a] * by_square) / size
            gram[a, a] = 2.0 * (grad[first + a, 0] + both)
        _multiply(gram, window, first, size, total, grad_v)


@compiled
def coordinates(start, stop, v, rowptr, z, pivot):
    """The pivoted Cholesky factor of the Gram matrix of every window, and its pivots."""
    rank = z.shape[1]
    longest = _longest(start, stop, rowptr)
    window, gram = np.empty((v.shape[1], longest)), np.empty((longest, longest))
    factor = np.empty((rank, longest))
    rest, to_mean = np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, window, gram)
        widest = 0.0
        for a in range(size):
            rest[a] = gram[a, a]
            widest = max(widest, rest[a])
            total = 0.0
            for b in range(size):
                total += gram[a, b]
            to_mean[a] = total / size
        pivot[i] = -1
        found = 0
        while found < min(rank, size):
            p = _leader(rest, to_mean, size, widest)
            if p < 0:
                break
            pivot[i, found] = p
            along = factor[found]
            for a in range(size):
                along[a] = gram[p, a]
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
def _leader(rest, to_mean, size, widest):
    """The first of those vectors whose scores equal the largest; -1 if none is long enough."""
    best = -np.inf
    for a in range(size):
        if rest[a] > FLAT * widest:
            best = max(best, rest[a] + to_mean[a])
    for a in range(size):
        if rest[a] > FLAT * widest and rest[a] + to_mean[a] >= best - TIE * widest:
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
    window, by_gram = np.empty((v.shape[1], longest)), np.empty((longest, longest))
    factor, by_factor = np.empty((rank, longest)), np.empty((rank, longest))
    inner, lower = np.empty((rank, rank)), np.empty((rank, rank))
    total = np.empty(longest)
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
        by_gram[:size, :size] = 0
        for t in range(found):
            for a in range(size):
                by_gram[pivot[i, t], a] = by_factor[t, a]
        for s in range(found):
            for t in range(found):
                by_gram[pivot[i, s], pivot[i, t]] -= 0.5 * inner[s, t]
        for a in range(size):
            for b in range(a + 1):
                by_gram[a, b] = by_gram[b, a] = by_gram[a, b] + by_gram[b, a]
        _multiply(by_gram, window, first, size, total, grad_v)


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
def _products(v, first, size, window, gram):
    """The vectors of one window as columns, and their Gram matrix."""
    _transpose(v, first, size, window)
    for a in range(size):
        for b in range(size):
            gram[a, b] = 0
        for f in range(v.shape[1]):
            factor = window[f, a]
            for b in range(size):
                gram[a, b] += factor * window[f, b]


@compiled
def _multiply(by, window, first, size, total, out):
    """``window @ by`` of one window with symmetric ``by``; columns back into its rows."""
    for f in range(window.shape[0]):
        for a in range(size):
            total[a] = 0
        for b in range(size):
            factor = window[f, b]
            for a in range(size):
                total[a] += factor * by[b, a]
        for a in range(size):
            out[first + a, f] = total[a]
