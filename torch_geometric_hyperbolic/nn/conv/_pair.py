"""The points that a layer takes, one set or sources and targets."""

from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, PairTensor

from torch_geometric_hyperbolic.checks import check_edge_index, check_points, check_weight
from torch_geometric_hyperbolic.manifolds import Manifold


def sources_and_targets(x: Tensor | PairTensor) -> PairTensor:
    """Sources and targets, which one set of points is both of."""
    if not isinstance(x, (tuple, list)):
        return x, x
    if len(x) != 2:
        raise ValueError(f"'x' must be points, or a pair of sources and targets (got {len(x)})")
    return x[0], x[1]


def checked_pair(
    layer: MessagePassing,
    x: Tensor | PairTensor,
    edge_index: Adj,
    channels: int,
    weight: Tensor,
    dim: int | None = None,
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Sources, targets and their numbers; raises for points that are not the layer's.

    ``dim`` is the number of dimensions, :obj:`None` for two or more.
    """
    source, target = sources_and_targets(x)
    manifold: Manifold = layer.manifold
    check_points(source, "x", dim=dim, min_dim=2, width=manifold.ambient_dim(channels))
    check_points(target, "x", dim=dim, min_dim=2, like=source)
    check_weight(source, "x", weight)
    sizes = (source.shape[layer.node_dim], target.shape[layer.node_dim])
    check_edge_index(edge_index, sizes, layer.flow)
    return source, target, sizes
