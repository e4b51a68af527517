"""Convolutions over graphs and images of points."""

from torch_geometric_hyperbolic.nn.conv.equivariant_conv import EquivariantConv
from torch_geometric_hyperbolic.nn.conv.h_conv import HConv
from torch_geometric_hyperbolic.nn.conv.h_conv2d import HConv2d
from torch_geometric_hyperbolic.nn.conv.hyperbolic_edge_conv import (
    DynamicHyperbolicEdgeConv,
    HyperbolicEdgeConv,
)
from torch_geometric_hyperbolic.nn.conv.invariant_edge_conv import InvariantEdgeConv

__all__ = classes = [
    "HyperbolicEdgeConv",
    "DynamicHyperbolicEdgeConv",
    "InvariantEdgeConv",
    "EquivariantConv",
    "HConv",
    "HConv2d",
]
