"""How kernels are started, and what they all do: read rows of matrices."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def launch(
    kernel: Any, programs: int, *args: Any, in_order: bool = False, **constants: Any
) -> None:
    """Run ``programs`` programs of a kernel on the device of the first argument.

    Tensors are handed over contiguous: those that are written to must be contiguous themselves.
    Products may join sums, rounded once, as in the loops for the CPU, unless all is to be computed
    ``in_order``.
    """
    contiguous = [arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args]
    if programs > 0:
        with torch.cuda.device_of(args[0]):
            kernel[(programs,)](*contiguous, **constants, enable_fp_fusion=not in_order)


def tile(channels: int) -> dict[str, Any]:
    """Edges that a program takes at a time, all their channels, and its number of warps.

    Eight numbers per thread: enough rows are read at once to hide the latency of memory, and few
    enough to stay in registers.
    """
    width = triton.next_power_of_2(max(1, channels))
    warps = max(1, min(width // 64, 16))
    edges = max(1, min(256 * warps // width, 16))
    return {"WIDTH": width, "EDGES": edges, "num_warps": warps}


def rows_at_a_time(channels: int) -> dict[str, Any]:
    """Rows that a program takes where rows have nothing to do with each other, and its warps."""
    width = triton.next_power_of_2(max(1, channels))
    warps = max(1, min(width // 128, 16))
    return {"WIDTH": width, "ROWS": max(1, 256 * warps // width), "num_warps": warps}


@triton.jit
def _targets(rowptr, target, EDGES: tl.constexpr):
    i = tl.program_id(0).to(tl.int64)
    stop = tl.load(rowptr + i + 1)
    for first in range(tl.load(rowptr + i), stop, EDGES):
        e = first + tl.arange(0, EDGES)
        tl.store(target + e, i, mask=e < stop)


def targets_of_edges(rowptr: Tensor, num_edges: int) -> Tensor:
    """Target of each edge, ``[E]``; does not wait for the device."""
    target = rowptr.new_empty(num_edges)
    launch(_targets, len(rowptr) - 1, rowptr, target, EDGES=32, num_warps=1)
    return target


def by_source(rowptr: Tensor, col: Tensor, num_sources: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edges in the order of their sources: offsets of each source, edge, and its target."""
    source, order = col.sort(stable=True)
    number = torch.arange(num_sources + 1, dtype=col.dtype, device=col.device)
    colptr = torch.searchsorted(source, number)
    return colptr, order, targets_of_edges(rowptr, len(col))[order]


@triton.jit
def row(matrix, index, channels, WIDTH: tl.constexpr):
    """One row, ``[1, WIDTH]``, 0 beyond the channels."""
    channel = tl.arange(0, WIDTH)[None, :]
    return tl.load(matrix + index * channels + channel, mask=channel < channels, other=0)


@triton.jit
def rows(matrix, index, valid, first, channels, WIDTH: tl.constexpr):
    """Channels from ``first`` of some rows, ``[len(index), WIDTH]``, 0 beyond and where invalid."""
    channel = first + tl.arange(0, WIDTH)[None, :]
    place = matrix + index.to(tl.int64)[:, None] * channels + channel
    return tl.load(place, mask=valid[:, None] & (channel < channels), other=0)


@triton.jit
def set_rows(matrix, index, valid, first, channels, value, WIDTH: tl.constexpr):
    """Write channels from ``first`` of some rows, ``[len(index), WIDTH]``."""
    channel = first + tl.arange(0, WIDTH)[None, :]
    place = matrix + index.to(tl.int64)[:, None] * channels + channel
    tl.store(place, value, mask=valid[:, None] & (channel < channels))


@triton.jit
def set_row(matrix, index, channels, value, WIDTH: tl.constexpr):
    """Write one row, ``[1, WIDTH]``."""
    channel = tl.arange(0, WIDTH)[None, :]
    tl.store(matrix + index * channels + channel, value, mask=channel < channels)
