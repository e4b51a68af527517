"""Layers without a graph."""

from torch_geometric_hyperbolic.nn.dense.horocyclic_waves import HorocyclicWaves

__all__ = ["HorocyclicWaves"]
classes = __all__
