r"""Maps along rays: every row is multiplied by a function of :math:`s = c\|x\|^2`.

The formulas are those of the loops for the CPU (:mod:`kernels._cpu.radial`), in float64 registers;
a program takes a few rows with all their channels. On the hyperboloid rows are the space parts.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._triton.launch import (
    launch,
    rows,
    rows_at_a_time,
    set_rows,
)
from torch_geometric_hyperbolic.kernels._triton.scalars import asinhc, atanhc, sinhc, tanhc

_MAX_LENGTH, _MAX_SPACE = tl.constexpr(num.MAX_LENGTH), tl.constexpr(num.MAX_SPACE)
_SPLIT = tl.constexpr(num._SPLIT)
#: Added to and taken from a number below 2^51 it rounds it to an integer.
_ROUNDS = tl.constexpr(1.5 * 2.0**52)


@triton.jit
def _dot(x, y):
    return tl.sum(x * y, axis=1)[:, None]


@triton.jit
def _gap(x, c, SINGLE: tl.constexpr):
    """See :func:`geometry._numerics.gap`: the squares of float32 numbers need no splitting. The
    product with c is not rounded, it joins the subtraction.
    """
    if SINGLE:
        result = 1 - c * _dot(x, x)
    else:
        step = _SPLIT * tl.exp2(tl.ceil(tl.minimum(-0.5 * tl.log2(c), 60.0)))
        head = ((x / step + _ROUNDS) - _ROUNDS) * step
        result = (1 - c * _dot(head, head)) - c * _dot(x - head, x + head)
    return result


@triton.jit
def _shrink_to(x, c, length):
    """What makes a row as long as ``length``; its square may overflow."""
    largest = tl.max(tl.abs(x), axis=1)[:, None]
    direction = x / largest
    return length / tl.sqrt(c * _dot(direction, direction)) / largest


@triton.jit
def _rounded(x, SINGLE: tl.constexpr):
    return x.to(tl.float32).to(tl.float64) if SINGLE else x


@triton.jit
def _point(x, c, LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr):
    r"""Rows, shortened where they are too long, and by how much; then :math:`s`, the factor of the
    point of the ball and the gap, each of the two with its derivative by :math:`s`.
    """
    if LORENTZ:
        s = c * _dot(x, x)
        long = ~(s <= _MAX_SPACE * _MAX_SPACE)
        shrink = tl.where(long, _shrink_to(x, c, _MAX_SPACE), 1.0)
        s = tl.where(long, _MAX_SPACE * _MAX_SPACE + 0 * shrink, s)  # NaN if not finite
        x = tl.where(long, _rounded(x * shrink, SINGLE), x)
        root = tl.sqrt(1 + s)
        point = 1 / (1 + root)
        gap, d_gap = 2 * point, -point * point / root
        d_point = 0.5 * d_gap
    else:
        gap = _gap(x, c, SINGLE)
        long = ~(gap >= SMALLEST)
        shrink = tl.where(long, _shrink_to(x, c, (1 - 2 * SMALLEST) ** 0.5), 1.0)
        x = tl.where(long, _rounded(x * shrink, SINGLE), x)
        gap = _gap(x, c, SINGLE)
        s = 1 - gap
        point, d_point = tl.full(s.shape, 1.0, tl.float64), tl.zeros_like(s)
        d_gap = -point
    d_point = tl.where(long, -0.5 * point / s, d_point)
    d_gap = tl.where(long, 0.0, d_gap)
    return x, long, shrink, s, point, d_point, gap, d_gap


@triton.jit
def _log(long, s, gap, LORENTZ: tl.constexpr):
    """The factor of log0 and its derivative."""
    if LORENTZ:
        log, d_log = asinhc(s, tl.sqrt(1 + s))
    else:
        log, d_log = atanhc(s, gap)
    return log, tl.where(long, -0.5 * log / s, d_log)


@triton.jit
def _exp(v, c, LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr):
    r"""Vectors, shortened where they are too long, and by how much; the factor to the point (its
    space part) and its derivative by :math:`s`.
    """
    s = c * _dot(v, v)
    long = ~(s <= _MAX_LENGTH * _MAX_LENGTH)
    shrink = tl.where(long, _shrink_to(v, c, _MAX_LENGTH), 1.0)
    v = tl.where(long, v * shrink, v)
    s = tl.where(long, c * _dot(v, v), s)
    if LORENTZ:
        by, d_by = sinhc(s)
    else:
        by, d_by = tanhc(s)
        outside = ~(_gap(_rounded(v * by, SINGLE), c, SINGLE) >= SMALLEST)
        by = tl.where(outside, tl.sqrt((1 - 2 * SMALLEST) / s), by)
        long |= outside
    d_by = tl.where(long, -0.5 * by / s, d_by)
    return v, shrink, by, d_by


@triton.jit
def _some_rows(
    matrix, c, num_rows, columns,
    FIRST: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The curvature, numbers of a program's rows, which are valid, and their columns from
    ``FIRST``.
    """
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    valid = i < num_rows
    x = rows(matrix, i, valid, FIRST, columns, WIDTH).to(tl.float64)
    return tl.load(c), i, valid, x


