r"""Passes over windows of an image, which hold the vectors from each pivot to its window's pixels.

.. math::
    \operatorname{rel} = \alpha\,d - \beta\,p_i, \quad \alpha = u\,a(q) / g_j, \quad
    \beta = u\,a(q)\,q, \quad q = c \|d\|^2 / (g_i g_j), \quad d = p_j - p_i

given :math:`1 / g`, sums and scalars in float64 and vectors in the dtype of the points; the zero
vector for padding and for the pivot itself. The scalars of a window's pixels are computed together,
so that they do not wait for each other.
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
def _seen(table, window, k, i):
    """The pixel at place ``k`` of a window, -1 where the pivot ``i`` sees the zero vector."""
    j = table[window, k]
    return j if j != i else -1


@compiled
def fill(start, stop, points, inverse, c, unit, table, centre, patches):
    """The vectors of windows ``start`` to ``stop`` of a few images, counted through."""
    windows, pixels = table.shape
    channels = points.shape[2]
    pivot = np.empty(channels, points.dtype)
    q, alpha, beta = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    for row in range(start, stop):
        image, window = row // windows, row % windows
        i = table[window, centre]
        inv_i = _look_from(points, inverse, image, i, pivot)
        for k in range(pixels):
            j = _seen(table, window, k, i)
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
            j = _seen(table, window, k, i)
            if j < 0:
                for f in range(channels):
                    patches[row, k, f] = 0
                continue
            by_d, by_p = points.dtype.type(alpha[k]), points.dtype.type(beta[k])
            for f in range(channels):
                p = pivot[f]
                patches[row, k, f] = by_d * (points[image, j, f] - p) - by_p * p


@compiled
def refill(start, stop, points, inverse, c, unit, table, centre, patches, d_points, d_gap, d_c):
    """Gradients of whole images ``start`` to ``stop``; ``patches`` holds the gradients of the
    vectors, and is filled with the vectors themselves.
    """
    windows, pixels = table.shape
    channels = points.shape[2]
    pivot, by_pivot = np.empty(channels, points.dtype), np.empty(channels, points.dtype)
    ratio, along, against = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    alpha, beta, pull = np.empty(pixels), np.empty(pixels), np.empty(pixels)
    by_point = np.empty(points.shape[1:], points.dtype)
    for image in range(start, stop):
        by_point[:] = 0
        d_gap[image] = 0
        by_c = 0.0
        for window in range(windows):
            row = image * windows + window
            i = table[window, centre]
            inv_i = _look_from(points, inverse, image, i, pivot)
            for k in range(pixels):
                j = _seen(table, window, k, i)
                squared, by_d, by_p = 0.0, 0.0, 0.0
                if j >= 0:
                    for f in range(channels):
                        p, grad = np.float64(pivot[f]), np.float64(patches[row, k, f])
                        d = points[image, j, f] - p
                        squared += d * d
                        by_d += grad * d
                        by_p += grad * p
                    squared *= inv_i * inverse[image, j]
                ratio[k], along[k], against[k] = squared, by_d, by_p
            for k in range(pixels):
                j = _seen(table, window, k, i)
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
                j = _seen(table, window, k, i)
                if j < 0:
                    for f in range(channels):
                        patches[row, k, f] = 0
                    continue
                by_d, by_p = points.dtype.type(alpha[k]), points.dtype.type(beta[k])
                by_q = points.dtype.type(pull[k])
                for f in range(channels):
                    d = points[image, j, f] - pivot[f]
                    by_point[j, f] += by_d * patches[row, k, f] + by_q * d
                for f in range(channels):
                    p = pivot[f]
                    d = points[image, j, f] - p
                    by_pivot[f] -= (by_d + by_p) * patches[row, k, f] + by_q * d
                    patches[row, k, f] = by_d * d - by_p * p
                d_gap[image, j] -= (alpha[k] * along[k] + c * ratio[k]) * inverse[image, j]
                by_own_gap -= c * ratio[k] * inv_i
                by_c += ratio[k]
            if i >= 0:
                d_gap[image, i] += by_own_gap
                for f in range(channels):
                    by_point[i, f] += by_pivot[f]
        d_points[image] = by_point
        d_c[image] = by_c
