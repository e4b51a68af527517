r"""Nearest neighbours: a program goes through the cloud of its query, a tile of points at a time.

The keys :math:`\|x - y\|^2 / g_x` of a tile stay in registers. Its smallest one replaces the
largest of those that are kept, for as long as it is smaller.
"""

import triton
import triton.language as tl
from torch import Tensor

from torch_geometric_hyperbolic.kernels._triton.launch import launch

#: Most neighbours.
MOST = 1024
#: Points of a tile: of 256, 512 and 1024 the fewest were the fastest on an H200.
TILE = 256
#: In place of an index: of a neighbour that is still missing (a slot's number is added), and of
#: what is none. Keys that are equal are ordered by index, so every point comes before these.
MISSING, NONE = tl.constexpr(2**31 - 1 - MOST), tl.constexpr(2**31 - 1)


@triton.jit
def _first(key, index):
    """The smallest key, and of equals the smallest index."""
    smallest = tl.min(key, axis=0)
    return smallest, tl.min(tl.where(key == smallest, index, NONE), axis=0)


@triton.jit
def _last(key, index):
    """The largest key, and of equals the largest index."""
    largest = tl.max(key, axis=0)
    return largest, tl.max(tl.where(key == largest, index, -1), axis=0)


@triton.jit
def _before(key, index, other_key, other_index):
    return (key < other_key) | ((key == other_key) & (index < other_index))


@triton.jit
def _keys(points, gap, queries, query, i, valid, total, channels, TILE: tl.constexpr):
    """Keys of some points, NaN as infinity."""
    squared = tl.zeros([TILE], tl.float64)
    place = points + i  # goes on by a channel at a time: their product may be beyond int32
    for channel in range(channels):
        x = tl.load(place, mask=valid, other=0).to(tl.float64)
        d = tl.load(queries + query * channels + channel).to(tl.float64) - x
        squared += d * d
        place += total
    key = squared / tl.load(gap + i, mask=valid, other=1)
    return tl.where(valid & (key == key), key, float("inf"))


@triton.jit(do_not_specialize=["total"])
def _nearest(
    points, gap, queries, cloud, ptr, table, total, channels, k,
    LOOP: tl.constexpr, SLOTS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """``points`` are channels by points, ``[channels, total]``."""
    query = tl.program_id(0).to(tl.int64)
    own = tl.load(cloud + query)
    slot = tl.arange(0, SLOTS)
    wanted = slot < k  # the other slots hold what nothing replaces
    best = tl.where(wanted, float("inf"), -float("inf")).to(tl.float64)
    which = tl.where(wanted, MISSING + slot, -1)
    worst, last = _last(best, which)
    stop = tl.load(ptr + own + 1).to(tl.int32)
    for first in range(tl.load(ptr + own).to(tl.int32), stop, TILE):
        i = first + tl.arange(0, TILE)
        valid = i < stop
        if not LOOP:
            valid &= i != query
        key = _keys(points, gap, queries, query, i, valid, total, channels, TILE)
        index = tl.where(valid, i, NONE)
        smallest, found = _first(key, index)
        while _before(smallest, found, worst, last):
            best = tl.where(which == last, smallest, best)
            which = tl.where(which == last, found, which)
            worst, last = _last(best, which)
            key = tl.where(index == found, float("inf"), key)
            index = tl.where(index == found, NONE, index)
            smallest, found = _first(key, index)
    best = tl.where(wanted, best, float("inf"))
    which = tl.where(wanted, which, NONE)
    for place in range(k):
        _, found = _first(best, which)
        tl.store(table + query * k + place, found)
        best = tl.where(which == found, float("inf"), best)
        which = tl.where(which == found, NONE, which)


def search(
    points: Tensor, gap: Tensor, queries: Tensor, cloud: Tensor, ptr: Tensor, most: int, loop: bool,
    table: Tensor,
) -> None:  # fmt: skip
    """Writes ``table``; ``cloud`` is that of each query, whose points, ``most`` or fewer, start and
    stop at ``ptr``.
    """
    k = table.size(1)
    sizes = {
        "SLOTS": max(2, triton.next_power_of_2(k)),
        "TILE": max(32, min(TILE, triton.next_power_of_2(most))),
    }
    given = (points.t(), gap, queries, cloud, ptr, table, len(points), points.size(1), k)
    launch(_nearest, len(queries), *given, LOOP=loop, num_warps=1, in_order=True, **sizes)
