"""Fused operators: compiled loops behind custom operators.

Their formulas in PyTorch stand beside them, or in the layers that use them.
"""

from torch_geometric_hyperbolic.kernels._space import curvature
from torch_geometric_hyperbolic.kernels.affine_activation import affine_activation
from torch_geometric_hyperbolic.kernels.batch_affine import batch_affine
from torch_geometric_hyperbolic.kernels.channels_last import channels_last
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine, set_fused
from torch_geometric_hyperbolic.kernels.edge_coefficients import edge_coefficients
from torch_geometric_hyperbolic.kernels.edge_max import edge_max
from torch_geometric_hyperbolic.kernels.edge_sum import edge_sum
from torch_geometric_hyperbolic.kernels.edge_values import edge_values
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors
from torch_geometric_hyperbolic.kernels.farthest_points import farthest_points
from torch_geometric_hyperbolic.kernels.frechet_mean import frechet_mean
from torch_geometric_hyperbolic.kernels.group_edges import group_edges
from torch_geometric_hyperbolic.kernels.group_moments import group_moments
from torch_geometric_hyperbolic.kernels.knn import knn_table
from torch_geometric_hyperbolic.kernels.linear_max import linear_max
from torch_geometric_hyperbolic.kernels.local_coordinates import local_coordinates
from torch_geometric_hyperbolic.kernels.move import move
from torch_geometric_hyperbolic.kernels.pair_distances import pair_distances
from torch_geometric_hyperbolic.kernels.radial import ball_and_log, exp0, log0
from torch_geometric_hyperbolic.kernels.relative_windows import relative_windows
from torch_geometric_hyperbolic.kernels.to_ball import to_ball
from torch_geometric_hyperbolic.kernels.wide_linear import wide_linear
from torch_geometric_hyperbolic.kernels.window_lengths import window_lengths

__all__ = [
    "EdgeVectors",
    "affine_activation",
    "ball_and_log",
    "batch_affine",
    "channels_last",
    "curvature",
    "edge_coefficients",
    "edge_max",
    "edge_sum",
    "edge_values",
    "exp0",
    "farthest_points",
    "frechet_mean",
    "fused_engine",
    "group_edges",
    "group_moments",
    "knn_table",
    "linear_max",
    "local_coordinates",
    "log0",
    "move",
    "pair_distances",
    "relative_windows",
    "set_fused",
    "to_ball",
    "wide_linear",
    "window_lengths",
]
