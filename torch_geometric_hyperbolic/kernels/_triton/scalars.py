r"""The scalar functions of a pair of points: see :mod:`geometry._numerics`."""

import torch
import triton
import triton.language as tl

from torch_geometric_hyperbolic.geometry import _numerics as num

_SERIES = tl.constexpr(num._ASINHC_SERIES)
_TERMS = tl.constexpr(len(num._ASINHC_SERIES))
_BELOW = tl.constexpr(num.SERIES_BELOW[torch.float64])


@triton.jit
def rel_factor(q):
    r""":math:`a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)}` and its derivative.

    With :math:`h(q) = \operatorname{asinh}(\sqrt q) / \sqrt q` and :math:`w = \sqrt{1 + q}`:
    :math:`a = h / w`, :math:`h' = (1 / w - h) / 2q`, :math:`a' = h' / w - a / 2 w^2`.
    """
    w = tl.sqrt(1 + q)
    series, slope = tl.zeros_like(q), tl.zeros_like(q)
    for k in tl.static_range(_TERMS):
        slope = slope * q + series
        series = series * q + _SERIES[k]
    small = q < _BELOW
    far = tl.where(small, 1.0, q)
    root = tl.sqrt(far)
    by_w, by_root = 1 / w, 1 / root
    closed = tl.log(root + w) * by_root
    h = tl.where(small, series, closed)
    slope = tl.where(small, slope, 0.5 * (by_w - closed) * by_root * by_root)
    a = h * by_w
    return a, (slope - 0.5 * a * by_w) * by_w
