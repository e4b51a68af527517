"""The edges of a graph, and of described windows, as a first linear layer sees them."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import linear

from torch_geometric_hyperbolic.geometry._precision import working_dtype
from torch_geometric_hyperbolic.kernels import (
    EdgeVectors,
    ball_and_log,
    curvature,
    edge_coefficients,
    edge_max,
    linear_max,
    to_ball,
    wide_linear,
)
from torch_geometric_hyperbolic.manifolds import Manifold

T = TypeVar("T")


class EdgeTerms(NamedTuple):
    r""":math:`z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i` and the edges it is for."""

    absolute: Tensor
    relative_i: Tensor
    relative_j: Tensor
    alpha: Tensor
    beta: Tensor
    rowptr: Tensor
    col: Tensor

    def num_edges(self) -> int:
        return self.col.size(0)

    def extremes(self, sign: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See :func:`edge_max`."""
        return edge_max(*self, sign)

    def affine(self, scale: Tensor, shift: Tensor) -> "EdgeTerms":
        """The terms of ``scale * z + shift``, float64 ``[F]`` each."""
        relative_i = relative_j = self.relative_j * scale
        if self.relative_i is not self.relative_j:
            relative_i = self.relative_i * scale
        absolute = (self.absolute * scale + shift).to(self.absolute.dtype)
        edges = (self.alpha, self.beta, self.rowptr, self.col)
        return EdgeTerms(absolute, relative_i, relative_j, *edges)

    def first(self) -> Tensor:
        """The values of the first edge, ``[1, F]``."""
        i, j = _first_target(self.rowptr), self.col[:1]
        relative_i, difference = self.relative_i[i], self.relative_j[j] - self.relative_i[i]
        relative = self.alpha[:1, None] * difference - self.beta[:1, None] * relative_i
        return self.absolute[i] + relative

    def minus(self, value: Tensor) -> "EdgeTerms":
        """The terms of ``z - value``, ``[1, F]``."""
        absolute = self.absolute - value
        edges = (self.alpha, self.beta, self.rowptr, self.col)
        return EdgeTerms(absolute, self.relative_i, self.relative_j, *edges)

    def as_edge_terms(self) -> "EdgeTerms":
        """See :meth:`WindowTerms.as_edge_terms`: these are such terms."""
        return self


def _first_target(rowptr: Tensor) -> Tensor:
    """The target of the first edge, ``[1]``."""
    return torch.searchsorted(rowptr, rowptr[:1], right=True) - 1


def edge_terms(
    first: torch.nn.Linear,
    source: Tensor,
    target: Tensor,
    rowptr: Tensor,
    col: Tensor,
    manifold: Manifold,
) -> EdgeTerms:
    r"""A linear layer of :math:`\log_0 x_i \, \Vert \, \operatorname{rel}(x_i, x_j)`, applied to
    nodes: :math:`O(N F F' + E F)`. The products of points are in float64, their differences cancel.
    So do the gradients by the weight and by the curvature that targets and sources give: those are
    added in float64 before they are rounded.
    """
    dtype, c = working_dtype(target), curvature(manifold, target)
    of_targets, of_sources = _of_nodes(ball_and_log, target, source, manifold, c)
    (points_i, gap_i, log), (points_j, gap_j, _) = of_targets, of_sources
    width = log.size(-1)
    to_absolute, to_relative = first.weight[:, :width], first.weight[:, width:]
    if source is target:
        relative_i = relative_j = wide_linear(points_i, to_relative)
    else:
        to_relative = to_relative.double()
        relative_i, relative_j = (wide_linear(p, to_relative) for p in (points_i, points_j))
    nodes = ((points_i, gap_i), (points_j, gap_j))
    alpha, beta = _coefficients(*nodes, manifold, c, rowptr, col, dtype)
    absolute = linear(log, to_absolute, first.bias).to(dtype)
    return EdgeTerms(absolute, relative_i, relative_j, alpha, beta, rowptr, col)


def relative_vectors(
    source: Tensor, target: Tensor, rowptr: Tensor, col: Tensor, manifold: Manifold
) -> EdgeVectors:
    r""":math:`\operatorname{rel}(x_i, x_j)` of edges grouped by target, in float64: gradients of
    what does not turn with a window are orthogonal to its turns, exactly enough for
    :math:`e^r` times their rounding.
    """
    c = curvature(manifold, target)
    of_targets, of_sources = _of_nodes(to_ball, target, source, manifold, c)
    alpha, beta = _coefficients(of_targets, of_sources, manifold, c, rowptr, col, torch.float64)
    return EdgeVectors(of_targets[0].double(), of_sources[0].double(), alpha, beta, col)


def _coefficients(
    of_targets: tuple[Tensor, Tensor],
    of_sources: tuple[Tensor, Tensor],
    manifold: Manifold,
    c: Tensor,
    rowptr: Tensor,
    col: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The scalars of every edge, of points in the ball and their gaps; 1 and 0 in a flat space."""
    (points_i, gap_i), (points_j, gap_j) = of_targets, of_sources
    if manifold.flat:
        alpha = points_i.new_ones(col.size(0), dtype=dtype)
        return alpha, torch.zeros_like(alpha)
    return edge_coefficients(
        points_i, gap_i, points_j, gap_j, c, manifold.rel_unit, rowptr, col, dtype
    )


def _of_nodes(
    find: Callable[[Tensor, Manifold, Tensor], T],
    target: Tensor,
    source: Tensor,
    manifold: Manifold,
    c: Tensor,
) -> tuple[T, T]:
    """What ``find`` makes of targets and of sources, once if they are one tensor."""
    dtype = working_dtype(target)
    of_targets = find(target.to(dtype), manifold, c)
    return of_targets, of_targets if source is target else find(source.to(dtype), manifold, c)


class WindowTerms(NamedTuple):
    r""":math:`z_e = A_i + W d_e` of edges grouped by target."""

    absolute: Tensor
    of_edges: Tensor
    weight: Tensor
    rowptr: Tensor

    def num_edges(self) -> int:
        return self.of_edges.size(0)

    def extremes(self, sign: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See :func:`linear_max`."""
        return linear_max(*self, sign)

    def first(self) -> Tensor:
        """The values of the first edge, ``[1, F]``."""
        return self.absolute[_first_target(self.rowptr)] + self.of_edges[:1] @ self.weight.t()

    def minus(self, value: Tensor) -> "WindowTerms":
        """The terms of ``z - value``, ``[1, F]``."""
        return WindowTerms(self.absolute - value, self.of_edges, self.weight, self.rowptr)

    def as_edge_terms(self) -> EdgeTerms:
        """The same as :class:`EdgeTerms`, with each edge as its own source."""
        values = (self.of_edges @ self.weight.t()).to(self.absolute.dtype)
        stored = EdgeVectors.stored(values, self.rowptr)
        return EdgeTerms(*stored.terms(self.absolute, self.rowptr))


#: The values of a first linear layer on edges.
Terms = EdgeTerms | WindowTerms


def window_terms(
    first: torch.nn.Linear, of_windows: Tensor, of_edges: Tensor, rowptr: Tensor
) -> WindowTerms:
    """A linear layer of both descriptions."""
    width, dtype = of_windows.size(1), of_edges.dtype
    to_edges = first.weight[:, width : width + of_edges.size(1)].to(dtype)
    absolute = linear(of_windows, first.weight[:, :width], first.bias).to(dtype)
    return WindowTerms(absolute, of_edges, to_edges, rowptr)
