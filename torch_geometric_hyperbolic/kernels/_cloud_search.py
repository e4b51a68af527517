"""The nearest neighbours in one cloud, by PyTorch or torch-cluster: see :func:`knn_table`."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.typing import WITH_TORCH_CLUSTER

if WITH_TORCH_CLUSTER:
    import torch_cluster

#: Entries of a distance block; bounds the memory of a search (64 MB in float64).
BLOCK = 2**23


def search_dense(points: Tensor, gap: Tensor, queries: Tensor, k: int, loop: bool) -> Tensor:
    """All distances, a block of queries at a time."""
    n = len(points)
    step = max(1, BLOCK // n)
    found = []
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        rows = torch.arange(start, start + len(block), device=queries.device)
        keys = torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        keys /= gap.T.to(keys.dtype)
        values, table = _set_back(keys, rows, loop).topk(min(k + 1, n), largest=False)
        table = table[:, :k]
        unsure = _has_ties(values, points, gap)
        table[unsure] = _search_exact(points, gap, queries, rows[unsure], k, loop)
        found.append(table)
    return torch.cat(found)


def _set_back(keys: Tensor, own: Tensor, loop: bool) -> Tensor:
    """NaN as far as infinity; without loops a query's own point behind everything, as NaN sorts."""
    keys = keys.nan_to_num_(nan=torch.inf, posinf=torch.inf)
    if not loop:
        keys[torch.arange(len(keys), device=keys.device), own] = torch.nan
    return keys


def _has_ties(keys: Tensor, points: Tensor, gap: Tensor) -> Tensor:
    """Rows of ascending keys in which some neighbours are equal up to rounding."""
    apart = rounding(points) * keys[:, 1:] + underflow(points, gap)
    return ~(keys[:, 1:] - keys[:, :-1] > apart).all(dim=1)


def rounding(points: Tensor) -> float:
    """Bound on the relative error of the difference of two keys: a sum of n squares in 8 lanes."""
    return (points.size(1) / 4 + 8) * torch.finfo(points.dtype).eps


def underflow(points: Tensor, gap: Tensor) -> Tensor:
    """Bound on what underflow changes in the difference of two keys."""
    tiny = 4 * (points.size(1) + 1) * torch.finfo(points.dtype).tiny
    return tiny * (1 + gap.nan_to_num(1.0).min().reciprocal())


def _squared(points: Tensor, queries: Tensor) -> Tensor:
    """Squared distances in float64, coordinate by coordinate: so all engines round alike."""
    squared = torch.zeros((), dtype=torch.float64, device=points.device)
    squared = squared.expand(torch.broadcast_shapes(points.shape[:-1], queries.shape[:-1])).clone()
    for x, y in zip(points.unbind(-1), queries.unbind(-1), strict=True):
        squared += (y.double() - x.double()).square_()
    return squared


def _search_exact(
    points: Tensor, gap: Tensor, queries: Tensor, rows: Tensor, k: int, loop: bool
) -> Tensor:
    """Brute force in float64 for some queries, equal distances in the order of the indices."""
    found = [rows.new_empty(0, k)]
    for block in rows.split(max(1, BLOCK // len(points))):
        keys = _squared(points, queries[block, None]) / gap.T
        found.append(_set_back(keys, block, loop).argsort(dim=1, stable=True)[:, :k])
    return torch.cat(found)


def search_cluster(
    points: Tensor, gap: Tensor, queries: Tensor, k: int, loop: bool, c: Tensor
) -> Tensor:
    r"""More Euclidean neighbours than needed by torch-cluster, re-ranked and certified.

    Points that were not fetched are at Euclidean distance :math:`t \ge T` of the query, with
    :math:`T` that of the last one fetched, so their key is at least
    :math:`T^2 / (1 - c(\|y\| - T)^2)`, the key of the point at :math:`T` towards the origin.
    Queries whose k-th key is not below that bound are searched exactly.
    """
    n, m = len(points), len(queries)
    own = torch.arange(m, device=queries.device)
    if points.size(1) == 0 or not bool(points.isfinite().all() and queries.isfinite().all()):
        return _search_exact(points, gap, queries, own, k, loop)  # no tree without coordinates
    fetch = min(n, k + 2 if float(c) == 0 else 2 * k + 2)
    fetched = torch_cluster.knn(points, queries, fetch)[1]
    if len(fetched) < m * fetch:  # the tree leaves out points whose distance overflows
        return _search_exact(points, gap, queries, own, k, loop)
    fetched = fetched.view(m, fetch).sort(dim=1).values
    squared = _squared(points[fetched], queries[:, None])
    keys = squared / gap[fetched, 0]
    if not loop:
        keys[fetched == own[:, None]] = torch.inf
    keys, order = keys.sort(dim=1, stable=True)
    table = fetched.gather(1, order)[:, :k]
    if fetch == n:
        return table
    reach = (squared.amax(dim=1) - underflow(points, gap)).relu().sqrt() * (1 - rounding(points))
    inward = 1 - c * (queries.double().norm(dim=1) - reach).square()
    bound = torch.where(inward > 0, reach.square() / inward, torch.inf)
    rows = (~(keys[:, k - 1] < bound)).nonzero().squeeze(1)
    if len(rows):
        table[rows] = _search_exact(points, gap, queries, rows, k, loop)
    return table
