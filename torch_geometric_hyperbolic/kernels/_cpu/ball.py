r"""Passes over float32 points of the Poincare ball, row by row in float64 registers.

The formulas are those of :mod:`geometry.poincare`. A gradient by :math:`c` is summed per block of
rows, so that it does not depend on the number of threads.
"""

import math

import numpy as np

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.scalars import BELOW, TANHC, series

BLOCK = 128

_MIN_GAP = num.MIN_GAP[num.torch.float32]
_INSIDE = 1 - 2 * _MIN_GAP
_LONGEST = num.MAX_LENGTH**2

#: Points with a gap below this may leave the ball when rounded to float32.
_NEAR = 4 * _MIN_GAP


@compiled
def _dot(x, y, row):
    total = 0.0
    for f in range(x.shape[1]):
        total += np.float64(x[row, f]) * np.float64(y[0, f])
    return total


@compiled
def _squared(x, row):
    total = 0.0
    for f in range(x.shape[1]):
        total += np.float64(x[row, f]) * np.float64(x[row, f])
    return total


@compiled
def _inside(squared, c):
    """By what a point is scaled to lie in the ball: 1 where it does."""
    return 1.0 if 1 - c * squared >= _MIN_GAP else math.sqrt(_INSIDE / (c * squared))


@compiled
def _project(x, row, c, point):
    """Copies the projected point to the one row of ``point``; its scale and squared length."""
    squared = _squared(x, row)
    scale = _inside(squared, c)
    for f in range(x.shape[1]):
        point[0, f] = scale * x[row, f]
    return scale, squared if scale == 1 else _squared(point, 0)


@compiled
def project(start, stop, x, c, points, gap):
    """Projected points and their gaps."""
    point = np.empty((1, x.shape[1]), x.dtype)
    for row in range(start, stop):
        _, squared = _project(x, row, c, point)
        gap[row] = 1 - c * squared
        for f in range(x.shape[1]):
            points[row, f] = point[0, f]


@compiled
def grad_project(start, stop, grad_points, grad_gap, x, c, d_x, d_c):
    r"""Gradients of rows in blocks ``start`` to ``stop``.

    A projected point :math:`p = r x / \sqrt c \|x\|` has no derivative along x; the part of a
    gradient :math:`\nabla` along p is the derivative by c, :math:`-\langle \nabla, p\rangle / 2c`.
    """
    point = np.empty((1, x.shape[1]), x.dtype)
    for block in range(start, stop):
        by_c = 0.0
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(x))):
            scale, squared = _project(x, row, c, point)
            by_p = -2 * c * grad_gap[row]
            if scale != 1:
                along = _dot(grad_points, point, row) + by_p * squared
                by_p -= along / squared
                by_c -= along / (2 * c)
            by_c -= grad_gap[row] * squared
            for f in range(x.shape[1]):
                d_x[row, f] = scale * (grad_points[row, f] + by_p * point[0, f])
        d_c[block] = by_c


@compiled
def _exp0(v, row, c):
    r"""Scale and squared length of the shortened vector, and :math:`\tanh(s) / s`,
    :math:`1 / \cosh^2 s` at its length s.
    """
    squared = _squared(v, row)
    scale = 1.0 if c * squared <= _LONGEST else math.sqrt(_LONGEST / (c * squared))
    squared *= scale * scale
    s = math.sqrt(c * squared)
    less = math.expm1(-2 * s) if s < 1 else math.exp(-2 * s) - 1
    power = 1 + less if s < 1 else math.exp(-2 * s)
    tanhc = -less / ((2 + less) * s) if s > 0 else 1.0
    return scale, squared, tanhc, 4 * power / (2 + less) ** 2


