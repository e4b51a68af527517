"""A scale, a shift and an activation, row by row; the scale and shift of a batch norm."""

import math

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled

#: Rows whose gradients by scale and shift are summed before they join the rest.
BLOCK = 128


@compiled
def activate(start, stop, z, edge, scale, shift, slope, out):
    """Rows ``start`` to ``stop``."""
    for i in range(start, stop):
        for k in range(z.shape[1]):
            y = scale[k] * z[i, k] + shift[k]
            low = slope * y if slope != 0 else 0.0
            y = low if y < 0 else y
            out[i, k] = y if edge[i, k] >= 0 else 0.0


@compiled
def gradients(start, stop, z, edge, scale, shift, slope, grad, d_z, sums):
    """Gradients of rows in blocks ``start`` to ``stop``; by scale and shift, sums of each block."""
    for block in range(start, stop):
        by_scale, by_shift = sums[block, 0], sums[block, 1]
        by_scale[:] = 0
        by_shift[:] = 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(z))):
            for k in range(z.shape[1]):
                by_y = grad[i, k] if scale[k] * z[i, k] + shift[k] > 0 else slope * grad[i, k]
                by_y = by_y if edge[i, k] >= 0 else 0.0
                by_scale[k] += by_y * z[i, k]
                by_shift[k] += by_y
                d_z[i, k] = by_y * scale[k]


@compiled
def of_batch(
    start, stop, total, squares, weight, bias, count, eps, scale, shift, mean, variance
):  # fmt: skip
    """Scale, shift and moments of channels ``start`` to ``stop``: see :func:`batch_affine`."""
    for k in range(start, stop):
        mean[k] = total[k] / count
        spread = squares[k] / count - mean[k] * mean[k]
        variance[k] = 0.0 if spread < 0 else spread
        scale[k] = weight[k] / math.sqrt(variance[k] + eps)
        shift[k] = bias[k] - mean[k] * scale[k]


@compiled
def of_batch_gradients(
    start, stop, mean, variance, weight, grad_scale, grad_shift, grad_mean, grad_variance, count,
    eps, d_total, d_squares, d_weight, d_bias,
):  # fmt: skip
    """Gradients by the sums, the weight and the bias of channels ``start`` to ``stop``."""
    for k in range(start, stop):
        inverse = 1 / math.sqrt(variance[k] + eps)
        of_scale = grad_scale[k] - mean[k] * grad_shift[k]
        of_variance = 0.0
        if variance[k] > 0:
            of_variance = grad_variance[k] - 0.5 * inverse**3 * weight[k] * of_scale
        of_mean = grad_mean[k] - inverse * weight[k] * grad_shift[k] - 2 * mean[k] * of_variance
        d_total[k], d_squares[k] = of_mean / count, of_variance / count
        d_weight[k], d_bias[k] = inverse * of_scale, grad_shift[k]
