r"""Global pools: one point per cloud or graph."""

from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr import (
    FrechetMeanAggregation,
    MidpointAggregation,
    TangentAggregation,
)


def global_tangent_pool(
    x: Tensor,
    batch: Tensor | None,
    size: int | None = None,
    *,
    manifold: Manifold,
    reduce: str = "mean",
) -> Tensor:
    r""":math:`\exp_0` of the mean, maximum, minimum or sum of each graph's :math:`\log_0`.

    For ``torch.compile(fullgraph=True)`` build the aggregation once and call that: its constructor
    of PyG, which the global pools call every time, breaks the graph.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[N, ambient_dim]``.
        batch (torch.Tensor, optional): graph of each point, ``[N]``; :obj:`None` for one graph.
        size (int, optional): number of graphs. (default: :obj:`None`)
        manifold (Manifold): the space of the points.
        reduce (str, optional): see
            :class:`~torch_geometric_hyperbolic.nn.TangentAggregation`. (default: :obj:`"mean"`)

    Returns:
        One point per graph, ``[size, ambient_dim]``; the origin for an empty one.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
        >>> global_tangent_pool(x, torch.tensor([0, 0]), manifold=PoincareBall())
        tensor([[0., 0.]])
    """
    return TangentAggregation(reduce, manifold=manifold)(x, batch, dim_size=size)


def global_midpoint_pool(
    x: Tensor, batch: Tensor | None, size: int | None = None, *, manifold: Manifold
) -> Tensor:
    r"""The midpoint of each graph's points,
    :class:`~torch_geometric_hyperbolic.nn.MidpointAggregation`.

    Arguments and result as those of :func:`global_tangent_pool`.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import Lorentz
        >>> global_midpoint_pool(Lorentz().origin(3, 2), None, manifold=Lorentz())
        tensor([[1., 0., 0.]])
    """
    return MidpointAggregation(manifold=manifold)(x, batch, dim_size=size)


def global_frechet_mean_pool(
    x: Tensor, batch: Tensor | None, size: int | None = None, *, manifold: Manifold
) -> Tensor:
    r"""The Frechet mean of each graph's points,
    :class:`~torch_geometric_hyperbolic.nn.FrechetMeanAggregation`.

    Arguments and result as those of :func:`global_tangent_pool`.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
        >>> global_frechet_mean_pool(x, None, manifold=PoincareBall())
        tensor([[0., 0.]])
    """
    return FrechetMeanAggregation(manifold=manifold)(x, batch, dim_size=size)
