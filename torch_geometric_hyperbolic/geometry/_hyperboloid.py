"""Formulas of the hyperboloid for float64 space parts and times: what :mod:`lorentz` and
:mod:`convert` compute with, as both balls do with :mod:`_ball`.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.typing import Curvature


def split(x: Tensor, c: Curvature) -> tuple[Tensor, Tensor]:
    """Space part ``[..., n]`` and recomputed time ``[..., 1]`` of points, in float64."""
    if x.size(-1) < 2:
        raise ValueError(f"'x' must have a time and a space part (got shape {tuple(x.shape)})")
    space = num.clip_length(x[..., 1:].double(), c, num.MAX_SPACE)
    return space, (1 / c + dot(space, space)).sqrt()


def image(space: Tensor, time: Tensor, c: Curvature) -> tuple[Tensor, Tensor]:
    r"""Stereographic images :math:`X_s / w`, :math:`w = 1 + \sqrt c X_0`, and their gaps
    :math:`2 / w`, in which nothing cancels.
    """
    w = 1 + c**0.5 * time
    return space / w, 2 / w


def join(space: Tensor, c: Curvature, dtype: torch.dtype) -> Tensor:
    """Points ``[..., n + 1]`` with such space parts, in a dtype."""
    time = (1 / c + dot(space, space)).sqrt()
    return torch.cat([time, space], dim=-1).to(dtype)


def pair(
    x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Curvature, once: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r""":math:`e`, :math:`q`, :math:`w_x` and :math:`\sqrt c d_0 / w_x` of pairs, in float64.

    The three terms of :math:`e` are rounded ``once`` for points given in float64: gradients by
    coordinates cancel the radius twice.
    """
    d = y - x
    w_x, w_y = 1 + c**0.5 * x0, 1 + c**0.5 * y0
    rise = c**0.5 * dot(d, x + y) / (x0 + y0) / w_x
    e = num.difference(y, x, rise) if once else d - rise * x
    return e, c * w_x / (4 * w_y) * dot(e, e), w_x, rise


def from_origin(space: Tensor, time: Tensor, v: Tensor, c: Curvature) -> Tensor:
    """Parallel transport of vectors at the origin, ``[..., n]``, to points: ``[..., n + 1]``."""
    along = dot(space, v)
    return torch.cat([c**0.5 * along, v + c * along / (1 + c**0.5 * time) * space], dim=-1)


def to_origin(space: Tensor, time: Tensor, u: Tensor, c: Curvature) -> Tensor:
    """Parallel transport of vectors at points, ``[..., n + 1]``, to the origin: ``[..., n]``."""
    return u[..., 1:] - u[..., :1] * (c**0.5 / (1 + c**0.5 * time) * space)


def minkowski(u: Tensor, v: Tensor) -> Tensor:
    r"""The product :math:`-U_0 V_0 + \langle U_s, V_s \rangle`, ``[..., 1]``."""
    return dot(u[..., 1:], v[..., 1:]) - u[..., :1] * v[..., :1]
