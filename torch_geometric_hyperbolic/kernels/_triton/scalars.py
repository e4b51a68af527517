r"""The scalar functions of :mod:`geometry._numerics`, each with its derivative.

Below a small argument they are their Taylor polynomials.
"""

import torch
import triton
import triton.language as tl

from torch_geometric_hyperbolic.geometry import _numerics as num

_TERMS = tl.constexpr(6)
_ASINHC, _ATANHC, _SINHC, _TANHC = (
    tl.constexpr((0.0,) * (_TERMS.value - len(series)) + series)
    for series in (num.ASINHC_SERIES, num.ATANHC_SERIES, num.SINHC_SERIES, num.TANHC_SERIES)
)
_BELOW = tl.constexpr(num.SERIES_BELOW[torch.float64])


@triton.jit
def _series(coefficients: tl.constexpr, s):
    """A polynomial, the highest coefficient first, and its derivative."""
    value, slope = tl.zeros_like(s), tl.zeros_like(s)
    for k in tl.static_range(_TERMS):
        slope = slope * s + value
        value = value * s + coefficients[k]
    return value, slope


@triton.jit
def asinhc(s, root):
    r""":math:`\operatorname{asinh}(\sqrt s) / \sqrt s`, given :math:`\sqrt{1 + s}`."""
    value, slope = _series(_ASINHC, s)
    small = s < _BELOW
    t = tl.sqrt(tl.where(small, 1.0, s))
    by, by_root = 1 / t, 1 / root
    closed = tl.log(t + root) * by
    return (
        tl.where(small, value, closed),
        tl.where(small, slope, 0.5 * (by_root - closed) * by * by),
    )


@triton.jit
def atanhc(s, gap):
    r""":math:`\operatorname{artanh}(\sqrt s) / \sqrt s`, given :math:`1 - s`."""
    value, slope = _series(_ATANHC, s)
    small = s < _BELOW
    far = tl.where(small, 1.0, s)
    t = tl.sqrt(far)
    closed = tl.log((1 + t) / tl.sqrt(gap)) / t
    return (
        tl.where(small, value, closed),
        tl.where(small, slope, (1 / gap - closed) / (2 * far)),
    )


@triton.jit
def sinhc(s):
    r""":math:`\sinh(\sqrt s) / \sqrt s`."""
    value, slope = _series(_SINHC, s)
    small = s < _BELOW
    far = tl.where(small, 1.0, s)
    t = tl.sqrt(far)
    grown = tl.exp(t)
    closed = 0.5 * (grown - 1 / grown) / t
    return (
        tl.where(small, value, closed),
        tl.where(small, slope, (0.5 * (grown + 1 / grown) - closed) / (2 * far)),
    )


@triton.jit
def tanhc(s):
    r""":math:`\tanh(\sqrt s) / \sqrt s`."""
    value, slope = _series(_TANHC, s)
    small = s < _BELOW
    far = tl.where(small, 1.0, s)
    t = tl.sqrt(far)
    fallen = tl.exp(-2 * t)
    by = 1 / (1 + fallen)
    closed = (1 - fallen) * by / t
    return (
        tl.where(small, value, closed),
        tl.where(small, slope, (4 * fallen * by * by - closed) / (2 * far)),
    )


@triton.jit
def rel_factor(q):
    r""":math:`a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)}` and its derivative.

    With :math:`h` for asinhc and :math:`w = \sqrt{1 + q}`: :math:`a = h / w` and
    :math:`a' = h' / w - a / 2 w^2`.
    """
    w = tl.sqrt(1 + q)
    h, d_h = asinhc(q, w)
    by = 1 / w
    a = h * by
    return a, (d_h - 0.5 * a * by) * by
