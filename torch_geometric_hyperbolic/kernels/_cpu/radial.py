r"""Maps along rays: every row is multiplied by a function of :math:`s = c\|x\|^2`.

With :math:`y = \varphi(s)\,x` the gradient of :math:`x` is
:math:`\varphi\,\bar y + 2 c\,\varphi'(s)\,\langle\bar y, x\rangle\,x`, and that of ``c`` is
:math:`\varphi'(s)\,\|x\|^2\,\langle\bar y, x\rangle`. A row that is too long is first given the
longest length :math:`L / \sqrt c`, along which nothing changes: :math:`\varphi = L / \sqrt s`,
:math:`\varphi' = -\varphi / 2s`.
"""

import math

import numpy as np

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, compiled_in_order, inlined
from torch_geometric_hyperbolic.kernels._cpu.scalars import asinhc, atanhc, sinhc, tanhc

MAX_LENGTH, MAX_SPACE = num.MAX_LENGTH, num.MAX_SPACE


@compiled
def dot(x, y):
    total = 0.0
    for k in range(len(x)):
        total += np.float64(x[k]) * np.float64(y[k])
    return total


@compiled
def _split_squares(x, step):
    leading, rest = 0.0, 0.0
    for k in range(len(x)):
        value = np.float64(x[k])
        head = np.rint(value / step) * step
        leading += head * head
        rest += (value - head) * (value + head)
    return leading, rest


@compiled_in_order
def _halves(a):
    shifted = a * (2.0**27 + 1)
    head = shifted - (shifted - a)
    return head, a - head


@compiled_in_order
def _gap_of(leading, rest, c):
    product = c * leading
    c_head, c_tail = _halves(c)
    head, tail = _halves(leading)
    error = ((c_head * head - product) + c_head * tail + c_tail * head) + c_tail * tail
    return ((1 - product) - error) - c * rest


@compiled
def row_gap(x, c, step):
    """See :func:`geometry._numerics.gap`."""
    leading, rest = _split_squares(x, step)
    return _gap_of(leading, rest, c)


@compiled_in_order
def shrink_to(x, c, length):
    """What makes a row as long as ``length``; its square may overflow."""
    largest = 0.0
    for k in range(len(x)):
        largest = max(largest, abs(np.float64(x[k])))
    total = 0.0
    for k in range(len(x)):
        total += (x[k] / largest) ** 2
    return length / math.sqrt(c * total) / largest


@compiled
def shorten_row(row, c, step, smallest, hyperboloid):
    """Shortens a row to the longest; returns by what, and s and the gap of a point of the ball."""
    shrink = shrink_to(row, c, MAX_SPACE if hyperboloid else math.sqrt(1 - 2 * smallest))
    for k in range(len(row)):
        row[k] *= shrink
    if hyperboloid:
        squared = dot(row, row)
        return shrink, squared if np.isnan(squared) else MAX_SPACE**2, 0.0
    gap = row_gap(row, c, step)
    return shrink, 1 - gap, gap


@inlined
def point_row(x, i, c, step, smallest, hyperboloid, row):
    r"""Writes row ``i``, shortened if it is too long, and returns by how much; then :math:`s`, the
    factor of the point of the ball and the gap, each of the two with its derivative by :math:`s`.
    """
    first = 1 if hyperboloid else 0
    squared, shrink = 0.0, 1.0
    for k in range(len(row)):
        value = np.float64(x[i, first + k])
        squared += value * value
    for k in range(len(row)):
        row[k] = x[i, first + k]
    if hyperboloid:
        s = c * squared
        if not s <= MAX_SPACE**2:
            shrink, s, _ = shorten_row(row, c, step, smallest, hyperboloid)
        root = math.sqrt(1 + s)
        by = 1 / (1 + root)
        gap, d_gap = 2 * by, -by * by / root
        point, d_point = by, d_gap / 2
    else:  # the squares of float32 numbers need no splitting
        gap = 1 - c * squared if x.itemsize == 4 else row_gap(row, c, step)
        if not gap >= smallest:
            shrink, _, gap = shorten_row(row, c, step, smallest, hyperboloid)
        s, point, d_point, d_gap = 1 - gap, 1.0, 0.0, -1.0
    if shrink != 1:
        d_point, d_gap = -0.5 * point / s, 0.0
    return shrink, s, point, d_point, gap, d_gap


@inlined
def _log_factor(shrink, s, gap, hyperboloid):
    """The factor of log0 and its derivative, given what :func:`point_row` returned."""
    log, d_log = asinhc(s, math.sqrt(1 + s)) if hyperboloid else atanhc(s, gap)
    return log, d_log if shrink == 1 else -0.5 * log / s


@compiled_in_order
def ball_and_log(start, stop, x, c, step, smallest, hyperboloid, point, gap, log):
    """Points of the ball, their gaps, and log0, of rows ``start`` to ``stop``."""
    first = 1 if hyperboloid else 0
    row = np.empty(x.shape[1] - first, x.dtype)
    for i in range(start, stop):
        shrink, s, by, _, g, _ = point_row(x, i, c, step, smallest, hyperboloid, row)
        by_log, _ = _log_factor(shrink, s, g, hyperboloid)
        gap[i, 0] = g
        for k in range(len(row)):
            point[i, k] = row[k] * by
            log[i, k] = row[k] * by_log


