"""Neighbourhood graphs, samples of points, and global pools."""

from torch_geometric_hyperbolic.nn.pool.fps import fps
from torch_geometric_hyperbolic.nn.pool.glob import (
    global_frechet_mean_pool,
    global_midpoint_pool,
    global_tangent_pool,
)
from torch_geometric_hyperbolic.nn.pool.grid_graph import centre_offset, grid_graph
from torch_geometric_hyperbolic.nn.pool.knn import knn, knn_graph

__all__ = [
    "knn",
    "knn_graph",
    "fps",
    "grid_graph",
    "centre_offset",
    "global_tangent_pool",
    "global_midpoint_pool",
    "global_frechet_mean_pool",
]
classes = __all__
