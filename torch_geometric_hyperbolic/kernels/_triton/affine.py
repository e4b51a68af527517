"""A batch norm as scale and shift, and their use before an activation."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._triton.launch import (
    launch,
    row,
    rows,
    rows_at_a_time,
    set_row,
    set_rows,
)

#: Channels of a program that computes scales, and programs that share the rows of gradients: fixed,
#: so that the order of sums does not depend on the device.
CHANNELS, PROGRAMS = 128, 512


@triton.jit(do_not_specialize=["count"])
def _batch_affine(
    total, squares, weight, bias, scale, shift, mean, variance, count, channels,
    EPS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    k = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = k < channels
    mu = tl.load(total + k, mask=valid, other=0) / count
    var = tl.load(squares + k, mask=valid, other=0) / count - mu * mu
    var = tl.where(var < 0, 0.0, var)
    w = tl.load(weight + k, mask=valid, other=0).to(tl.float64)
    a = w / tl.sqrt(var + EPS)
    b = tl.load(bias + k, mask=valid, other=0).to(tl.float64) - mu * a
    tl.store(scale + k, a, mask=valid)
    tl.store(shift + k, b, mask=valid)
    tl.store(mean + k, mu, mask=valid)
    tl.store(variance + k, var, mask=valid)


@triton.jit(do_not_specialize=["count"])
def _batch_affine_gradients(
    mean, variance, weight, by_scale, by_shift, by_mean, by_variance,
    d_total, d_squares, d_weight, d_bias, count, channels,
    EPS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    k = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = k < channels
    mu, var = tl.load(mean + k, mask=valid, other=0), tl.load(variance + k, mask=valid, other=1)
    w = tl.load(weight + k, mask=valid, other=0).to(tl.float64)
    of_shift = tl.load(by_shift + k, mask=valid, other=0)
    of_scale = tl.load(by_scale + k, mask=valid, other=0) - mu * of_shift
    inverse = 1 / tl.sqrt(var + EPS)
    of_var = tl.load(by_variance + k, mask=valid, other=0)
    of_var -= 0.5 * inverse * inverse * inverse * w * of_scale
    of_var = tl.where(var > 0, of_var, 0.0)
    of_mean = tl.load(by_mean + k, mask=valid, other=0)
    of_mean -= inverse * w * of_shift + 2 * mu * of_var
    tl.store(d_total + k, of_mean / count, mask=valid)
    tl.store(d_squares + k, of_var / count, mask=valid)
    tl.store(d_weight + k, inverse * of_scale, mask=valid)
    tl.store(d_bias + k, of_shift, mask=valid)


@triton.jit
def _y(z, scale, shift, i, valid, channels, WIDTH: tl.constexpr):
    """Values of some rows, and the same scaled and shifted."""
    value = rows(z, i, valid, 0, channels, WIDTH).to(tl.float64)
    return value, row(scale, 0, channels, WIDTH) * value + row(shift, 0, channels, WIDTH)


@triton.jit(do_not_specialize=["num_rows"])
def _activate(
    z, edge, scale, shift, out, num_rows, channels,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    valid = i < num_rows
    _, y = _y(z, scale, shift, i, valid, channels, WIDTH)
    if SLOPE == 0:
        y = tl.where(y < 0, 0.0, y)
    else:
        y = tl.where(y < 0, SLOPE * y, y)
    y = tl.where(rows(edge, i, valid, 0, channels, WIDTH) >= 0, y, 0.0)
    set_rows(out, i, valid, 0, channels, y, WIDTH)


@triton.jit(do_not_specialize=["num_rows"])
def _activate_gradients(
    z, edge, scale, shift, grad, d_z, sums, num_rows, channels,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    by_scale, by_shift = tl.zeros([WIDTH], tl.float64), tl.zeros([WIDTH], tl.float64)
    a = row(scale, 0, channels, WIDTH)
    for first in range(program * ROWS, num_rows, tl.num_programs(0) * ROWS):
        i = first + tl.arange(0, ROWS)
        valid = i < num_rows
        value, y = _y(z, scale, shift, i, valid, channels, WIDTH)
        by_y = rows(grad, i, valid, 0, channels, WIDTH).to(tl.float64)
        by_y = tl.where(y > 0, by_y, SLOPE * by_y)
        by_y = tl.where(rows(edge, i, valid, 0, channels, WIDTH) >= 0, by_y, 0.0)
        by_scale += tl.sum(by_y * value, axis=0)
        by_shift += tl.sum(by_y, axis=0)
        set_rows(d_z, i, valid, 0, channels, a * by_y, WIDTH)
    set_row(sums, 2 * program, channels, by_scale[None, :], WIDTH)
    set_row(sums, 2 * program + 1, channels, by_shift[None, :], WIDTH)


def batch_affine(
    total: Tensor, squares: Tensor, weight: Tensor, bias: Tensor, count: int, eps: float
) -> tuple[Tensor, ...]:
    """Scale, shift, mean and variance of every channel."""
    outputs = tuple(torch.empty_like(total) for _ in range(4))
    _by_channels(_batch_affine, eps, total, squares, weight, bias, *outputs, count, len(total))
    return outputs


def batch_affine_gradients(
    mean: Tensor, variance: Tensor, weight: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    """Gradients by the two sums, the weight and the bias."""
    *grads, count, eps = rest
    outputs = tuple(torch.empty_like(t) for t in (mean, variance, weight, weight))
    given = (mean, variance, weight, *grads, *outputs, count, len(mean))
    _by_channels(_batch_affine_gradients, eps, *given)
    return outputs


def activate(z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float) -> Tensor:
    """Scaled, shifted and activated values."""
    out = z.new_empty(z.shape)
    sizes = rows_at_a_time(z.size(1))
    programs = triton.cdiv(len(z), sizes["ROWS"])
    launch(_activate, programs, z, edge, scale, shift, out, *z.shape, SLOPE=slope, **sizes)
    return out


def activate_gradients(
    z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients by the values, and by scale and shift."""
    sizes = rows_at_a_time(z.size(1))
    programs = min(triton.cdiv(len(z), sizes["ROWS"]), PROGRAMS)
    d_z, sums = z.new_empty(z.shape), scale.new_empty(programs, 2, len(scale))
    given = (z, edge, scale, shift, grad, d_z, sums, *z.shape)
    launch(_activate_gradients, programs, *given, SLOPE=slope, **sizes)
    return d_z, sums.sum(0)


def _by_channels(kernel: Any, eps: float, *args: Any) -> None:
    launch(kernel, triton.cdiv(args[-1], CHANNELS), *args, EPS=eps, CHANNELS=CHANNELS)
