r"""Point-cloud datasets."""

from torch_geometric_hyperbolic.datasets.modelnet_points import ModelNetPoints
from torch_geometric_hyperbolic.datasets.shape_primitives import ShapePrimitives

__all__ = [
    "ModelNetPoints",
    "ShapePrimitives",
]
classes = __all__
