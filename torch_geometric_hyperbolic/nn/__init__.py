"""Layers, aggregations, graphs and models; everything public is importable from here."""

from torch_geometric_hyperbolic.nn.aggr import (
    FrechetMeanAggregation,
    MidpointAggregation,
    TangentAggregation,
)
from torch_geometric_hyperbolic.nn.conv import (
    DynamicHyperbolicEdgeConv,
    EquivariantConv,
    HConv,
    HConv2d,
    HeatKernelConv,
    HorocyclicConv,
    HyperbolicEdgeConv,
    InvariantEdgeConv,
    SphericalPowerConv,
    SteerableConv,
    order_norms,
)
from torch_geometric_hyperbolic.nn.dense import HorocyclicWaves
from torch_geometric_hyperbolic.nn.models import (
    EquivariantGNN,
    FermiDiracDecoder,
    HyperbolicDGCNN,
)
from torch_geometric_hyperbolic.nn.pool import (
    centre_offset,
    fps,
    global_frechet_mean_pool,
    global_midpoint_pool,
    global_tangent_pool,
    grid_graph,
    knn,
    knn_graph,
)

__all__ = [
    "DynamicHyperbolicEdgeConv",
    "EquivariantConv",
    "HConv",
    "HConv2d",
    "HeatKernelConv",
    "HorocyclicConv",
    "HorocyclicWaves",
    "HyperbolicEdgeConv",
    "InvariantEdgeConv",
    "SphericalPowerConv",
    "SteerableConv",
    "order_norms",
    "FrechetMeanAggregation",
    "MidpointAggregation",
    "TangentAggregation",
    "centre_offset",
    "fps",
    "global_frechet_mean_pool",
    "global_midpoint_pool",
    "global_tangent_pool",
    "grid_graph",
    "knn",
    "knn_graph",
    "EquivariantGNN",
    "FermiDiracDecoder",
    "HyperbolicDGCNN",
]
classes = __all__
