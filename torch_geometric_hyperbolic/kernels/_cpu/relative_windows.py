r"""Windows of an image, the vectors from each pivot to its window's pixels, and their products with
a weight.

.. math::
    \operatorname{rel} = \alpha\,d - \beta\,p_i, \quad \alpha = u\,a(q) / g_j, \quad
    \beta = u\,a(q)\,q, \quad q = c \|d\|^2 / (g_i g_j), \quad d = p_j - p_i

given :math:`1 / g`, sums and scalars in float64 and vectors in the dtype of the points; the zero
vector for padding. The scalars of a window's pixels are computed together, so that they do not wait
for each other.

Few channels: windows come in blocks, cut from each image alike, whose vectors stay in a core's
cache, where they meet the weight in one product, ``[1, rows, K, F]``, or pixel by pixel,
``[K, rows, 1, F]``. No product is so large that BLAS would share it out to other threads. Many
channels: the vectors of a few images ``[1, rows, K, F]`` are made for a product outside.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.scalars import rel_factor


@compiled
def _look_from(points, inverse, image, i, pivot):
    """Copies the pivot to ``pivot``, the origin for one on padding; returns its 1 / gap."""
    for f in range(len(pivot)):
        pivot[f] = points[image, i, f] if i >= 0 else 0.0
    return inverse[image, i] if i >= 0 else 1.0


@compiled
def _of(patches, row, k):
    """The vector of pixel ``k`` of a window of the block, whichever of both forms that has."""
    return patches[0, row, k] if len(patches) == 1 else patches[k, row, 0]


@compiled
def _fill(points, inverse, image, c, unit, table, pivots, first, size, patches, at):
    """The vectors of ``size`` windows from ``first`` on, in the rows of a block from ``at`` on."""
    pixels, channels = table.shape[1], points.shape[2]
    pivot = np.empty(channels, points.dtype)
    q, alpha, beta = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    for window in range(first, first + size):
        row = at + window - first
        i = pivots[window]
        inv_i = _look_from(points, inverse, image, i, pivot)
        for k in range(pixels):
            j = table[window, k]
            q[k], alpha[k] = 0.0, 0.0
            if j >= 0:
                squared = 0.0
                for f in range(channels):
                    d = np.float64(points[image, j, f]) - np.float64(pivot[f])
                    squared += d * d
                q[k] = c * squared * inv_i * inverse[image, j]
                alpha[k] = unit * inverse[image, j]
        for k in range(pixels):
            a, _ = rel_factor(q[k])
            alpha[k] *= a
            beta[k] = unit * a * q[k]
        for k in range(pixels):
            j, vector = table[window, k], _of(patches, row, k)
            if j < 0:
                for f in range(channels):
                    vector[f] = 0
                continue
            by_d, by_p = points.dtype.type(alpha[k]), points.dtype.type(beta[k])
            for f in range(channels):
                p = pivot[f]
                vector[f] = by_d * (points[image, j, f] - p) - by_p * p


@compiled
def fill(start, stop, points, inverse, c, unit, table, pivots, patches):
    """The vectors of windows ``start`` to ``stop`` of a few images, counted through."""
    windows = len(table)
    while start < stop:
        image, first = start // windows, start % windows
        size = min(stop - start, windows - first)
        _fill(points, inverse, image, c, unit, table, pivots, first, size, patches, start)
        start += size


@compiled
def convolve(start, stop, points, inverse, c, unit, table, pivots, weight, bias, rows, out):
    """The products of blocks ``start`` to ``stop``, counted through all images, plus the bias.

    ``weight`` is ``[1, K * F, F']`` or ``[K, F, F']``, a block has ``rows`` windows, the last of an
    image fewer.
    """
    (windows, pixels), (products, inner, outputs) = table.shape, weight.shape
    blocks = -(-windows // rows)
    patches = np.empty((products, rows, pixels // products, points.shape[2]), weight.dtype)
    matrices = patches.reshape((products, rows, inner))
    part = np.empty((rows, outputs), weight.dtype)
    for block in range(start, stop):
        image, first = block // blocks, block % blocks * rows
        size = min(rows, windows - first)
        _fill(points, inverse, image, c, unit, table, pivots, first, size, patches, 0)
        total = out[image, first : first + size]
        np.dot(matrices[0, :size], weight[0], total)
        for k in range(1, products):
            np.dot(matrices[k, :size], weight[k], part[:size])
            total += part[:size]
        if bias is not None:
            total += bias


@compiled
def _refill(
    points, inverse, image, c, unit, table, pivots, first, size, patches, at, by_point, d_gap
):  # fmt: skip
    """Adds the gradients of ``size`` windows from ``first`` on to those of their image; returns
    that of ``c``.

    The rows of ``patches`` from ``at`` on hold the gradients of the vectors, and are filled with
    the vectors themselves.
    """
    pixels, channels = table.shape[1], points.shape[2]
    pivot, by_pivot = np.empty(channels, points.dtype), np.empty(channels, points.dtype)
    ratio, along, against = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    alpha, beta, pull = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    by_c = 0.0
    for window in range(first, first + size):
        row = at + window - first
        i = pivots[window]
        inv_i = _look_from(points, inverse, image, i, pivot)
        for k in range(pixels):
            j, vector = table[window, k], _of(patches, row, k)
            squared, by_d, by_p = 0.0, 0.0, 0.0
            if j >= 0:
                for f in range(channels):
                    p, grad = np.float64(pivot[f]), np.float64(vector[f])
                    d = points[image, j, f] - p
                    squared += d * d
                    by_d += grad * d
                    by_p += grad * p
                squared *= inv_i * inverse[image, j]
            ratio[k], along[k], against[k] = squared, by_d, by_p
        for k in range(pixels):
            j = table[window, k]
            inv_j = inverse[image, j] if j >= 0 else 1.0
            q = c * ratio[k]
            a, slope = rel_factor(q)
            alpha[k], beta[k] = unit * a * inv_j, unit * a * q
            d_q = unit * (slope * (along[k] * inv_j - q * against[k]) - a * against[k])
            pull[k] = 2 * c * d_q * inv_i * inv_j
            ratio[k] *= d_q
        for f in range(channels):
            by_pivot[f] = 0
        by_own_gap = 0.0
        for k in range(pixels):
            j, vector = table[window, k], _of(patches, row, k)
            if j < 0:
                for f in range(channels):
                    vector[f] = 0
                continue
            by_d, by_p = points.dtype.type(alpha[k]), points.dtype.type(beta[k])
            by_q = points.dtype.type(pull[k])
            for f in range(channels):
                p, grad = pivot[f], vector[f]
                d = points[image, j, f] - p
                pulled = by_d * grad + by_q * d
                by_point[j, f] += pulled
                by_pivot[f] -= pulled + by_p * grad
                vector[f] = by_d * d - by_p * p
            d_gap[j] -= (alpha[k] * along[k] + c * ratio[k]) * inverse[image, j]
            by_own_gap -= c * ratio[k] * inv_i
            by_c += ratio[k]
        if i >= 0:
            d_gap[i] += by_own_gap
            for f in range(channels):
                by_point[i, f] += by_pivot[f]
    return by_c


@compiled
def refill(
    start, stop, points, inverse, c, unit, table, pivots, patches, d_points, d_gap, d_c
):  # fmt: skip
    """Gradients of whole images ``start`` to ``stop``, given those of their vectors, which are
    replaced by the vectors.
    """
    windows = len(table)
    by_point = np.empty(points.shape[1:], points.dtype)
    for image in range(start, stop):
        by_point[:] = 0
        d_gap[image] = 0
        d_c[image] = _refill(
            points, inverse, image, c, unit, table, pivots, 0, windows, patches, image * windows,
            by_point, d_gap[image],
        )  # fmt: skip
        d_points[image] = by_point


@compiled
def gradients(
    start, stop, points, inverse, c, unit, table, pivots, weight, rows, grad, cuts, d_points, d_gap,
    d_c, d_weight,
):  # fmt: skip
    """Gradients of parts ``start`` to ``stop`` of the images; ``cuts`` says where each begins.

    ``weight`` is ``[1, F', K * F]`` or ``[K, F', F]``, a block has ``rows`` windows, the last of an
    image fewer. The gradient of the weight, ``[parts, *weight.shape]``, is summed within each part.
    """
    (windows, pixels), (products, outputs, inner) = table.shape, weight.shape
    patches = np.empty((products, rows, pixels // products, points.shape[2]), weight.dtype)
    matrices = patches.reshape((products, rows, inner))
    product = np.empty((outputs, inner), weight.dtype)
    by_point = np.empty(points.shape[1:], points.dtype)
    for part in range(start, stop):
        d_weight[part] = 0
        for image in range(cuts[part], cuts[part + 1]):
            by_point[:] = 0
            d_gap[image] = 0
            by_c = 0.0
            for first in range(0, windows, rows):
                size = min(rows, windows - first)
                back = grad[image, first : first + size]
                for k in range(products):
                    np.dot(back, weight[k], matrices[k, :size])
                by_c += _refill(
                    points, inverse, image, c, unit, table, pivots, first, size, patches, 0,
                    by_point, d_gap[image],
                )  # fmt: skip
                for k in range(products):
                    np.dot(back.T, matrices[k, :size], product)
                    d_weight[part, k] += product
            d_points[image] = by_point
            d_c[image] = by_c
