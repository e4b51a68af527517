r"""The scalar functions of a pair of points, compiled: see :mod:`geometry._numerics`."""

import math

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled

_SERIES = num._ASINHC_SERIES
_DERIVATIVE = tuple(
    power * coefficient
    for power, coefficient in zip(range(len(_SERIES) - 1, 0, -1), _SERIES[:-1], strict=True)
)
_BELOW = num.SERIES_BELOW[num.torch.float64]


@compiled
def rel_factor(q):
    r""":math:`a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)}` and its derivative.

    With :math:`h(q) = \operatorname{asinh}(\sqrt q) / \sqrt q` and :math:`w = \sqrt{1 + q}`:
    :math:`a = h / w`, :math:`h' = (1 / w - h) / 2q`, :math:`a' = h' / w - a / 2 w^2`.
    """
    w = math.sqrt(1 + q)
    if q < _BELOW:
        h, slope = 0.0, 0.0
        for coefficient in _SERIES:
            h = h * q + coefficient
        for coefficient in _DERIVATIVE:
            slope = slope * q + coefficient
    else:
        root = math.sqrt(q)
        h = math.log(root + w) / root
        slope = (1 / w - h) / (2 * q)
    a = h / w
    return a, slope / w - a / (2 * w * w)
