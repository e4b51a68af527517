r"""Exact k nearest neighbours in the conformal ball, as one custom operator with three engines.

For a fixed query :math:`y` the points are ordered by :math:`\|x - y\|^2 / g_x`
(the distance is increasing in :math:`q = c\|x - y\|^2 / (g_x g_y)`), differences first, in float64.
Where rougher keys choose the candidates, what they lose is bounded. In Euclidean space
:math:`g = 1`.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_sorted
from torch_geometric_hyperbolic.kernels._cloud_search import (
    rounding,
    search_cluster,
    search_dense,
    underflow,
)
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TORCH_CLUSTER, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import knn as loops
    from torch_geometric_hyperbolic.kernels._cpu import rough_keys
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import knn as triton_knn

#: torch-cluster's tree is faster than compiled loops from so many points per channel in flat
#: space, three times as many on the ball, and than dense below so many channels (notes/graphs).
TREE_POINTS, TREE_CHANNELS = 5500, 8
#: Where the largest gap is more times the smallest, Euclidean neighbours are too often others.
TREE_SPREAD = 4


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
    clouds: int = 1,
) -> Tensor:
    r"""The ``k`` nearest points of each query's own cloud, nearest first.

    All engines return the same table, that of the keys in float64, summed coordinate by
    coordinate: equal keys are ordered by index, NaN is farthest. Where rounding in the points' own
    dtype could have decided, the float64 keys are compared.

    Args:
        points (torch.Tensor): points of the ball, ``[N, n]``, float32 or float64.
        gap (torch.Tensor): their gaps to the boundary, ``[N, 1]``, float64.
        queries (torch.Tensor): points of the ball, ``[M, n]``.
        batch_points (torch.Tensor, optional): cloud of each point, ``[N]``, sorted.
        batch_queries (torch.Tensor, optional): cloud of each query, ``[M]``, sorted.
        k (int): number of neighbours.
        c (torch.Tensor): 0-dimensional, the curvature is ``-c``.
        loop (bool): whether query ``i`` may have point ``i`` as a neighbour.
        engine (str): ``'dense'``, ``'torch_cluster'``, ``'fused'``, or ``'auto'``, whose choice
            depends on the sizes of the clouds.
        clouds (int): without batch vectors, the number of clouds, all of one size.

    Returns:
        Indices into ``points``, ``[M, k]``, int64.

    Raises:
        ValueError: if a cloud with queries has fewer than ``k`` points to choose from, or a batch
            vector is not sorted.
    """
    ptr, cuts = _pointers(queries, len(points), batch_points, batch_queries, clouds)
    found = []
    for cloud, (start, stop, first, last) in enumerate(cuts):
        if first == last:
            continue
        if stop - start - (not loop) < k:
            others = "" if loop else " other than the query itself"
            raise ValueError(
                f"'k' must be at most the number of points of a cloud{others} "
                f"(got k={k} and {stop - start} points in cloud {cloud})"
            )
        found.append((start, slice(start, stop), slice(first, last)))
    table = queries.new_empty(len(queries), k, dtype=torch.long)
    largest = max((own.stop - own.start for _, own, _ in found), default=0)
    if engine == "auto":
        engine = _fastest(points, gap, c, largest)
    if engine == "fused" and (not points.is_cuda or k <= triton_knn.MOST):
        if found:
            search_all = _search_on_gpu if points.is_cuda else _search_fused
            search_all(points, gap, queries, ptr, largest, loop, table)
        return table
    for start, own, asked in found:
        given = (points[own], gap[own], queries[asked], k, loop)
        near = search_cluster(*given, c) if engine == "torch_cluster" else search_dense(*given)
        table[asked] = start + near
    return table


@knn_table.register_fake
def _(points, gap, queries, batch_points, batch_queries, k, c, loop, engine, clouds=1):  # type: ignore
    return queries.new_empty(queries.size(0), k, dtype=torch.long)


def _pointers(
    queries: Tensor,
    num_points: int,
    batch_points: Tensor | None,
    batch_queries: Tensor | None,
    clouds: int,
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Where each cloud's points and queries start and stop, ``[2, B + 1]``, and the same as numbers
    cloud by cloud. Without batch vectors no device is asked for anything.
    """
    if batch_points is None and batch_queries is None:
        sizes = (num_points // clouds, len(queries) // clouds)
        number = torch.arange(clouds + 1, device=queries.device)
        ptr = torch.stack([size * number for size in sizes])
        starts = [[size * cloud for cloud in range(clouds + 1)] for size in sizes]
    else:
        batches = [
            queries.new_zeros(num, dtype=torch.long) if batch is None else batch.long()
            for num, batch in ((num_points, batch_points), (len(queries), batch_queries))
        ]
        one = batch_points is batch_queries
        looks = torch.stack([_look_at(batch) for batch in batches]).tolist()
        names = ("batch_x", "batch_y")
        for name, batch, (first, _, falls) in zip(names, batches, looks, strict=True):
            if falls or first < 0:
                check_sorted(batch, "batch" if one else name)
        number = torch.arange(max(last for _, last, _ in looks) + 2, device=queries.device)
        ptr = torch.stack([torch.searchsorted(batch.contiguous(), number) for batch in batches])
        starts = ptr.tolist()
    points, asked = starts
    return ptr, list(zip(points[:-1], points[1:], asked[:-1], asked[1:], strict=True))


def _look_at(batch: Tensor) -> Tensor:
    """The first cloud, the last, and whether they fall in between."""
    if not len(batch):
        return batch.new_zeros(3)
    return torch.stack([batch[0], batch[-1], (batch[1:] < batch[:-1]).any().long()])


def _fastest(points: Tensor, gap: Tensor, c: Tensor, largest: int) -> str:
    """The engine for points of this device and dimension, and clouds of that many points."""
    channels = points.size(1)
    if points.device.type != "cpu":
        return "fused" if points.is_cuda and WITH_TRITON else "dense"
    many = TREE_POINTS * channels * (1 if float(c) == 0 else 3) if WITH_NUMBA else 0
    large = WITH_TORCH_CLUSTER and channels < TREE_CHANNELS and largest >= max(many, 1)
    if large and bool(gap.max() <= TREE_SPREAD * gap.min()):
        return "torch_cluster"
    return "fused" if WITH_NUMBA else "dense"


def _search_on_gpu(
    points: Tensor,
    gap: Tensor,
    queries: Tensor,
    ptr: Tensor,
    largest: int,
    loop: bool,
    table: Tensor,
) -> None:
    """All clouds at once by a Triton kernel."""
    number = torch.arange(len(queries), device=queries.device)
    cloud = torch.searchsorted(ptr[1], number, right=True) - 1
    triton_knn.search(points, gap[:, 0], queries, cloud, ptr[0], largest, loop, table)


def _search_fused(
    points: Tensor,
    gap: Tensor,
    queries: Tensor,
    ptr: Tensor,
    largest: int,
    loop: bool,
    table: Tensor,
) -> None:
    """All clouds at once by compiled loops."""
    ends, starts = ptr
    sizes, asked = ptr.diff()
    least, few, many = loops.LANES
    enough = max(least, 1 << (largest - 1).bit_length())
    lanes = many if largest > many // 2 else min(few, enough)
    how, loosen = rough_keys.rough_keys(points, gap, queries, ends, starts, lanes)
    rough = how.queries
    parallel(
        loops.search, int((sizes * asked).sum()), ends, starts, how, lanes, points, gap[:, 0],
        queries, loosen, table.size(1), loop, 1 + 4 * rounding(rough),
        float(underflow(rough, gap)), table, always=True,
    )  # fmt: skip
