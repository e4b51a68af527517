r"""Nearest-neighbour graphs by a manifold's own distance."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import (
    check_batch,
    check_counts,
    check_manifold,
    check_points,
    num_clouds,
)
from torch_geometric_hyperbolic.geometry._precision import lift
from torch_geometric_hyperbolic.kernels import knn_table, to_ball
from torch_geometric_hyperbolic.kernels.dispatch import installed_engine
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.typing import WITH_TORCH_CLUSTER

ENGINES = ("auto", "dense", "fused", "torch_cluster")


def knn(
    x: Tensor,
    y: Tensor,
    k: int,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
    cosine: bool = False,
    num_workers: int = 1,
    *,
    manifold: Manifold,
    engine: str = "auto",
    batch_size: int | None = None,
) -> Tensor:
    r"""For each point of ``y`` the ``k`` nearest points of ``x`` in the same cloud.

    Exactly ``k`` per query, by geodesic distance, nearest first; equal distances are ordered by
    index. Euclidean neighbours of ball coordinates are a different, wrong graph. Not
    differentiable.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[N, ambient_dim]``.
        y (torch.Tensor): points on ``manifold``, ``[M, ambient_dim]``.
        k (int): number of neighbours.
        batch_x (torch.Tensor, optional): cloud of each point of ``x``, ``[N]``, sorted.
        batch_y (torch.Tensor, optional): cloud of each point of ``y``, ``[M]``, sorted.
        cosine (bool, optional): part of PyG's signature; only the manifold's distance is offered.
            (default: :obj:`False`)
        num_workers (int, optional): part of PyG's signature, but not used: the search runs on as
            many threads as PyTorch does. (default: :obj:`1`)
        manifold (Manifold): the space the points live in.
        engine (str, optional): ``'fused'`` (all distances in compiled loops, memory of one row per
            query at work; needs numba, or Triton on a GPU), ``'dense'`` (all distances, blocks of
            bounded memory; both :math:`O(MNn)` time), ``'torch_cluster'`` (its tree finds Euclidean
            candidates, which are re-ranked exactly; needs torch-cluster), or ``'auto'`` by
            dimension and size. All give the same neighbours. (default: :obj:`'auto'`)
        batch_size (int, optional): number of clouds. Without batch vectors the clouds are all of
            one size, and nothing waits for a GPU; with them it is not needed.
            (default: :obj:`None`)

    Returns:
        ``[2, M * k]``, the query's index in ``y`` above the neighbour's index in ``x``, as
        ``torch_cluster.knn`` returns it.

    Raises:
        TypeError: for points of another dtype, numbers that are no integers, or no manifold.
        ValueError: if ``k`` exceeds the number of points of a cloud that has queries, a batch
            vector is not sorted, clouds are not ``batch_size``, there is no such ``engine``, or
            ``cosine`` is set.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.0], [0.1], [0.8]])
        >>> knn(x, torch.tensor([[0.7]]), k=2, manifold=PoincareBall())
        tensor([[0, 0],
                [2, 1]])
    """
    _check_cosine(cosine)
    table = neighbour_table(
        x, y, k, batch_x, batch_y, manifold, engine=engine, batch_size=batch_size
    )
    return torch.stack([_queries(table), table.flatten()])


def knn_graph(
    x: Tensor,
    k: int,
    batch: Tensor | None = None,
    loop: bool = False,
    flow: str = "source_to_target",
    cosine: bool = False,
    num_workers: int = 1,
    *,
    manifold: Manifold,
    engine: str = "auto",
    batch_size: int | None = None,
) -> Tensor:
    r"""The graph that connects each point to its ``k`` nearest points of the same cloud.

    Every node has exactly ``k`` neighbours, even if some points are duplicates. Cost as for
    :func:`knn`.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[N, ambient_dim]``.
        k (int): number of neighbours.
        batch (torch.Tensor, optional): cloud of each point, ``[N]``, sorted.
        loop (bool, optional): whether a point may be its own neighbour. (default: :obj:`False`)
        flow (str, optional): ``'source_to_target'`` puts the neighbours in the first row,
            ``'target_to_source'`` in the second. (default: :obj:`'source_to_target'`)
        cosine (bool, optional): see :func:`knn`. (default: :obj:`False`)
        num_workers (int, optional): see :func:`knn`. (default: :obj:`1`)
        manifold (Manifold): the space the points live in.
        engine (str, optional): see :func:`knn`. (default: :obj:`'auto'`)
        batch_size (int, optional): see :func:`knn`. (default: :obj:`None`)

    Returns:
        ``edge_index``, ``[2, N * k]``.

    Raises:
        TypeError: as for :func:`knn`.
        ValueError: if ``k`` exceeds the number of (other) points of a cloud, for another ``flow``,
            and as for :func:`knn`.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> knn_graph(torch.tensor([[0.0], [0.1], [0.8]]), k=1, manifold=PoincareBall())
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """
    if flow not in ("source_to_target", "target_to_source"):
        raise ValueError(f"'flow' must be 'source_to_target' or 'target_to_source' (got {flow!r})")
    _check_cosine(cosine)
    table = neighbour_table(
        x, x, k, batch, batch, manifold, loop=loop, engine=engine, batch_size=batch_size
    )
    pair = [table.flatten(), _queries(table)]
    return torch.stack(pair if flow == "source_to_target" else pair[::-1])


@torch.no_grad()
def neighbour_table(
    x: Tensor,
    y: Tensor,
    k: int,
    batch_x: Tensor | None,
    batch_y: Tensor | None,
    manifold: Manifold,
    loop: bool = True,
    engine: str = "auto",
    batch_size: int | None = None,
) -> Tensor:
    """The table of neighbours, ``[M, k]``."""
    check_manifold(manifold)
    check_counts(k=k)
    check_points(x, "x", dim=2)
    check_points(y, "y", dim=2, like=x)
    check_batch(batch_x, "batch" if batch_x is batch_y else "batch_x", x)
    check_batch(batch_y, "batch_y", y)
    clouds = num_clouds(batch_size, batch_x, x)
    num_clouds(batch_size, batch_y, y)  # as many, or an error
    check_engine(engine)
    if engine == "torch_cluster" and not WITH_TORCH_CLUSTER:
        raise ValueError("'engine' is 'torch_cluster', but torch-cluster is not installed")
    if engine == "fused" and installed_engine(x) is None:
        needed = {"cpu": "numba", "cuda": "Triton"}.get(x.device.type)
        missing = f"{needed} is not installed" if needed else f"there is none for {x.device}"
        raise ValueError(f"'engine' is 'fused', but {missing}")
    lifted = lift(x, "x")  # in flat space too
    points, gap = to_ball(lifted, manifold)
    queries = points if y is x else to_ball(y.to(lifted.dtype), manifold)[0]
    c = manifold.c
    if not isinstance(c, Tensor):  # on the CPU, whatever the default: the engines look at it
        c = torch.tensor(c, dtype=torch.float64, device="cpu")
    return knn_table(points, gap, queries, batch_x, batch_y, k, c, loop, engine, clouds)


def check_engine(engine: str) -> None:
    """Raise a :class:`ValueError` unless there is such a search, installed or not."""
    if engine not in ENGINES:
        raise ValueError(f"'engine' must be one of {ENGINES} (got {engine!r})")


def _check_cosine(cosine: bool) -> None:
    if cosine:
        raise ValueError(f"'cosine' must be False: distances are the manifold's (got {cosine})")


def _queries(table: Tensor) -> Tensor:
    """The query of each entry of a flattened table, ``[M * k]``."""
    return torch.arange(table.size(0), device=table.device).repeat_interleave(table.size(1))


def as_offsets(table: Tensor) -> tuple[Tensor, Tensor]:
    """A table of neighbours as edges grouped by their targets: offsets ``[M + 1]``, sources."""
    size, k = table.shape
    return torch.arange(size + 1, device=table.device) * k, table.flatten()
