"""Helpers for testing layers on manifolds, this package's and yours."""

from torch_geometric_hyperbolic.testing.check_layer import assert_on_manifold, check_layer
from torch_geometric_hyperbolic.testing.isometry import (
    assert_isometry_equivariant,
    assert_isometry_invariant,
    random_isometry,
)
from torch_geometric_hyperbolic.testing.tolerance import assert_close

__all__ = [
    "check_layer",
    "assert_on_manifold",
    "assert_isometry_invariant",
    "assert_isometry_equivariant",
    "random_isometry",
    "assert_close",
]
classes = __all__
