"""Aggregations of tangent vectors and of points."""

from torch_geometric_hyperbolic.nn.aggr.frechet_mean import FrechetMeanAggregation
from torch_geometric_hyperbolic.nn.aggr.midpoint import MidpointAggregation
from torch_geometric_hyperbolic.nn.aggr.tangent import TangentAggregation

__all__ = ["TangentAggregation", "MidpointAggregation", "FrechetMeanAggregation"]
classes = __all__
