r"""Global pools: one point per cloud or graph."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_manifold, check_points
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr._groups import Groups, as_int64, check_size, groups_of
from torch_geometric_hyperbolic.nn.aggr.frechet_mean import frechet_means
from torch_geometric_hyperbolic.nn.aggr.midpoint import midpoint
from torch_geometric_hyperbolic.nn.aggr.tangent import check_reduction, reduce_vectors


def global_tangent_pool(
    x: Tensor,
    batch: Tensor | None,
    size: int | None = None,
    *,
    manifold: Manifold,
    reduce: str = "mean",
) -> Tensor:
    r""":math:`\exp_0` of the mean, maximum, minimum or sum of each graph's :math:`\log_0`.

    Cost :math:`O(N n)`. With ``size``, or without ``batch``, nothing waits for a GPU and
    ``torch.compile`` leaves no break.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[N, ambient_dim]``.
        batch (torch.Tensor, optional): graph of each point, ``[N]``; :obj:`None` for one graph, or
            for a stack of graphs of one size, ``[..., N, ambient_dim]``.
        size (int, optional): number of graphs in ``batch``. (default: :obj:`None`)
        manifold (Manifold): the space of the points.
        reduce (str, optional): see
            :class:`~torch_geometric_hyperbolic.nn.TangentAggregation`. (default: :obj:`"mean"`)

    Returns:
        One point per graph, ``[size, ambient_dim]``, or ``[..., ambient_dim]`` of a stack; the
        origin for an empty one.

    Raises:
        TypeError, ValueError: naming the argument, for another ``reduce``, a ``manifold`` that is
            no manifold, points or a ``batch`` of another shape or dtype, or, on the CPU, a ``size``
            below what ``batch`` asks for.
        IndexError: on the CPU, if ``batch`` is negative.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
        >>> global_tangent_pool(x, torch.tensor([0, 0]), manifold=PoincareBall())
        tensor([[0., 0.]])
    """
    check_reduction(reduce)
    out = reduce_vectors(x, _graphs(x, batch, size, manifold), None, reduce, manifold)
    return _unstacked(out, batch)


def global_midpoint_pool(
    x: Tensor, batch: Tensor | None, size: int | None = None, *, manifold: Manifold
) -> Tensor:
    r"""The midpoint of each graph's points,
    :class:`~torch_geometric_hyperbolic.nn.MidpointAggregation`.

    Arguments, result and errors as those of :func:`global_tangent_pool`.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import Lorentz
        >>> global_midpoint_pool(Lorentz().origin(3, 2), None, manifold=Lorentz())
        tensor([[1., 0., 0.]])
    """
    return _unstacked(midpoint(x, _graphs(x, batch, size, manifold), None, manifold), batch)


def global_frechet_mean_pool(
    x: Tensor, batch: Tensor | None, size: int | None = None, *, manifold: Manifold
) -> Tensor:
    r"""The Frechet mean of each graph's points,
    :class:`~torch_geometric_hyperbolic.nn.FrechetMeanAggregation`.

    Arguments, result and errors as those of :func:`global_tangent_pool`, but without stacks.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
        >>> global_frechet_mean_pool(x, None, manifold=PoincareBall())
        tensor([[0., 0.]])
    """
    check_points(x, "x", dim=2)
    return frechet_means(x, _graphs(x, batch, size, manifold), None, manifold)


def _graphs(x: Tensor, batch: Tensor | None, size: int | None, manifold: Manifold) -> Groups:
    """The points of each graph."""
    check_manifold(manifold)
    check_points(x, "x", min_dim=2)
    if batch is None:
        one = torch.zeros(x.size(-2), dtype=torch.long, device=x.device)
        return groups_of(x, one, None, 1, -2)
    batch = as_int64(batch, "batch")
    check_size(size, batch, "size")
    if size is None:
        size = int(batch.max()) + 1 if batch.numel() else 0
    return groups_of(x, batch, None, size, -2, "batch")


def _unstacked(out: Tensor, batch: Tensor | None) -> Tensor:
    """As PyG's pools: a stack of graphs without ``batch`` loses the dimension of their points."""
    return out.squeeze(-2) if batch is None and out.dim() > 2 else out
