r"""Moves of points of the ball and of the hyperboloid, row by row in float64 registers.

With :math:`p, g_x` the point's image in the ball and its gap, :math:`w` the vector (its half on the
hyperboloid), :math:`t = \tanh(s) / s` at its length :math:`s = \sqrt c \|w\|`,
:math:`g_y = 1 / \cosh^2 s` and :math:`D = g_x g_y + c \|p + t w\|^2`,

.. math::
    m = p \oplus t w = \alpha p + \kappa w, \quad
    \alpha = 1 + g_x (1 - g_y) / D, \quad \kappa = g_x t / D,

is the result on the ball, and :math:`2 m D / g_x g_y` the space part of that on the hyperboloid.
A gradient by :math:`c` is summed per block of rows, so that it does not depend on the number of
threads. No loop both sums and writes: LLVM would choose the order of such a sum by where the arrays
happen to lie in memory, hence by the thread.
"""

import math

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, inlined
from torch_geometric_hyperbolic.kernels._cpu.radial import (
    MAX_LENGTH,
    MAX_SPACE,
    point_row,
    row_gap,
    shorten_row,
    shrink_to,
)
from torch_geometric_hyperbolic.kernels._cpu.scalars import BELOW, TANHC, series

BLOCK = 128


@inlined
def _vector(v, row, c, unit):
    r"""What makes a row of ``v`` the vector :math:`w`, which is shortened if it is too long, its
    squared length, :math:`t` and :math:`g_y`.
    """
    scale, squared = unit, 0.0
    for f in range(v.shape[1]):
        squared += np.float64(v[row, f]) * np.float64(v[row, f])
    squared *= unit * unit
    if not c * squared <= MAX_LENGTH**2:
        scale = shrink_to(v[row], c, MAX_LENGTH)
        squared = squared if np.isnan(squared) else MAX_LENGTH**2 / c
    s = math.sqrt(c * squared)
    less = math.expm1(-2 * s) if s < 1 else math.exp(-2 * s) - 1
    power = 1 + less if s < 1 else math.exp(-2 * s)
    t = -less / ((2 + less) * s) if s > 0 else 1.0
    return scale, squared, t, 4 * power / (2 + less) ** 2


@inlined
def _keep_inside(moved, length, c, step, smallest, hyperboloid, near):
    """Shortens what lies beyond the end of space; returns by what, and the squared length."""
    outside = not c * length <= MAX_SPACE**2 if hyperboloid else near
    if outside and (hyperboloid or not row_gap(moved, c, step) >= smallest):
        shrink, s, _ = shorten_row(moved, c, step, smallest, hyperboloid)
        return shrink, s / c
    return 1.0, length


@compiled
def move(start, stop, x, v, c, step, smallest, hyperboloid, out):
    """The points reached by rows ``start`` to ``stop``."""
    first, unit = (1, 0.5) if hyperboloid else (0, 1.0)
    channels = v.shape[1]
    point, moved = np.empty(channels, x.dtype), np.empty(channels)
    for row in range(start, stop):
        _, _, by, _, gap_x, _ = point_row(x, row, c, step, smallest, hyperboloid, point)
        scale, _, t, gap_y = _vector(v, row, c, unit)
        squared = 0.0
        for f in range(channels):
            both = by * point[f] + t * scale * v[row, f]
            squared += both * both
        product = gap_x * gap_y
        below = product + c * squared
        to = 2 * below / product if hyperboloid else 1.0
        by_p = to * (1 + gap_x * (1 - gap_y) / below) * by
        by_v = to * gap_x * t / below * scale
        length = 0.0
        if hyperboloid:
            for f in range(channels):
                value = by_p * point[f] + by_v * v[row, f]
                length += value * value
        for f in range(channels):
            value = by_p * point[f] + by_v * v[row, f]
            moved[f] = value if hyperboloid else x.dtype.type(value)
        near = product < 4 * smallest * below
        _, length = _keep_inside(moved, length, c, step, smallest, hyperboloid, near)
        for f in range(channels):
            out[row, first + f] = moved[f]
        if hyperboloid:
            out[row, 0] = math.sqrt(1 / c + length)


