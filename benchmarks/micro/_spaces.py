"""The spaces whose layers are timed, and points of them."""

from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall

SPACES = {"Euclidean": Euclidean(), "PoincareBall": PoincareBall(), "Lorentz": Lorentz()}


def points_at(space: Manifold, v: Tensor) -> Tensor:
    """Points as far from the origin as the vectors are long; those of the ball are half as long."""
    return space.exp0(v / 2 if isinstance(space, PoincareBall) else v)
