"""Spaces as objects: thin modules that hold a curvature and forward to :mod:`geometry`."""

from torch_geometric_hyperbolic.manifolds.base import Manifold
from torch_geometric_hyperbolic.manifolds.euclidean import Euclidean
from torch_geometric_hyperbolic.manifolds.from_geoopt import from_geoopt
from torch_geometric_hyperbolic.manifolds.lorentz import Lorentz
from torch_geometric_hyperbolic.manifolds.poincare import PoincareBall

__all__ = ["Manifold", "PoincareBall", "Lorentz", "Euclidean", "from_geoopt"]
classes = __all__
