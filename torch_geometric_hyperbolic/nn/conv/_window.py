r"""Windows described by what isometries leave alone.

Under an isometry of the space all vectors :math:`\operatorname{rel}(x_i, \cdot)` of one node turn
by one common rotation or reflection. A window's description here depends on their inner products
only, so it stays as it is: a vector per window and a vector per edge.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from torch_geometric_hyperbolic.geometry._numerics import working_dtype
from torch_geometric_hyperbolic.kernels import (
    EdgeVectors,
    edge_coefficients,
    group_edges,
    linear_max,
    local_coordinates,
    to_ball,
)
from torch_geometric_hyperbolic.kernels.radial import curvature
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._fused_edges import EdgeTerms

#: From vectors grouped by window and the windows' offsets, ``[M + 1]``, to the
#: descriptions of windows, ``[M, D]``, and of edges, ``[E, D']``. Where ``D' < D`` the numbers that
#: are missing at the end are 0.
Description = Callable[[EdgeVectors, Tensor], tuple[Tensor, Tensor]]


def in_local_frame(v: EdgeVectors, rowptr: Tensor) -> tuple[Tensor, Tensor]:
    """The window's mean and its vectors, in its own frame: see :func:`local_coordinates`.

    A window of ``k`` vectors has at most ``k`` axes: coordinates beyond them are not made.
    """
    channels = rank = v.relative_i.size(1)
    if not torch.compiler.is_compiling() and len(rowptr) > 1:  # no shapes from values there
        rank = min(rank, int(rowptr.diff().max()))
    z = local_coordinates(v, rowptr, rank)
    return pad(window_mean(z, rowptr), (0, channels - rank)), z


def window_mean(v: Tensor, rowptr: Tensor) -> Tensor:
    """The mean of each window, ``[M, n]``; 0 for an empty one."""
    count = rowptr.diff()[:, None]
    windows = torch.arange(len(count), device=v.device)
    number = windows.repeat_interleave(rowptr.diff(), output_size=v.size(0))
    total = v.new_zeros(len(count), v.size(1)).index_add_(0, number, v)
    return total / torch.where(count > 0, count, 1)


def describe_edges(
    describe: Description, v: Tensor, index: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Both descriptions for each edge, ``[E, D]`` and ``[E, D']``; edges in any order."""
    number = torch.arange(v.size(0), device=v.device)
    rowptr, order = group_edges(number, index, v.size(0), size)
    of_windows, of_edges = describe(EdgeVectors.stored(v[order], rowptr), rowptr)
    of_edges = pad(of_edges, (0, max(0, of_windows.size(1) - of_edges.size(1))))
    return of_windows[index], of_edges[order.argsort()]


def relative_vectors(
    source: Tensor, target: Tensor, rowptr: Tensor, col: Tensor, manifold: Manifold
) -> EdgeVectors:
    r""":math:`\operatorname{rel}(x_i, x_j)` of edges grouped by target."""
    dtype = working_dtype(target)
    points_i, gap_i = to_ball(target.to(dtype), manifold)
    points_j, gap_j = points_i, gap_i
    if source is not target:
        points_j, gap_j = to_ball(source.to(dtype), manifold)
    c = curvature(manifold, target)
    alpha, beta = edge_coefficients(
        points_i, gap_i, points_j, gap_j, c, manifold.rel_unit, rowptr, col, dtype
    )
    return EdgeVectors(points_i.double(), points_j.double(), alpha, beta, col)


class WindowTerms(NamedTuple):
    r""":math:`z_e = A_i + W d_e` of edges grouped by target."""

    absolute: Tensor
    of_edges: Tensor
    weight: Tensor
    rowptr: Tensor

    @property
    def num_edges(self) -> int:
        return self.of_edges.size(0)

    def extremes(self, sign: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See :func:`linear_max`."""
        return linear_max(*self, sign)

    def of_sources(self) -> EdgeTerms:
        """The same with each edge as its own source."""
        values = EdgeVectors.stored(self.of_edges @ self.weight.t(), self.rowptr)
        return EdgeTerms(self.absolute, *values[:4], self.rowptr, values.col)


def window_terms(
    first: torch.nn.Linear, of_windows: Tensor, of_edges: Tensor, rowptr: Tensor
) -> WindowTerms:
    """A linear layer of both descriptions."""
    width, dtype = of_windows.size(1), of_edges.dtype
    to_edges = first.weight[:, width : width + of_edges.size(1)].to(dtype)
    absolute = linear(of_windows, first.weight[:, :width], first.bias).to(dtype)
    return WindowTerms(absolute, of_edges, to_edges, rowptr)