@compiled
def move(start, stop, x, v, c, out):
    r"""The points :math:`x \oplus t v = \alpha x + \kappa v` with :math:`t = \tanh(s) / s`."""
    channels = x.shape[1]
    point = np.empty((1, channels), x.dtype)
    for row in range(start, stop):
        _, x_squared = _project(x, row, c, point)
        short, _, t, gap_y = _exp0(v, row, c)
        squared = 0.0
        for f in range(channels):
            both = point[0, f] + t * short * v[row, f]
            squared += both * both
        gap_x = 1 - c * x_squared
        below = gap_x * gap_y + c * squared
        alpha, kappa = 1 + gap_x * (1 - gap_y) / below, gap_x * t / below * short
        for f in range(channels):
            out[row, f] = alpha * point[0, f] + kappa * v[row, f]
        if gap_x * gap_y < _NEAR * below:
            scale = _inside(_squared(out, row), c)
            for f in range(channels):
                out[row, f] = scale * out[row, f]


@compiled
def grad_move(start, stop, grad_out, x, v, c, d_x, d_v, d_c):
    r"""Gradients of rows in blocks ``start`` to ``stop``.

    They are sums of the gradient, the point and the vector, with scalars made of their products.
    A vector that was shortened needs no care: at its length tanh is 1 to 38 digits.
    """
    channels = x.shape[1]
    point, out = np.empty((1, channels), x.dtype), np.empty((1, channels), x.dtype)
    for block in range(start, stop):
        by_c = 0.0
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(x))):
            scale, xx = _project(x, row, c, point)
            short, vv, t, gap_y = _exp0(v, row, c)
            squared, along, gx, gv = 0.0, 0.0, 0.0, 0.0
            for f in range(channels):
                p, w, grad = point[0, f], short * v[row, f], np.float64(grad_out[row, f])
                both = p + t * w
                squared += both * both
                along += both * w
                gx += grad * p
                gv += grad * w
            xv = along - t * vv
            gap_x = 1 - c * xx
            below = gap_x * gap_y + c * squared
            alpha, kappa = 1 + gap_x * (1 - gap_y) / below, gap_x * t / below
            # the gradient before the projection: by_grad * grad + by_x * point + by_v * vector
            by_grad, by_x, by_v = 1.0, 0.0, 0.0
            if gap_x * gap_y < _NEAR * below:
                for f in range(channels):
                    out[0, f] = alpha * point[0, f] + kappa * short * v[row, f]
                length = _squared(out, 0)
                by_grad = _inside(length, c)
                if by_grad != 1:
                    radial = by_grad * (alpha * gx + kappa * gv)
                    by_c -= radial / (2 * c)
                    by_x, by_v = -radial / length * alpha, -radial / length * kappa
                    gx, gv = (
                        by_grad * gx + by_x * xx + by_v * xv,
                        by_grad * gv + by_x * xv + by_v * vv,
                    )
            d_below = -((alpha - 1) * gx + kappa * gv) / below
            d_gap_x = ((1 - gap_y) * gx + t * gv) / below + gap_y * d_below
            d_gap_y = gap_x * (d_below - gx / below)
            d_t = gap_x / below * gv + 2 * c * d_below * along
            z = c * vv  # gap_y and t depend on the vector by its square alone
            if z < BELOW:
                _, slope = series(TANHC, z)
            else:
                slope = (gap_y - t) / (2 * z)
            d_z = d_t * slope - d_gap_y * gap_y * t
            by_c += squared * d_below + vv * d_z - xx * d_gap_x
            both = 2 * c * d_below
            x_grad, x_x, x_v = alpha * by_grad, alpha * by_x + both, alpha * by_v + t * both
            v_grad, v_x = kappa * by_grad, kappa * by_x + t * both
            v_v = kappa * by_v + t * t * both + 2 * c * d_z
            x_x -= 2 * c * d_gap_x
            if scale != 1:
                radial = alpha * gx + (x_x - alpha * by_x) * xx + (x_v - alpha * by_v) * xv
                by_c -= radial / (2 * c)
                x_x -= radial / xx
            for f in range(channels):
                p, w, grad = point[0, f], short * v[row, f], grad_out[row, f]
                d_x[row, f] = scale * (x_grad * grad + x_x * p + x_v * w)
                d_v[row, f] = short * (v_grad * grad + v_x * p + v_v * w)
        d_c[block] = by_c