@compiled_in_order
def ball_and_log_gradients(
    start, stop, x, c, step, smallest, hyperboloid, grad_point, grad_gap, grad_log, d_x, d_c
):
    """Gradients of :func:`ball_and_log`, that of ``c`` row by row."""
    first = 1 if hyperboloid else 0
    row = np.empty(x.shape[1] - first, x.dtype)
    for i in range(start, stop):
        shrink, s, by, d_by, g, d_gap = point_row(x, i, c, step, smallest, hyperboloid, row)
        by_log, d_by_log = _log_factor(shrink, s, g, hyperboloid)
        of_s = d_by * dot(grad_point[i], row) + d_by_log * dot(grad_log[i], row)
        of_s += d_gap * grad_gap[i, 0]
        d_c[i] = of_s * dot(row, row)
        d_x[i, 0] = 0
        for k in range(len(row)):
            across = by * grad_point[i, k] + by_log * grad_log[i, k]
            d_x[i, first + k] = shrink * (across + 2 * c * of_s * row[k])


@compiled
def to_ball(start, stop, x, c, step, smallest, hyperboloid, point, gap):
    """:func:`ball_and_log` without log0."""
    row = np.empty(point.shape[1], x.dtype)
    for i in range(start, stop):
        _, _, by, _, g, _ = point_row(x, i, c, step, smallest, hyperboloid, row)
        gap[i, 0] = g
        for k in range(len(row)):
            point[i, k] = row[k] * by


@compiled
def to_ball_gradients(
    start, stop, x, c, step, smallest, hyperboloid, grad_point, grad_gap, d_x, d_c
):
    """Gradients of :func:`to_ball`, that of ``c`` row by row."""
    first = 1 if hyperboloid else 0
    row = np.empty(grad_point.shape[1], x.dtype)
    for i in range(start, stop):
        shrink, _, by, d_by, _, d_gap = point_row(x, i, c, step, smallest, hyperboloid, row)
        along, squared = 0.0, 0.0
        for k in range(len(row)):
            along += np.float64(grad_point[i, k]) * np.float64(row[k])
            squared += np.float64(row[k]) * np.float64(row[k])
        of_s = d_by * along + d_gap * grad_gap[i, 0]
        d_c[i] = of_s * squared
        d_x[i, 0] = 0
        for k in range(len(row)):
            d_x[i, first + k] = shrink * (by * grad_point[i, k] + 2 * c * of_s * row[k])


@inlined
def _exp_row(v, c, step, smallest, hyperboloid, short, row):
    r"""Writes ``v``, shortened if it is too long, and the point's row (its space part); returns by
    how much it was shortened, and the factor between the two with its derivative by :math:`s`.
    """
    shrink, s = 1.0, c * dot(v, v)
    if not s <= MAX_LENGTH**2:
        shrink = shrink_to(v, c, MAX_LENGTH)
    for k in range(len(v)):
        short[k] = v[k] * shrink
    if shrink != 1:
        s = c * dot(short, short)
    by, d_by = sinhc(s) if hyperboloid else tanhc(s)
    for k in range(len(v)):
        row[k] = short[k] * by
    near = not hyperboloid and not 1 - by * by * s >= 4 * smallest  # but for a rounding of the row
    if near and not row_gap(row, c, step) >= smallest:
        by = math.sqrt((1 - 2 * smallest) / s)
        for k in range(len(v)):
            row[k] = short[k] * by
        d_by = -0.5 * by / s
    if shrink != 1:
        d_by = -0.5 * by / s
    return shrink, by, d_by


@compiled_in_order
def exp0(start, stop, v, c, step, smallest, hyperboloid, x):
    """Points of rows ``start`` to ``stop``."""
    first = 1 if hyperboloid else 0
    short = np.empty(v.shape[1])
    for i in range(start, stop):
        _, by, _ = _exp_row(v[i], c, step, smallest, hyperboloid, short, x[i, first:])
        if hyperboloid:
            x[i, 0] = math.sqrt(1 / c + by * by * dot(short, short))


@compiled_in_order
def exp0_gradients(start, stop, v, c, step, smallest, hyperboloid, grad, d_v, d_c):
    """Gradients of :func:`exp0`, that of ``c`` row by row."""
    first = 1 if hyperboloid else 0
    row, short, back = np.empty(v.shape[1], v.dtype), np.empty(v.shape[1]), np.empty(v.shape[1])
    for i in range(start, stop):
        shrink, by, d_by = _exp_row(v[i], c, step, smallest, hyperboloid, short, row)
        by_time = 0.0
        d_c[i] = 0
        if hyperboloid:  # the time is sqrt(1 / c + |space|^2)
            by_time = grad[i, 0] / math.sqrt(1 / c + by * by * dot(short, short))
            d_c[i] = -0.5 * by_time / (c * c)
        for k in range(len(row)):
            back[k] = grad[i, first + k] + by_time * by * short[k]
        of_s = d_by * dot(back, short)
        d_c[i] += of_s * dot(short, short)
        for k in range(len(row)):
            d_v[i, k] = shrink * (by * back[k] + 2 * c * of_s * short[k])
