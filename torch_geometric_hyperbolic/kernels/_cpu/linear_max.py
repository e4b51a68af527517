r"""Largest values of :math:`z_e = A_i + W d_e` over edges grouped by target, and their gradients.

A block of edges at a time meets the weight in a core's cache, in products that BLAS does not share
out to other threads.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def extremes(start, stop, absolute, given, weight, rowptr, sign, part, rows, z, edge, moments):
    """Largest ``sign * z`` of every target in parts ``start`` to ``stop``, ``part`` targets each,
    or the first NaN; and sums of z and z^2.
    """
    channels = absolute.shape[1]
    values = np.empty((rows, channels), given.dtype)
    best, where = np.empty(channels), np.empty(channels, np.int64)
    total, squares = np.empty(channels), np.empty(channels)
    for number in range(start, stop):
        total[:] = 0
        squares[:] = 0
        top, end = number * part, min((number + 1) * part, len(absolute))
        first = last = rowptr[top]
        for i in range(top, end):
            best[:] = -np.inf
            where[:] = rowptr[i]  # stays, even if all values are -inf
            for e in range(rowptr[i], rowptr[i + 1]):
                if e == last:
                    first, last = e, min(e + rows, rowptr[end])
                    np.dot(given[first:last], weight.T, values[: last - first])
                for k in range(channels):
                    value = np.float64(absolute[i, k]) + np.float64(values[e - first, k])
                    total[k] += value
                    squares[k] += value * value
                    value *= sign[k]
                    most, at = best[k], where[k]
                    better = not value <= most and most == most
                    best[k], where[k] = (value, e) if better else (most, at)
            for k in range(channels):
                some = rowptr[i + 1] > rowptr[i]
                edge[i, k] = where[k] if some else -1
                z[i, k] = sign[k] * best[k] if some else 0.0
        moments[number, 0], moments[number, 1] = total, squares


@compiled
def gradients(
    start, stop, absolute, given, weight, rowptr, edge, grad, constant, linear, cuts, rows,
    d_absolute, d_given, d_weight,
):  # fmt: skip
    """Gradients of parts ``start`` to ``stop`` of the targets; ``cuts`` says where each begins, and
    ``constant + linear * z`` is that of moments. Those of ``absolute`` are added to what is there;
    that of the weight, ``[parts, *weight.shape]``, is summed within each part.
    """
    channels = absolute.shape[1]
    values, product = np.empty((rows, channels), given.dtype), np.empty(weight.shape, given.dtype)
    for part in range(start, stop):
        d_weight[part] = 0
        i, end = cuts[part], rowptr[cuts[part + 1]]
        for first in range(rowptr[i], end, rows):
            some = given[first : min(first + rows, end)]
            z = values[: len(some)]
            np.dot(some, weight.T, z)
            for row in range(len(some)):
                e = first + row
                while e >= rowptr[i + 1]:
                    i += 1
                for k in range(channels):
                    value = np.float64(absolute[i, k]) + np.float64(z[row, k])
                    chosen = grad[i, k] if edge[i, k] == e else 0.0
                    d = constant[k] + linear[k] * value + chosen
                    d_absolute[i, k] += d
                    z[row, k] = d
            np.dot(z, weight, d_given[first : first + len(some)])
            np.dot(z.T, some, product)
            d_weight[part] += product
