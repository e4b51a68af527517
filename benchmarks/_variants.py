"""Edge convolutions that lack one idea of ours, for the ablation."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from _models import build_dgcnn
from torch import Tensor
from torch_geometric.typing import OptTensor, PairTensor

from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.manifolds import Euclidean
from torch_geometric_hyperbolic.nn import (
    DynamicHyperbolicEdgeConv,
    HyperbolicDGCNN,
    HyperbolicEdgeConv,
    knn,
)
from torch_geometric_hyperbolic.nn.inits import moderate_radius_
from torch_geometric_hyperbolic.nn.models.hyperbolic_dgcnn import INITIAL_RADIUS

PairOfBatches = tuple[OptTensor, OptTensor]


class AbsoluteEdgeConv(DynamicHyperbolicEdgeConv):
    r"""The messages :math:`h(\log_0 \mathbf{x}_j)` of H-Conv 0.1: where a neighbour is, and not
    where it lies seen from the centre.

    A message does not depend on its target, so ``nn``, which takes one vector, acts on nodes.
    """

    def forward(self, x: PairTensor, batch: PairOfBatches, batch_size: int | None = None) -> Tensor:
        source, target = x
        how: dict[str, Any] = {"manifold": self.manifold, "batch_size": batch_size}
        pairs = knn(source, target, self.k, *batch, **how)
        messages = self.nn(log0(source, self.manifold))
        rowptr = torch.arange(target.size(0) + 1, device=target.device) * self.k
        sizes = (source.size(0), target.size(0))
        out = self.propagate(pairs.flip(0), x=(messages, None), rowptr=rowptr, size=sizes)
        return exp0(out, self.manifold)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j


class RelativeEdgeConv(DynamicHyperbolicEdgeConv):
    r"""The messages :math:`h(\operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j))`, without the centre.

    The first linear layer of ``nn`` is written as :math:`[0 \, W]`, of which :math:`W` is learnt.
    """

    def __init__(self, nn: torch.nn.Sequential, k: int, **kwargs: Any) -> None:
        super().__init__(nn, k, **kwargs)
        self.weight = torch.nn.Parameter(nn[0].weight.detach().chunk(2, dim=1)[1].clone())
        del nn[0].weight

    def forward(self, x: PairTensor, batch: PairOfBatches, batch_size: int | None = None) -> Tensor:
        self.nn[0].weight = torch.cat([torch.zeros_like(self.weight), self.weight], dim=1)
        return super().forward(x, batch, batch_size)


class EuclideanGraphEdgeConv(DynamicHyperbolicEdgeConv):
    r"""Ours over the nearest neighbours among the vectors :math:`\log_0 \mathbf{x}`."""

    def forward(self, x: PairTensor, batch: PairOfBatches, batch_size: int | None = None) -> Tensor:
        source, target = (log0(points, self.manifold) for points in x)
        how: dict[str, Any] = {"manifold": Euclidean(), "batch_size": batch_size}
        pairs = knn(source, target, self.k, *batch, **how)
        return HyperbolicEdgeConv.forward(self, x, pairs.flip(0))


def one_vector(nn: torch.nn.Sequential) -> torch.nn.Sequential:
    """The block of an edge convolution for one vector in place of two."""
    linear, norm, activation = nn
    narrow = torch.nn.Linear(linear.in_features // 2, linear.out_features, bias=False)
    return torch.nn.Sequential(narrow, norm, activation)


#: Network of our convolution and its other arguments, to the convolution that replaces it.
CONVS: Mapping[str, Callable[..., DynamicHyperbolicEdgeConv]] = {
    "absolute": lambda nn, **options: AbsoluteEdgeConv(one_vector(nn), **options),
    "relative": RelativeEdgeConv,
    "euclidean-knn": EuclideanGraphEdgeConv,
}

#: What else a variant changes in the configuration.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "mean": {"aggr": "mean"},
    "sum": {"aggr": "sum"},
    "midpoint": {"aggr": "midpoint"},
    "c1": {"curvature": 1.0, "learnable_curvature": False},
    "c0.25": {"curvature": 0.25, "learnable_curvature": False},
    "learnt": {"curvature": 0.25, "learnable_curvature": True},
    "euclidean": {"manifold": "euclidean"},
}

VARIANTS = ("edge", *CONVS, *SETTINGS)


def build_variant(config: Mapping[str, Any], num_classes: int) -> HyperbolicDGCNN:
    """The point-cloud classifier of a configuration, with the convolutions of its variant."""
    model = build_dgcnn(config, num_classes)
    make = CONVS.get(config["variant"])
    if make is not None:
        options = {"k": config["k"], "aggr": config["aggr"], "manifold": model.manifold}
        for i, conv in enumerate(model.convs):
            replacement = make(conv.nn, **options)
            moderate_radius_(replacement.nn[1], INITIAL_RADIUS)
            model.convs[i] = replacement
    return model
