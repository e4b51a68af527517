r"""Farthest points of clouds in the conformal ball.

The distance is increasing in :math:`q = c\|x - y\|^2 / (g_x g_y)`; the origin has the gap 1. In
Euclidean space all gaps are 1.
"""

import math

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_sorted
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import farthest
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import farthest as triton_farthest


def farthest_points_reference(
    points: Tensor,
    gap: Tensor,
    batch: Tensor | None,
    ratio: float,
    clouds: int = 1,
    keys: Tensor | None = None,
) -> Tensor:
    """:func:`farthest_points` in plain PyTorch, all clouds side by side."""
    ptr, out_ptr, most, _ = _pointers(points, batch, ratio, clouds)
    sizes, counts = ptr.diff(), out_ptr.diff()
    place = torch.arange(most, device=points.device)
    index = (ptr[:-1, None] + place) * (place < sizes[:, None])  # [B, P]
    x, g = points.double()[index], gap[index, 0]
    near = _first_keys(points, gap, keys)[index].masked_fill(place >= sizes[:, None], -1)
    cloud, chosen = torch.arange(len(sizes), device=points.device), []
    for _ in range(int(counts.max())):
        farthest = near == near.max(dim=1, keepdim=True).values
        last = farthest.to(torch.uint8).argmax(dim=1)  # the first of them
        chosen.append(ptr[:-1] + last)
        squared = near.new_zeros(())
        for row in x.unbind(-1):
            squared = squared + (row - row[cloud, last, None]).square()
        key = squared / (g * g[cloud, last, None])
        near = torch.where(key < near, key, near)
        near[cloud, last] = -1
    taken = torch.arange(len(chosen), device=points.device) < counts[:, None]
    return torch.stack(chosen, dim=1)[taken] if chosen else ptr.new_empty(0)


@torch.library.custom_op("tgh::farthest_points", mutates_args=())
def farthest_points(
    points: Tensor,
    gap: Tensor,
    batch: Tensor | None,
    ratio: float,
    clouds: int = 1,
    keys: Tensor | None = None,
) -> Tensor:
    """Indices of points, each as far as can be from the origin and the ones before it.

    All distances in float64, equal ones in the order of the indices, NaN as zero.

    Args:
        points (torch.Tensor): points of the ball, ``[N, n]``.
        gap (torch.Tensor): their gaps to the boundary, ``[N, 1]``, float64.
        batch (torch.Tensor, optional): cloud of each point, ``[N]``, sorted.
        ratio (float): share of each cloud's points, rounded up.
        clouds (int): without ``batch``, the number of clouds, all of one size.
        keys (torch.Tensor, optional): of every point's distance to what stands in place of the
            origin, not negative, ``[N]``, float64.

    Returns:
        Indices into ``points``, ``[M]``, int64, cloud by cloud. :math:`O(P^2 n)` time for a cloud
        of ``P`` points.

    Raises:
        ValueError: if ``batch`` is not sorted, or negative.
    """
    return farthest_points_reference(points, gap, batch, ratio, clouds, keys)


@farthest_points.register_fake
def _(points, gap, batch, ratio, clouds=1, keys=None):  # type: ignore[no-untyped-def]
    if batch is None:
        size = clouds * math.ceil(ratio * (points.size(0) // clouds))
    else:
        size = torch.library.get_ctx().new_dynamic_size()
    return points.new_empty(size, dtype=torch.long)


def _pointers(
    points: Tensor, batch: Tensor | None, ratio: float, clouds: int
) -> tuple[Tensor, Tensor, int, int]:
    """Where the points of each cloud start, and its chosen ones, ``[B + 1]``; the points of the
    largest cloud and the number of chosen ones. Without ``batch`` no device is asked for anything.
    """
    if batch is None:
        size = len(points) // clouds
        chosen = math.ceil(ratio * size)
        number = torch.arange(clouds + 1, device=points.device)
        return size * number, chosen * number, size, clouds * chosen
    batch = batch.long()
    check_sorted(batch, "batch")
    sizes = torch.bincount(batch, minlength=1)
    counts = (ratio * sizes.double()).ceil().long()
    start = sizes.new_zeros(1)
    ptr, out_ptr = torch.cat([start, sizes.cumsum(0)]), torch.cat([start, counts.cumsum(0)])
    most, total = torch.stack([sizes.max(), out_ptr[-1]]).tolist()
    return ptr, out_ptr, most, total


def _first_keys(points: Tensor, gap: Tensor, keys: Tensor | None) -> Tensor:
    """Keys of the distances to the origin, ``[N]``, unless others are given."""
    if keys is None:
        keys = points.double().square().sum(dim=1) / gap[:, 0]
    return keys.nan_to_num(0.0, torch.inf)


if WITH_NUMBA:

    @farthest_points.register_kernel("cpu")
    def _farthest_points_cpu(
        points: Tensor,
        gap: Tensor,
        batch: Tensor | None,
        ratio: float,
        clouds: int = 1,
        keys: Tensor | None = None,
    ) -> Tensor:
        ptr, out_ptr, _, chosen = _pointers(points, batch, ratio, clouds)
        out = ptr.new_empty(chosen)
        parallel(
            farthest.choose, len(ptr) - 1, ptr, out_ptr, points.double().T, gap[:, 0],
            _first_keys(points, gap, keys), out, always=True,
        )  # fmt: skip
        return out


if WITH_TRITON:

    @farthest_points.register_kernel("cuda")
    def _farthest_points_cuda(
        points: Tensor,
        gap: Tensor,
        batch: Tensor | None,
        ratio: float,
        clouds: int = 1,
        keys: Tensor | None = None,
    ) -> Tensor:
        ptr, out_ptr, most, chosen = _pointers(points, batch, ratio, clouds)
        if most > triton_farthest.MOST:
            return farthest_points_reference(points, gap, batch, ratio, clouds, keys)
        out = ptr.new_empty(chosen)
        near = _first_keys(points, gap, keys)
        triton_farthest.choose(points, gap[:, 0], near, ptr, out_ptr, most, out)
        return out
