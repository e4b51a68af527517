r"""The scalar functions of :mod:`geometry._numerics`, each with its derivative, compiled.

Below a small argument they are their Taylor polynomials. ``asinhc`` and ``rel_factor`` are
arithmetic without jumps, so that a loop over numbers fills vector registers.
"""

import math

import torch

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.logarithm import log

BELOW = num.SERIES_BELOW[torch.float64]

ASINHC, ATANHC = num.ASINHC_SERIES, num.ATANHC_SERIES
SINHC, TANHC = num.SINHC_SERIES, num.TANHC_SERIES


@compiled
def series(coefficients, s):
    """A polynomial, the highest coefficient first, and its derivative."""
    value, slope = 0.0, 0.0
    for coefficient in coefficients:
        slope = slope * s + value
        value = value * s + coefficient
    return value, slope


@compiled
def asinhc(s, root):
    r""":math:`\operatorname{asinh}(\sqrt s) / \sqrt s`, given :math:`\sqrt{1 + s}`."""
    near, d_near = series(ASINHC, s)
    t = math.sqrt(s)
    by = 1 / t
    far = log(t + root) * by
    d_far = 0.5 * (1 / root - far) * by * by
    return near if s < BELOW else far, d_near if s < BELOW else d_far


@compiled
def atanhc(s, gap):
    r""":math:`\operatorname{artanh}(\sqrt s) / \sqrt s`, given :math:`1 - s`."""
    if s < BELOW:
        return series(ATANHC, s)
    t = math.sqrt(s)
    value = math.log((1 + t) / math.sqrt(gap)) / t
    return value, (1 / gap - value) / (2 * s)


@compiled
def sinhc(s):
    r""":math:`\sinh(\sqrt s) / \sqrt s`."""
    if s < BELOW:
        return series(SINHC, s)
    t = math.sqrt(s)
    value = math.sinh(t) / t
    return value, (math.cosh(t) - value) / (2 * s)


@compiled
def tanhc(s):
    r""":math:`\tanh(\sqrt s) / \sqrt s`."""
    if s < BELOW:
        return series(TANHC, s)
    t = math.sqrt(s)
    tanh = math.tanh(t)
    value = tanh / t
    return value, (1 - tanh * tanh - value) / (2 * s)


@compiled
def rel_factor(q):
    r""":math:`a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)}`:
    with :math:`h` for asinhc and :math:`w = \sqrt{1 + q}`, :math:`a = h / w` and
    :math:`a' = h' / w - a / 2 w^2`.
    """
    w = math.sqrt(1 + q)
    h, d_h = asinhc(q, w)
    by = 1 / w
    a = h * by
    return a, (d_h - 0.5 * a * by) * by