@compiled
def move_gradients(start, stop, grad_out, x, v, c, step, smallest, hyperboloid, d_x, d_v, d_c):
    r"""Gradients of rows in blocks ``start`` to ``stop``.

    A vector that was shortened needs no care: at its length tanh is 1 to 38 digits, and the
    hyperboloid ends before.
    """
    first, unit = (1, 0.5) if hyperboloid else (0, 1.0)
    channels = v.shape[1]
    point = np.empty(channels, x.dtype)
    moved, back = np.empty(channels), np.empty(channels)
    for block in range(start, stop):
        by_c = 0.0
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(x))):
            shrink, _, by, d_by, gap_x, d_gap = point_row(
                x, row, c, step, smallest, hyperboloid, point
            )
            scale, vv, t, gap_y = _vector(v, row, c, unit)
            xx, squared, along = 0.0, 0.0, 0.0
            for f in range(channels):
                p, w = by * point[f], scale * v[row, f]
                both = p + t * w
                xx += p * p
                squared += both * both
                along += both * w
            product = gap_x * gap_y
            below = product + c * squared
            to = 2 * below / product if hyperboloid else 1.0
            alpha, kappa = 1 + gap_x * (1 - gap_y) / below, gap_x * t / below
            near = product < 4 * smallest * below
            short, of_to = 1.0, 0.0
            if hyperboloid or near:
                length, grad_end = 0.0, 0.0
                for f in range(channels):
                    value = to * (alpha * by * point[f] + kappa * scale * v[row, f])
                    length += value * value
                    grad_end += grad_out[row, first + f] * value
                for f in range(channels):
                    value = to * (alpha * by * point[f] + kappa * scale * v[row, f])
                    moved[f] = value if hyperboloid else x.dtype.type(value)
                short, length = _keep_inside(moved, length, c, step, smallest, hyperboloid, near)
                # the gradient of the space part is short * (grad_out + by_end * moved)
                grad_end, by_end = short * grad_end, 0.0
                if hyperboloid:
                    by_end = grad_out[row, 0] / math.sqrt(1 / c + length)
                    by_c -= 0.5 * by_end / (c * c)
                grad_end += by_end * length
                if short != 1:
                    by_c -= 0.5 * grad_end / c
                    by_end -= grad_end / length
                of_to = grad_end if hyperboloid and short == 1 else 0.0
                for f in range(channels):
                    back[f] = to * short * (grad_out[row, first + f] + by_end * moved[f])
            else:
                for f in range(channels):
                    back[f] = grad_out[row, f]
            gx, gv = 0.0, 0.0
            for f in range(channels):
                gx += back[f] * by * point[f]
                gv += back[f] * scale * v[row, f]
            d_below = (of_to - (alpha - 1) * gx - kappa * gv) / below
            d_gap_x = ((1 - gap_y) * gx + t * gv) / below + gap_y * d_below - of_to / gap_x
            d_t = gap_x / below * gv + 2 * c * d_below * along
            z = c * vv  # gap_y and t depend on the vector by its square alone
            if z < BELOW:
                _, slope = series(TANHC, z)
            else:
                slope = (gap_y - t) / (2 * z)
            d_z = d_t * slope - (product * (d_below - gx / below) - of_to) * t
            both = 2 * c * d_below
            of_s = d_by * (alpha * gx + both * (xx + t * (along - t * vv))) / by + d_gap * d_gap_x
            by_c += squared * d_below + vv * d_z + of_s * xx / (by * by)
            for f in range(channels):
                p, w = by * point[f], scale * v[row, f]
                d_x[row, first + f] = shrink * (
                    by * (alpha * back[f] + both * (p + t * w)) + 2 * c * of_s * point[f]
                )
                d_v[row, f] = scale * (kappa * back[f] + t * both * (p + t * w) + 2 * c * d_z * w)
            if hyperboloid:
                d_x[row, 0] = 0
        d_c[block] = by_c
