"""Formulas of the ball for float64 points whose gaps are known: what both models compute with."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.typing import Curvature


def mobius_add_with_gaps(
    x: Tensor, gap_x: Tensor, y: Tensor, gap_y: Tensor, c: Curvature
) -> tuple[Tensor, Tensor]:
    r"""The sum :math:`x \oplus y` and its gap, from float64 points with known gaps.

    With :math:`D = g_x g_y + c\|x + y\|^2`, a sum of positive terms, the gap of the sum is
    :math:`g_x g_y / D`, and :math:`x \oplus y = x + g_x (y + c\|y\|^2 x) / D`.
    """
    both = x + y
    denominator = gap_x * gap_y + c * dot(both, both)
    return x + gap_x * (y + (1 - gap_y) * x) / denominator, gap_x * gap_y / denominator


def exp0_with_gap(v: Tensor, c: Curvature) -> tuple[Tensor, Tensor]:
    r"""Points :math:`\exp_0 v` and their gaps :math:`1/\cosh^2(\sqrt c\|v\|)`, all in float64."""
    v = num.clip_length(v, c)
    z = c * dot(v, v)
    return v * num.tanhc(z), num.sech_squared(z)


def busemann_with_gap(p: Tensor, gap: Tensor, direction: Tensor, c: Curvature) -> Tensor:
    r"""The Busemann function from float64 points with known gaps, ``[...]``.

    With :math:`q = \sqrt c p = t\,\omega + q_\perp` and the gap :math:`g` all of

    .. math::
        1 - t = (g + \|q_\perp\|^2) / (1 + t), \qquad
        \|\omega - q\|^2 = (1 - t)^2 + \|q_\perp\|^2, \qquad
        g - \|\omega - q\|^2 = 2 t (1 - t) - 2 \|q_\perp\|^2

    keep their relative accuracy towards :math:`\omega` (:math:`t > 0`). The logarithm of
    :math:`g / \|\omega - q\|^2` is an asinh, accurate at the origin too, where the ratio is 1.
    """
    q, omega = c**0.5 * p, num.unit(direction.double())
    t = dot(q, omega)
    across = q - t * omega
    squared = dot(across, across)
    ahead = torch.where(t > 0, (gap + squared) / (1 + t.abs()), 1 - t)
    away = ahead**2 + squared
    sinh = (t * ahead - squared) * (gap + away) / (gap * away)
    return (torch.asinh(sinh) / c**0.5).squeeze(-1)


def turn(x: Tensor, gap_x: Tensor, y: Tensor, gap_y: Tensor, v: Tensor, c: Curvature) -> Tensor:
    r"""The rotation :math:`\operatorname{gyr}[y, -x] v`, from float64 points with known gaps.

    With :math:`d = x - y`, the bivector :math:`B = c\,(d y^\top - y d^\top)` and
    :math:`s = 1 - c \langle x, y \rangle` it is

    .. math::
        v + 2\,(s B + B^2)\,v / (g_x g_y + c\|d\|^2), \qquad
        s = (g_x + g_y + c\|d\|^2) / 2 :

    Ungar's formula (2005) with the terms that cancel near the boundary cancelled.
    """
    d = x - y
    squared = c * dot(d, d)

    def plane(w: Tensor) -> Tensor:
        return c * (d * dot(y, w) - y * dot(d, w))

    once = plane(v)
    twice = plane(once)
    return v + ((gap_x + gap_y + squared) * once + 2 * twice) / (gap_x * gap_y + squared)
