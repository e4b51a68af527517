"""Pixels of images as rows, copied tile by tile."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

#: Pixels of a tile: a cache line of one channel.
TILE = 16


@compiled
def _to_rows(start, stop, image, rows):
    """Images ``start`` to ``stop``: ``[B, F, N]`` to ``[B, N, F]``."""
    channels, pixels = image.shape[1:]
    for b in range(start, stop):
        for first in range(0, pixels, TILE):
            for f in range(channels):
                for n in range(first, min(first + TILE, pixels)):
                    rows[b, n, f] = image[b, f, n]


def contiguous(x: Tensor) -> Tensor:
    """``x.contiguous()``, several times faster for images ``[B, H, W, F]`` that lie in memory as
    ``[B, F, H, W]``.
    """
    if x.dim() != 4 or x.is_contiguous() or not x.movedim(-1, 1).is_contiguous():
        return x.contiguous()
    rows = torch.empty(x.shape, dtype=x.dtype)
    parallel(_to_rows, len(x), x.movedim(-1, 1).flatten(2), rows.flatten(1, 2))
    return rows
