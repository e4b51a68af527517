"""Layers, aggregations, graphs and models; everything public is importable from here."""

from torch_geometric_hyperbolic.nn.aggr import *  # noqa: F403
from torch_geometric_hyperbolic.nn.conv import *  # noqa: F403
from torch_geometric_hyperbolic.nn.models import *  # noqa: F403
from torch_geometric_hyperbolic.nn.pool import *  # noqa: F403

from torch_geometric_hyperbolic.nn import aggr, conv, models, pool  # isort: skip

__all__ = classes = [*conv.classes, *aggr.classes, *pool.classes, *models.classes]
