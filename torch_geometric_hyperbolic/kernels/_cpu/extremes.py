r"""The largest value of every target, and the moments of all values, in one pass over edges.

:mod:`edges` tells what :math:`z_e` is.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.edges import scalars, value

#: Targets whose moments are summed before they join the rest: fixed, so that the order of the sum
#: does not depend on the number of threads.
BLOCK = 128


@compiled
def extremes(
    start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, sign, z, edge, moments
):
    """Largest ``sign * z`` of every target in blocks ``start`` to ``stop``, sums of z and z^2."""
    channels = absolute.shape[1]
    best, where = np.empty(channels), np.empty(channels, np.int64)
    total, squares = np.empty(channels), np.empty(channels)
    for block in range(start, stop):
        total[:] = 0
        squares[:] = 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(absolute))):
            first, last = rowptr[i], rowptr[i + 1]
            fours = last - (last - first) % 4
            best[:] = -np.inf
            where[:] = first  # stays, even if all values are -inf
            # four edges for every load and store of what they share
            for e in range(first, fours, 4):
                j0, j1, j2, j3 = col[e], col[e + 1], col[e + 2], col[e + 3]
                (a0, b0), (a1, b1) = scalars(alpha, beta, e), scalars(alpha, beta, e + 1)
                (a2, b2), (a3, b3) = scalars(alpha, beta, e + 2), scalars(alpha, beta, e + 3)
                for k in range(channels):
                    own, r, s = absolute[i, k], relative_i[i, k], sign[k]
                    z0 = value(own, r, relative_j[j0, k], a0, b0)
                    z1 = value(own, r, relative_j[j1, k], a1, b1)
                    z2 = value(own, r, relative_j[j2, k], a2, b2)
                    z3 = value(own, r, relative_j[j3, k], a3, b3)
                    total[k] += (z0 + z1) + (z2 + z3)
                    squares[k] += (z0 * z0 + z1 * z1) + (z2 * z2 + z3 * z3)
                    z0, z1, z2, z3 = s * z0, s * z1, s * z2, s * z3
                    most, at = best[k], where[k]
                    most, at = (z0, e) if z0 > most else (most, at)
                    most, at = (z1, e + 1) if z1 > most else (most, at)
                    most, at = (z2, e + 2) if z2 > most else (most, at)
                    best[k], where[k] = (z3, e + 3) if z3 > most else (most, at)
            for e in range(fours, last):
                j = col[e]
                a, b = scalars(alpha, beta, e)
                for k in range(channels):
                    z0 = value(absolute[i, k], relative_i[i, k], relative_j[j, k], a, b)
                    total[k] += z0
                    squares[k] += z0 * z0
                    z0 = sign[k] * z0
                    most, at = best[k], where[k]
                    best[k], where[k] = (z0, e) if z0 > most else (most, at)
            if _has_nan(total):
                terms = absolute, relative_i, relative_j, alpha, beta
                _find_nan(i, first, last, terms, col, best, where)
            for k in range(channels):
                edge[i, k] = where[k] if last > first else -1
                z[i, k] = sign[k] * best[k] if last > first else 0.0
        moments[block, 0], moments[block, 1] = total, squares


@compiled
def _has_nan(values):
    count = 0
    for k in range(len(values)):
        count += values[k] != values[k]
    return count > 0


@compiled
def _find_nan(i, first, last, terms, col, best, where):
    """The first NaN of a target is what it gets, in channels that have one."""
    absolute, relative_i, relative_j, alpha, beta = terms
    for k in range(len(best)):
        for e in range(first, last):
            a, b = scalars(alpha, beta, e)
            z = value(absolute[i, k], relative_i[i, k], relative_j[col[e], k], a, b)
            if z != z:
                best[k], where[k] = z, e
                break
