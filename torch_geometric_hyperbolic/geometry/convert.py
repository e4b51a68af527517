r"""Isometries between the models: Poincare ball, hyperboloid and Klein ball of one curvature.

All three hold the same point: the stereographic image :math:`x = X_s / (1 + \sqrt c X_0)` in the
Poincare ball, the gnomonic image :math:`X_s / (\sqrt c X_0)` in the Klein ball. Computed in
float64, returned in the dtype given; cost, dtypes and errors are those of
:mod:`~torch_geometric_hyperbolic.geometry.poincare`. Source: Cannon et al., "Hyperbolic Geometry"
(1997), sec. 7.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.geometry._hyperboloid import image, join, split
from torch_geometric_hyperbolic.geometry._precision import full_precision
from torch_geometric_hyperbolic.typing import Curvature


@full_precision
def lorentz_to_poincare(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Points of the hyperboloid as points of the Poincare ball, :math:`X_s / (1 + \sqrt c X_0)`.

    Points beyond the ball's largest radius (see :doc:`/notes/numerics`) are projected into it.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the Poincare ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> lorentz_to_poincare(torch.tensor([1.5431, 1.1752, 0.0]), c=1.0)
        tensor([0.4621, 0.0000])
    """
    point, _ = lorentz_to_ball(x, c=c)
    return poincare.projx(point.to(x.dtype), c=c)


@full_precision
def lorentz_to_ball(x: Tensor, *, c: Curvature) -> tuple[Tensor, Tensor]:
    """Stereographic image ``[..., n]`` and its gap ``[..., 1]``, both in float64."""
    return image(*split(x, c), c)


def ball_to_lorentz(x: Tensor, gap: Tensor, *, c: Curvature) -> Tensor:
    r"""Inverse of :func:`lorentz_to_ball`, in float64: the space part is :math:`2x / g`, which a
    rounded ``x`` alone tells up to radius 35 only.
    """
    return join(num.clip_length(2 * x / gap, c, num.MAX_SPACE), c, torch.float64)


@full_precision
def poincare_to_lorentz(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Points of the Poincare ball as points of the hyperboloid, whose space part is
    :math:`2x / (1 - c\|x\|^2)`.

    Args:
        x (torch.Tensor): points of the Poincare ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the hyperboloid, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> poincare_to_lorentz(torch.tensor([0.4621, 0.0]), c=1.0)
        tensor([1.5430, 1.1751, 0.0000])
    """
    x, gap = num.project(x, c)
    return join(2 * x.double() / gap, c, x.dtype)


@full_precision
def poincare_to_klein(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Points of the Poincare ball as points of the Klein ball, :math:`2x / (1 + c\|x\|^2)`.

    The Klein ball holds only half the radius; points beyond it are projected into it.

    Args:
        x (torch.Tensor): points of the Poincare ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the Klein ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> poincare_to_klein(torch.tensor([0.5, 0.0]), c=1.0)
        tensor([0.8000, 0.0000])
    """
    x, gap = num.project(x, c)
    return poincare.projx((2 * x.double() / (2 - gap)).to(x.dtype), c=c)


@full_precision
def klein_to_poincare(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Points of the Klein ball as points of the Poincare ball,
    :math:`x / (1 + \sqrt{1 - c\|x\|^2})`.

    Args:
        x (torch.Tensor): points of the Klein ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the Poincare ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> klein_to_poincare(torch.tensor([0.8, 0.0]), c=1.0)
        tensor([0.5000, 0.0000])
    """
    x, gap = num.project(x, c)
    return (x.double() / (1 + gap.sqrt())).to(x.dtype)


__all__ = [
    "lorentz_to_poincare",
    "poincare_to_lorentz",
    "poincare_to_klein",
    "klein_to_poincare",
]