@triton.jit(do_not_specialize=["num_rows"])
def _ball_and_log(
    x, c, point, gap, log, num_rows, channels,
    LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    c, i, valid, row = _some_rows(x, c, num_rows, channels + LORENTZ, LORENTZ, ROWS, WIDTH)
    row, long, _, s, by, _, g, _ = _point(row, c, LORENTZ, SINGLE, SMALLEST)
    by_log, _ = _log(long, s, g, LORENTZ)
    set_rows(gap, i, valid, 0, 1, g, 1)
    set_rows(point, i, valid, 0, channels, row * by, WIDTH)
    set_rows(log, i, valid, 0, channels, row * by_log, WIDTH)


@triton.jit(do_not_specialize=["num_rows"])
def _ball_and_log_gradients(
    x, c, grad_point, grad_gap, grad_log, d_x, d_c, num_rows, channels,
    LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    columns = channels + LORENTZ
    c, i, valid, row = _some_rows(x, c, num_rows, columns, LORENTZ, ROWS, WIDTH)
    row, long, shrink, s, by, d_by, g, d_gap = _point(row, c, LORENTZ, SINGLE, SMALLEST)
    by_log, d_by_log = _log(long, s, g, LORENTZ)
    of_point = rows(grad_point, i, valid, 0, channels, WIDTH).to(tl.float64)
    of_log = rows(grad_log, i, valid, 0, channels, WIDTH).to(tl.float64)
    of_s = d_by * _dot(of_point, row) + d_by_log * _dot(of_log, row)
    of_s += d_gap * rows(grad_gap, i, valid, 0, 1, 1)
    set_rows(d_c, i, valid, 0, 1, of_s * _dot(row, row), 1)
    result = shrink * (by * of_point + by_log * of_log + 2 * c * of_s * row)
    set_rows(d_x, i, valid, LORENTZ, columns, result, WIDTH)
    if LORENTZ:
        set_rows(d_x, i, valid, 0, columns, tl.zeros_like(s), 1)


@triton.jit(do_not_specialize=["num_rows"])
def _exp0(
    v, c, x, num_rows, channels,
    LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    c, i, valid, row = _some_rows(v, c, num_rows, channels, 0, ROWS, WIDTH)
    row, _, by, _ = _exp(row, c, LORENTZ, SINGLE, SMALLEST)
    space = row * by
    set_rows(x, i, valid, LORENTZ, channels + LORENTZ, space, WIDTH)
    if LORENTZ:
        time = tl.sqrt(1 / c + by * by * _dot(row, row))
        set_rows(x, i, valid, 0, channels + 1, time, 1)


@triton.jit(do_not_specialize=["num_rows"])
def _exp0_gradients(
    v, c, grad, d_v, d_c, num_rows, channels,
    LORENTZ: tl.constexpr, SINGLE: tl.constexpr, SMALLEST: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    columns = channels + LORENTZ
    c, i, valid, row = _some_rows(v, c, num_rows, channels, 0, ROWS, WIDTH)
    row, shrink, by, d_by = _exp(row, c, LORENTZ, SINGLE, SMALLEST)
    squared = _dot(row, row)
    back = rows(grad, i, valid, LORENTZ, columns, WIDTH).to(tl.float64)
    of_c = tl.zeros_like(squared)
    if LORENTZ:  # the time is sqrt(1 / c + |space|^2)
        by_time = rows(grad, i, valid, 0, columns, 1).to(tl.float64)
        by_time /= tl.sqrt(1 / c + by * by * squared)
        of_c -= 0.5 * by_time / (c * c)
        back += by_time * by * row
    of_s = d_by * _dot(back, row)
    set_rows(d_c, i, valid, 0, 1, of_c + of_s * squared, 1)
    set_rows(d_v, i, valid, 0, channels, shrink * (by * back + 2 * c * of_s * row), WIDTH)


def ball_and_log(x: Tensor, c: Tensor, hyperboloid: bool, *outputs: Tensor) -> None:
    """Writes points of the ball, their gaps, and log0."""
    _launch(_ball_and_log, x, c, hyperboloid, outputs[0].size(1), *outputs)


def ball_and_log_gradients(x: Tensor, c: Tensor, hyperboloid: bool, *rest: Tensor) -> None:
    """Reads the gradients of the three, writes those of ``x`` and of ``c`` row by row."""
    _launch(_ball_and_log_gradients, x, c, hyperboloid, rest[0].size(1), *rest)


def exp0(v: Tensor, c: Tensor, hyperboloid: bool, x: Tensor) -> None:
    """Writes points."""
    _launch(_exp0, v, c, hyperboloid, v.size(1), x)


def exp0_gradients(v: Tensor, c: Tensor, hyperboloid: bool, *rest: Tensor) -> None:
    """Reads the gradient of the points, writes those of ``v`` and of ``c`` row by row."""
    _launch(_exp0_gradients, v, c, hyperboloid, v.size(1), *rest)


def _launch(
    kernel: Any, x: Tensor, c: Tensor, hyperboloid: bool, channels: int, *rest: Tensor
) -> None:
    constants = {
        "LORENTZ": int(hyperboloid),
        "SINGLE": x.dtype == torch.float32,
        "SMALLEST": num.MIN_GAP[x.dtype],
        **rows_at_a_time(channels),
    }
    programs = triton.cdiv(len(x), constants["ROWS"])
    launch(kernel, programs, x, c, *rest, len(x), channels, **constants)
