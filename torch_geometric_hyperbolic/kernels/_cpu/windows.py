"""What the Gram matrices of windows say, one window at a time, in float64."""

import numpy as np

from torch_geometric_hyperbolic.geometry._numerics import FLAT, TIE
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def _longest(start, stop, rowptr):
    """Size of the largest window."""
    size = 0
    for i in range(start, stop):
        size = max(size, rowptr[i + 1] - rowptr[i])
    return size


@compiled
def _products(v, first, size, gram):
    """The Gram matrix of one window."""
    for a in range(size):
        for b in range(a + 1):
            total = 0.0
            for f in range(v.shape[1]):
                total += np.float64(v[first + a, f]) * np.float64(v[first + b, f])
            gram[a, b] = gram[b, a] = total


@compiled
def squares(start, stop, v, rowptr, out):
    """The mean square of every row of every window's Gram matrix."""
    longest = _longest(start, stop, rowptr)
    gram = np.empty((longest, longest))
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, gram)
        for a in range(size):
            total = 0.0
            for b in range(size):
                total += gram[a, b] * gram[a, b]
            out[first + a] = total / size


@compiled
def square_gradients(start, stop, v, rowptr, grad, grad_v):
    """Of vector j: the sum over the window of ``2 / k <v_j, v_l> (grad_j + grad_l) v_l``."""
    longest = _longest(start, stop, rowptr)
    gram, total = np.empty((longest, longest)), np.empty(v.shape[1])
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, gram)
        for a in range(size):
            total[:] = 0
            for b in range(size):
                by = 2.0 / size * gram[a, b] * (grad[first + a] + grad[first + b])
                for f in range(v.shape[1]):
                    total[f] += by * np.float64(v[first + b, f])
            grad_v[first + a] = total


@compiled
def coordinates(start, stop, v, rowptr, z, pivot):
    """The pivoted Cholesky factor of the Gram matrix of every window, and its pivots."""
    rank = z.shape[1]
    longest = _longest(start, stop, rowptr)
    gram, factor = np.empty((longest, longest)), np.empty((longest, rank))
    rest, along, to_mean = np.empty(longest), np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        _products(v, first, size, gram)
        widest = 0.0
        for a in range(size):
            rest[a] = gram[a, a]
            widest = max(widest, rest[a])
        for a in range(size):
            total = 0.0
            for b in range(size):
                total += gram[a, b]
            to_mean[a] = total / size
        factor[:size] = 0
        pivot[i] = -1
        for s in range(min(rank, size)):
            best = -np.inf
            for a in range(size):
                if rest[a] > FLAT * widest:
                    best = max(best, rest[a] + to_mean[a])
            if best == -np.inf:
                break
            p = 0
            while rest[p] <= FLAT * widest or rest[p] + to_mean[p] < best - TIE * widest:
                p += 1
            pivot[i, s] = p
            length = np.sqrt(rest[p])
            mean = 0.0
            for a in range(size):
                total = gram[a, p]
                for t in range(s):
                    total -= factor[a, t] * factor[p, t]
                along[a] = total / length
                mean += along[a] / size
            for a in range(size):
                factor[a, s] = along[a]
                rest[a] -= along[a] * along[a]
                to_mean[a] -= along[a] * mean
            rest[p] = 0.0
        z[first : first + size] = factor[:size]


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
    by_gram, by_rows = np.empty((longest, longest)), np.empty((longest, rank))
    inner, lower = np.empty((rank, rank)), np.empty((rank, rank))
    total = np.empty(v.shape[1])
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        found = 0
        while found < rank and pivot[i, found] >= 0:
            lower[found] = z[first + pivot[i, found]]
            found += 1
        inner[:found, :found] = 0
        for a in range(size):
            for s in range(found):
                by_rows[a, s] = grad_z[first + a, s]
                for t in range(s + 1):
                    inner[s, t] += by_rows[a, s] * np.float64(z[first + a, t])
        for s in range(found):
            inner[:s, s] = inner[s, :s]
        _divide(by_rows, lower, size, found)
        _divide(inner, lower, found, found)
        _divide_transposed(inner, lower, found)
        by_gram[:size, :size] = 0
        for t in range(found):
            p = pivot[i, t]
            for a in range(size):
                by_gram[a, p] = by_rows[a, t]
        for s in range(found):
            for t in range(found):
                by_gram[pivot[i, s], pivot[i, t]] -= 0.5 * inner[s, t]
        for a in range(size):
            total[:] = 0
            for b in range(size):
                by_both = by_gram[a, b] + by_gram[b, a]
                for f in range(v.shape[1]):
                    total[f] += by_both * np.float64(v[first + b, f])
            grad_v[first + a] = total


@compiled
def _divide(rows, lower, size, rank):
    """``rows @ inverse(lower)`` in place."""
    for a in range(size):
        for s in range(rank - 1, -1, -1):
            rows[a, s] /= lower[s, s]
            for t in range(s):
                rows[a, t] -= rows[a, s] * lower[s, t]


@compiled
def _divide_transposed(columns, lower, rank):
    """``inverse(lower).T @ columns`` in place."""
    for s in range(rank - 1, -1, -1):
        for t in range(rank):
            columns[s, t] /= lower[s, s]
        for u in range(s):
            for t in range(rank):
                columns[u, t] -= lower[s, u] * columns[s, t]
