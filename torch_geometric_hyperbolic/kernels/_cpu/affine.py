"""A scale, a shift and an activation, row by row."""

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
