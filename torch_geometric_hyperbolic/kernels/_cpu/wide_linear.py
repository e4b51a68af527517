"""Products of rows with a matrix in float64, a block of rows at a time in a core's cache.

No product is so large that BLAS would share it out to other threads.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def products(start, stop, x, by_row, rows, out):
    """Blocks ``start`` to ``stop`` of ``rows`` rows each, times the transposed weight."""
    wide = np.empty((rows, x.shape[1]))
    for block in range(start, stop):
        some = x[block * rows : (block + 1) * rows]
        wide[: len(some)] = some
        np.dot(wide[: len(some)], by_row, out[block * rows : (block + 1) * rows])


@compiled
def gradients(start, stop, x, weight, rows, grad, cuts, d_x, d_weight):
    """Gradients of parts ``start`` to ``stop`` of the blocks; ``cuts`` says where each begins. That
    of the weight, ``[parts, *weight.shape]``, is summed within each part.
    """
    wide, product = np.empty((rows, x.shape[1])), np.empty(weight.shape)
    for part in range(start, stop):
        d_weight[part] = 0
        for block in range(cuts[part], cuts[part + 1]):
            first, last = block * rows, min((block + 1) * rows, len(x))
            some, of_some = wide[: last - first], grad[first:last]
            np.dot(of_some, weight, some)
            d_x[first:last] = some
            some[:] = x[first:last]
            np.dot(of_some.T, some, product)
            d_weight[part] += product
