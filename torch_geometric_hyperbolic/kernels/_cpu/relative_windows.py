r"""Windows of an image, the vectors from each pivot to its window's pixels, and their gradients.

.. math::
    \operatorname{rel} = \alpha\,d - \beta\,p_i, \quad \alpha = u\,a(q) / g_j, \quad
    \beta = u\,a(q)\,q, \quad q = c \|d\|^2 / (g_i g_j), \quad d = p_j - p_i

given :math:`1 / g`, scalars in float64 and sums over channels in the dtype of the points; the zero
vector for padding. The scalars of a window's pixels are computed together, so that they do not wait
for each other. A few windows at a time meet the weight in a core's cache, in products that BLAS
does not share out to other threads.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT, compiled
from torch_geometric_hyperbolic.kernels._cpu.scalars import rel_factor


@compiled
def _look_from(points, inverse, image, i, pivot):
    """Copies the pivot to ``pivot``, the origin for one on padding; returns its 1 / gap."""
    for f in range(len(pivot)):
        pivot[f] = points[image, i, f] if i >= 0 else 0.0
    return inverse[image, i] if i >= 0 else 1.0


@compiled
def products(start, stop, points, inverse, c, unit, table, pivots, weight, bias, rows, out):
    """Blocks ``start`` to ``stop`` of ``rows`` windows each: their vectors times the transposed
    weight, plus the bias.
    """
    channels, size = weight.shape
    step = _channels_at_a_time(channels, size, rows)
    vectors, product = np.empty((rows, size), weight.dtype), np.empty(rows * step, weight.dtype)
    for block in range(start, stop):
        first, last = block * rows, min((block + 1) * rows, len(out))
        some = vectors[: last - first]
        _fill(first, points, inverse, c, unit, table, pivots, some)
        for o in range(0, channels, step):
            by = weight[o : o + step]
            of_some = product[: len(some) * len(by)].reshape((len(some), len(by)))
            np.dot(some, by.T, of_some)
            out[first:last, o : o + step] = of_some
        if bias is not None:
            out[first:last] += bias


@compiled
def gradients(
    start, stop, points, inverse, c, unit, table, pivots, weight, rows, grad, cuts,
    d_points, d_gap, d_c, d_weight,
):  # fmt: skip
    """Gradients of parts ``start`` to ``stop`` of the images; ``cuts`` says where each begins. That
    of the weight, ``[parts, *weight.shape]``, is summed within each part.
    """
    channels, size = weight.shape
    step = _channels_at_a_time(channels, size, rows)
    vectors, more = np.empty((rows, size), weight.dtype), np.empty((rows, size), weight.dtype)
    pulls, product = np.empty(rows * step, weight.dtype), np.empty((step, size), weight.dtype)
    for part in range(start, stop):
        d_weight[part] = 0
        end = cuts[part + 1] * len(table)
        for first in range(cuts[part] * len(table), end, rows):
            last = min(first + rows, end)
            some = vectors[: last - first]
            for o in range(0, channels, step):
                by = weight[o : o + step]
                pull = pulls[: len(some) * len(by)].reshape((len(some), len(by)))
                pull[:] = grad[first:last, o : o + step]
                if o == 0:
                    np.dot(pull, by, some)
                    continue
                np.dot(pull, by, more[: len(some)])
                some += more[: len(some)]
            _refill(first, points, inverse, c, unit, table, pivots, some, d_points, d_gap, d_c)
            for o in range(0, channels, step):
                by = product[: min(step, channels - o)]
                pull = pulls[: len(some) * len(by)].reshape((len(some), len(by)))
                pull[:] = grad[first:last, o : o + step]
                np.dot(pull.T, some, by)
                d_weight[part, o : o + step] += by


@compiled
def _channels_at_a_time(channels, size, rows):
    """Channels of the result whose product is one that BLAS keeps in this thread."""
    return max(1, min(channels, PRODUCT // (rows * max(1, size))))


@compiled
def _fill(start, points, inverse, c, unit, table, pivots, vectors):
    """The vectors of windows from ``start`` on, counted through all images."""
    (windows, pixels), channels = table.shape, points.shape[2]
    patches = vectors.reshape((len(vectors), pixels, channels))
    dtype = points.dtype.type
    pivot = np.empty(channels, points.dtype)
    q, alpha, beta = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    for row in range(len(vectors)):
        image, window = (start + row) // windows, (start + row) % windows
        i = pivots[window]
        inv_i = _look_from(points, inverse, image, i, pivot)
        for k in range(pixels):
            j = table[window, k]
            q[k], alpha[k] = 0.0, 0.0
            if j >= 0:
                squared = dtype(0)
                for f in range(channels):
                    d = points[image, j, f] - pivot[f]
                    squared += d * d
                q[k] = c * squared * inv_i * inverse[image, j] if c != 0 else 0.0
                alpha[k] = unit * inverse[image, j]
        for k in range(pixels):
            a, _ = rel_factor(q[k])
            alpha[k] *= a
            beta[k] = unit * a * q[k]
        for k in range(pixels):
            j = table[window, k]
            by_d, by_p = dtype(alpha[k]), dtype(beta[k])
            if j < 0:
                for f in range(channels):
                    patches[row, k, f] = 0
                continue
            for f in range(channels):
                p = pivot[f]
                patches[row, k, f] = by_d * (points[image, j, f] - p) - by_p * p


@compiled
def _refill(start, points, inverse, c, unit, table, pivots, vectors, d_points, d_gap, d_c):
    """Adds the gradients of windows from ``start`` on, counted through all images.

    ``vectors`` holds those of their vectors, which are replaced by the vectors.
    """
    (windows, pixels), channels = table.shape, points.shape[2]
    patches = vectors.reshape((len(vectors), pixels, channels))
    dtype = points.dtype.type
    pivot, by_pivot = np.empty(channels, points.dtype), np.empty(channels, points.dtype)
    ratio, along, against = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    alpha, beta, pull = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    inv = np.empty(pixels)
    for row in range(len(vectors)):
        image, window = (start + row) // windows, (start + row) % windows
        i = pivots[window]
        inv_i = _look_from(points, inverse, image, i, pivot)
        for k in range(pixels):
            j = table[window, k]
            squared, by_d, by_p = dtype(0), dtype(0), dtype(0)
            inv[k] = inverse[image, j] if j >= 0 else 1.0
            if j >= 0:
                for f in range(channels):
                    p, grad = pivot[f], patches[row, k, f]
                    d = points[image, j, f] - p
                    squared += d * d
                    by_d += grad * d
                    by_p += grad * p
            ratio[k] = squared * inv_i * inv[k] if c != 0 else 0.0
            along[k], against[k] = by_d, by_p
        for k in range(pixels):
            q = c * ratio[k]
            a, slope = rel_factor(q)
            alpha[k], beta[k] = unit * a * inv[k], unit * a * q
            d_q = unit * (slope * (along[k] * inv[k] - q * against[k]) - a * against[k])
            pull[k] = 2 * c * d_q * inv_i * inv[k] if c != 0 else 0.0
            ratio[k] = ratio[k] * d_q if c != 0 else 0.0
        for f in range(channels):
            by_pivot[f] = 0
        by_own_gap, by_c = 0.0, 0.0
        for k in range(pixels):
            j = table[window, k]
            if j < 0:
                for f in range(channels):
                    patches[row, k, f] = 0
                continue
            by_d, by_p, by_q = dtype(alpha[k]), dtype(beta[k]), dtype(pull[k])
            for f in range(channels):
                p, grad = pivot[f], patches[row, k, f]
                d = points[image, j, f] - p
                pulled = by_d * grad + by_q * d
                d_points[image, j, f] += pulled
                by_pivot[f] -= pulled + by_p * grad
                patches[row, k, f] = by_d * d - by_p * p
            d_gap[image, j] -= (alpha[k] * along[k] + c * ratio[k]) * inv[k]
            by_own_gap -= c * ratio[k] * inv_i
            by_c += ratio[k]
        d_c[image] += by_c
        if i >= 0:
            d_gap[image, i] += by_own_gap
            for f in range(channels):
                d_points[image, i, f] += by_pivot[f]
