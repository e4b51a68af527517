"""Farthest points, one cloud after the other, in the order in which they are chosen."""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled_in_order


@compiled_in_order
def choose(start, stop, ptr, out_ptr, channels, gap, nearest, out):
    """Fill ``out`` for the clouds ``start`` to ``stop``.

    ``channels`` are the points transposed; ``nearest`` comes with the key of each point to the
    origin and is lowered to that to the nearest chosen one; a chosen point itself gets -1.
    """
    for cloud in range(start, stop):
        first, last = ptr[cloud], ptr[cloud + 1]
        x, g = channels[:, first:last].copy(), gap[first:last].copy()
        near, key = nearest[first:last].copy(), np.empty(last - first)
        for place in range(out_ptr[cloud], out_ptr[cloud + 1]):
            farthest = 0
            for j in range(len(near)):
                farthest = j if near[j] > near[farthest] else farthest
            _measure(x, farthest, g, key)
            for j in range(len(near)):
                near[j] = key[j] if key[j] < near[j] else near[j]
            near[farthest] = -1.0
            out[place] = first + farthest


@compiled_in_order
def _measure(x, i, gap, key):
    """``|x_j - x_i|^2 / (g_j g_i)``, channel by channel."""
    key[:] = 0.0
    for f in range(len(x)):
        row, own = x[f], x[f, i]
        for j in range(len(key)):
            key[j] += (row[j] - own) * (row[j] - own)
    for j in range(len(key)):
        key[j] /= gap[j] * gap[i]
