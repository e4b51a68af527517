"""Farthest points: a program chooses all points of its cloud, whose distances stay in registers."""

import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._triton.launch import launch

#: Most points of a cloud.
MOST = 8192


@triton.jit(do_not_specialize=["total"])
def _choose(points, gap, near, ptr, out_ptr, out, total, channels, TILE: tl.constexpr):
    """``points`` are channels by points, ``[channels, total]``."""
    cloud = tl.program_id(0)
    stop = tl.load(ptr + cloud + 1)
    i = tl.load(ptr + cloud) + tl.arange(0, TILE)
    valid = i < stop
    closest = tl.load(near + i, mask=valid, other=-1)
    g = tl.load(gap + i, mask=valid, other=1)
    for place in range(tl.load(out_ptr + cloud), tl.load(out_ptr + cloud + 1)):
        farthest = tl.max(closest, axis=0)
        last = tl.min(tl.where(closest == farthest, i, stop), axis=0)
        tl.store(out + place, last)
        squared = tl.zeros([TILE], tl.float64)
        row = points  # goes on by a channel at a time: their product may be beyond int32
        for _ in range(channels):
            d = tl.load(row + i, mask=valid, other=0) - tl.load(row + last)
            squared += d * d
            row += total
        key = squared / (g * tl.load(gap + last))
        closest = tl.where(key < closest, key, closest)
        closest = tl.where(i == last, -1.0, closest)


def choose(
    points: Tensor, gap: Tensor, near: Tensor, ptr: Tensor, out_ptr: Tensor, most: int, out: Tensor
) -> None:
    """Writes ``out``, clouds having ``most`` points or fewer; see the loops for the CPU."""
    size = max(32, triton.next_power_of_2(most))
    by_channel = points.double().t()
    given = (by_channel, gap, near, ptr, out_ptr, out, len(points), points.size(1))
    warps = max(1, min(size // 256, 16))
    launch(_choose, len(ptr) - 1, *given, TILE=size, num_warps=warps, in_order=True)
