"""Whole networks."""

from torch_geometric_hyperbolic.nn.models.equivariant_gnn import EquivariantGNN
from torch_geometric_hyperbolic.nn.models.fermi_dirac_decoder import FermiDiracDecoder
from torch_geometric_hyperbolic.nn.models.hyperbolic_dgcnn import HyperbolicDGCNN

__all__ = ["HyperbolicDGCNN", "EquivariantGNN", "FermiDiracDecoder"]
classes = __all__
