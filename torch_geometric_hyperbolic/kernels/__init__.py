"""Compiled and data-dependent engines, wrapped as custom operators so that layers compile."""

from torch_geometric_hyperbolic.kernels.frechet_mean import frechet_mean
from torch_geometric_hyperbolic.kernels.knn import knn_table

__all__ = ["frechet_mean", "knn_table"]
