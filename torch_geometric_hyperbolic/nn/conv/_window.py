r"""Windows described by what isometries leave alone.

Under an isometry of the space all vectors :math:`\operatorname{rel}(x_i, \cdot)` of one node turn
by one common rotation or reflection. A window's description here depends on their inner products
only, so it stays as it is: a vector per window and a vector per edge.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_geometric_hyperbolic.checks import is_readable
from torch_geometric_hyperbolic.geometry._precision import working_dtype
from torch_geometric_hyperbolic.kernels import (
    EdgeVectors,
    group_edges,
    local_coordinates,
    window_lengths,
)
from torch_geometric_hyperbolic.kernels.group_edges import mean_of_targets

#: From vectors grouped by window, the windows' offsets, ``[M + 1]``, and the dtype of points, to
#: the descriptions of windows, ``[M, D]``, and of edges, ``[E, D']``, in that dtype. Where
#: ``D' < D``, what is missing at the end of an edge's description is 0.
Description = Callable[[EdgeVectors, Tensor, torch.dtype], tuple[Tensor, Tensor]]


def in_lengths(v: EdgeVectors, rowptr: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Lengths: see :func:`window_lengths`."""
    of_windows, of_edges = window_lengths(v, rowptr)
    return of_windows.to(dtype), of_edges.to(dtype)


def in_local_frame(v: EdgeVectors, rowptr: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The window's mean and its vectors, in its own frame: see :func:`local_coordinates`.

    A window of ``k`` vectors has at most ``k`` axes: coordinates beyond them are not made.
    """
    channels = rank = v.relative_i.size(1)
    if is_readable(rowptr) and not torch.jit.is_tracing() and rowptr.size(0) > 1:
        # Elsewhere no shapes from values, which would be waited for.
        rank = min(rank, int(rowptr.diff().max()))
    z = local_coordinates(v, rowptr, rank, dtype)
    return pad(mean_of_targets(z, rowptr), (0, channels - rank)), z


def describe_edges(
    describe: Description, v: Tensor, index: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Both descriptions for each edge, ``[E, D]`` and ``[E, D']``; edges in any order."""
    number = torch.arange(v.size(0), device=v.device)
    rowptr, order = group_edges(number, index, v.size(0), size)
    stored = EdgeVectors.stored(v[order], rowptr)
    of_windows, of_edges = describe(stored, rowptr, working_dtype(v))
    of_edges = pad(of_edges, (0, max(0, of_windows.size(1) - of_edges.size(1))))
    return of_windows[index], of_edges[order.argsort()]
