"""geoopt's manifold objects as ours."""

import math

import geoopt

from torch_geometric_hyperbolic.manifolds.base import Manifold
from torch_geometric_hyperbolic.manifolds.euclidean import Euclidean
from torch_geometric_hyperbolic.manifolds.lorentz import Lorentz
from torch_geometric_hyperbolic.manifolds.poincare import PoincareBall


def from_geoopt(manifold: geoopt.Manifold) -> Manifold:
    r"""Our manifold with the curvature of one of geoopt's.

    geoopt's parameters mean different things in different classes: ``geoopt.PoincareBall(c)`` has
    curvature :math:`-c`; ``geoopt.Lorentz(k)`` is
    :math:`-X_0^2 + \|X_s\|^2 = -k`, curvature :math:`-1/k`.
    Whether the curvature is learnable is kept; the parameter itself is not shared.

    Args:
        manifold (geoopt.Manifold): a ``geoopt.PoincareBall``, ``geoopt.Lorentz`` or
            ``geoopt.Euclidean``; one of our manifolds is returned as it is.

    Raises:
        TypeError: for any other manifold.
        ValueError: for a curvature that is not negative and finite.

    Example:
        >>> from_geoopt(geoopt.Lorentz(k=4.0))
        Lorentz(c=0.25)
    """
    if isinstance(manifold, Manifold):
        return manifold
    if isinstance(manifold, geoopt.PoincareBall):
        learnable = manifold.isp_c.requires_grad
        return PoincareBall(float(manifold.c.detach().double()), learnable)
    if isinstance(manifold, geoopt.Lorentz):
        k = float(manifold.k.detach().double())
        return Lorentz(1 / k if k else math.inf, manifold.k.requires_grad)
    if isinstance(manifold, geoopt.Euclidean):
        return Euclidean()
    raise TypeError(
        f"'manifold' must be a geoopt PoincareBall, Lorentz or Euclidean (got {manifold!r})"
    )
