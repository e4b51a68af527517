r"""Exact k nearest neighbours in the conformal ball, as one custom operator with two engines.

For a fixed query :math:`y` the points are ordered by :math:`\|x - y\|^2 / g_x`
(the distance is increasing in :math:`q = c\|x - y\|^2 / (g_x g_y)`), differences first, never a
Gram matrix. In Euclidean space :math:`g = 1`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from torch_geometric_hyperbolic.typing import WITH_TORCH_CLUSTER

if WITH_TORCH_CLUSTER:
    import torch_cluster

#: Entries of a distance block; bounds the memory of a search (64 MB in float64).
BLOCK = 2**23


@torch.library.custom_op("tgh::knn_table", mutates_args=())
def knn_table(
    points: Tensor,
    gap: Tensor,
    queries: Tensor,
    batch_points: Tensor | None,
    batch_queries: Tensor | None,
    k: int,
    c: Tensor,
    loop: bool,
    engine: str,
) -> Tensor:
    r"""The ``k`` nearest points of each query's own cloud, nearest first.

    Both engines return the same table: equal distances are ordered by index, and rows in which
    rounding could have decided are searched again in float64.

    Args:
        points (torch.Tensor): points of the ball, ``[N, n]``, float32 or float64.
        gap (torch.Tensor): their gaps to the boundary, ``[N, 1]``, float64.
        queries (torch.Tensor): points of the ball, ``[M, n]``.
        batch_points (torch.Tensor, optional): cloud of each point, ``[N]``, sorted.
        batch_queries (torch.Tensor, optional): cloud of each query, ``[M]``, sorted.
        k (int): number of neighbours.
        c (torch.Tensor): 0-dimensional, the curvature is ``-c``.
        loop (bool): whether query ``i`` may have point ``i`` as a neighbour.
        engine (str): ``'dense'`` or ``'torch_cluster'``.

    Returns:
        Indices into ``points``, ``[M, k]``, int64.

    Raises:
        ValueError: if a cloud with queries has fewer than ``k`` points to choose from, or a batch
            vector is not sorted.
    """
    table = queries.new_empty(len(queries), k, dtype=torch.long)
    search = _search_cluster if engine == "torch_cluster" else _search_dense
    clouds = _clouds(len(points), len(queries), batch_points, batch_queries)
    for cloud, (start, stop), (first, last) in clouds:
        if first == last:
            continue
        if stop - start - (not loop) < k:
            others = "" if loop else " other than the query itself"
            raise ValueError(
                f"'k' must be at most the number of points of a cloud{others} "
                f"(got k={k} and {stop - start} points in cloud {cloud})"
            )
        own = slice(start, stop)
        table[first:last] = start + search(points[own], gap[own], queries[first:last], k, c, loop)
    return table


@knn_table.register_fake
def _(points, gap, queries, batch_points, batch_queries, k, c, loop, engine):  # type: ignore
    return queries.new_empty(queries.size(0), k, dtype=torch.long)


Range = tuple[int, int]


def _clouds(
    num_points: int, num_queries: int, batch_points: Tensor | None, batch_queries: Tensor | None
) -> Iterator[tuple[int, Range, Range]]:
    """Each cloud's number, its range of points and its range of queries."""
    ends = []
    size = 1 + max(
        (int(b.max()) for b in (batch_points, batch_queries) if b is not None and len(b)), default=0
    )
    for name, batch, n in (
        ("batch_x", batch_points, num_points),
        ("batch_y", batch_queries, num_queries),
    ):
        if batch is None:
            batch = torch.zeros(n, dtype=torch.long)
        if bool((batch[1:] < batch[:-1]).any()) or (len(batch) and int(batch[0]) < 0):
            raise ValueError(f"'{name}' must be sorted and non-negative")
        counts = torch.bincount(batch, minlength=size)
        ends.append([0, *counts.cumsum(0).tolist()])
    for cloud in range(size):
        yield cloud, (ends[0][cloud], ends[0][cloud + 1]), (ends[1][cloud], ends[1][cloud + 1])


def _search_dense(
    points: Tensor, gap: Tensor, queries: Tensor, k: int, c: Tensor, loop: bool
) -> Tensor:
    """All distances, a block of queries at a time."""
    n = len(points)
    found = []
    for start in range(0, len(queries), max(1, BLOCK // n)):
        block = queries[start : start + max(1, BLOCK // n)]
        keys = torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        keys /= gap.T.to(keys.dtype)
        if not loop:
            own = torch.arange(len(block), device=keys.device)
            keys[own, start + own] = torch.inf
        values, table = keys.topk(min(k + 1, n), largest=False)
        unsure = _has_ties(values, points)
        table = table[:, :k]
        rows = start + unsure.nonzero().squeeze(1)
        table[unsure] = _search_exact(points, gap, queries, rows, k, loop)
        found.append(table)
    return torch.cat(found)


def _has_ties(keys: Tensor, points: Tensor) -> Tensor:
    """Rows of ascending keys in which some neighbours are equal up to rounding."""
    return (keys[:, 1:] - keys[:, :-1] <= _rounding(points) * keys[:, 1:]).any(dim=1)


def _rounding(points: Tensor) -> float:
    """Bound on the relative error of the difference of two keys: a sum of n squares in 8 lanes."""
    return (points.size(1) / 4 + 8) * torch.finfo(points.dtype).eps


def _search_exact(
    points: Tensor, gap: Tensor, queries: Tensor, rows: Tensor, k: int, loop: bool
) -> Tensor:
    """Brute force in float64 for some queries, equal distances in the order of the indices."""
    found = [rows.new_empty(0, k)]
    for block in rows.split(max(1, BLOCK // (len(points) * max(1, points.size(1))))):
        difference = queries[block, None].double() - points.double()
        keys = difference.square_().sum(-1) / gap.T
        if not loop:
            keys[torch.arange(len(block), device=keys.device), block] = torch.inf
        found.append(keys.argsort(dim=1, stable=True)[:, :k])
    return torch.cat(found)


def _search_cluster(
    points: Tensor, gap: Tensor, queries: Tensor, k: int, c: Tensor, loop: bool
) -> Tensor:
    r"""More Euclidean neighbours than needed by torch-cluster, re-ranked and certified.

    Points that were not fetched are at Euclidean distance :math:`t \ge T` of the query, with
    :math:`T` that of the last one fetched, so their key is at least
    :math:`T^2 / (1 - c(\|y\| - T)^2)`, the key of the point at :math:`T` towards the origin.
    Queries whose k-th key is not below that bound are searched exactly.
    """
    n, m = len(points), len(queries)
    fetch = min(n, k + 2 if float(c) == 0 else 2 * k + 2)
    fetched = torch_cluster.knn(points, queries, fetch)[1].view(m, fetch).sort(dim=1).values
    squared = (points[fetched].double() - queries[:, None].double()).square().sum(-1)
    keys = squared / gap[fetched, 0]
    if not loop:
        keys[fetched == torch.arange(m, device=keys.device)[:, None]] = torch.inf
    keys, order = keys.sort(dim=1, stable=True)
    table = fetched.gather(1, order)[:, :k]
    if fetch == n:
        return table
    reach = squared.amax(dim=1).sqrt() * (1 - _rounding(points))
    inward = 1 - c * (queries.double().norm(dim=1) - reach).square()
    bound = torch.where(inward > 0, reach.square() / inward, torch.inf)
    rows = (keys[:, k - 1] >= bound).nonzero().squeeze(1)
    if len(rows):
        table[rows] = _search_exact(points, gap, queries, rows, k, loop)
    return table
