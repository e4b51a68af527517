"""Convolutions over graphs and images of points."""

from torch_geometric_hyperbolic.nn.conv.dynamic_hyperbolic_edge_conv import (
    DynamicHyperbolicEdgeConv,
)
from torch_geometric_hyperbolic.nn.conv.equivariant_conv import EquivariantConv
from torch_geometric_hyperbolic.nn.conv.h_conv import HConv
from torch_geometric_hyperbolic.nn.conv.h_conv2d import HConv2d
from torch_geometric_hyperbolic.nn.conv.heat_kernel_conv import HeatKernelConv
from torch_geometric_hyperbolic.nn.conv.horocyclic_conv import HorocyclicConv
from torch_geometric_hyperbolic.nn.conv.hyperbolic_edge_conv import HyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.conv.invariant_edge_conv import InvariantEdgeConv
from torch_geometric_hyperbolic.nn.conv.spherical_power_conv import SphericalPowerConv
from torch_geometric_hyperbolic.nn.conv.steerable_conv import SteerableConv, order_norms

__all__ = [
    "HyperbolicEdgeConv",
    "DynamicHyperbolicEdgeConv",
    "InvariantEdgeConv",
    "EquivariantConv",
    "HConv",
    "HConv2d",
    "SphericalPowerConv",
    "HeatKernelConv",
    "HorocyclicConv",
    "SteerableConv",
    "order_norms",
]
classes = __all__
