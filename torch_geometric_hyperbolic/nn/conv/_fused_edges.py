r"""The networks of edge convolutions that need no tensor of size ``[E, F]``.

A monotone function commutes with the largest value, and a batch norm after a linear layer is
monotone in every channel; its statistics are two sums over edges. A batch norm is affine, so it
goes into the node-level terms before a sum or mean of activated values.
"""

from typing import Any, NamedTuple

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn import aggr

from torch_geometric_hyperbolic.kernels import (
    affine_activation,
    batch_affine,
    edge_sum,
)
from torch_geometric_hyperbolic.kernels._autograd import overwrite
from torch_geometric_hyperbolic.nn.aggr import TangentAggregation
from torch_geometric_hyperbolic.nn.conv._edge_terms import Terms
from torch_geometric_hyperbolic.nn.conv._first_linear import Split, has_hooks

NORMS = (torch.nn.BatchNorm1d, torch_geometric.nn.BatchNorm)
MONOTONE = (
    torch.nn.Identity,
    torch.nn.ReLU,
    torch.nn.ReLU6,
    torch.nn.LeakyReLU,
    torch.nn.ELU,
    torch.nn.CELU,
    torch.nn.SELU,
    torch.nn.Sigmoid,
    torch.nn.LogSigmoid,
    torch.nn.Tanh,
    torch.nn.Softsign,
    torch.nn.Hardtanh,
    torch.nn.Hardsigmoid,
)
REDUCTIONS = {
    aggr.MaxAggregation: "max",
    aggr.MinAggregation: "min",
    aggr.MeanAggregation: "mean",
    aggr.SumAggregation: "sum",
}


class FusedEdges(NamedTuple):
    """What follows the first linear layer: a batch norm, an activation and a reduction."""

    norm: torch.nn.BatchNorm1d | None
    activation: torch.nn.Module
    reduce: str

    def reduced(self, terms: Terms) -> Tensor:
        """The reduced messages of every target, ``[M, F]``; 0 for a target without edges."""
        if self.reduce in ("max", "min"):
            return self._extreme(terms)
        return self._sum(terms)

    def _extreme(self, terms: Terms) -> Tensor:
        norm: Any = self.norm
        sign = _ones(terms)
        if norm is not None and norm.weight is not None:
            sign = torch.where(norm.weight < 0, -sign, sign)
        learns = norm is not None and _learns(norm)
        terms, centre = _centred(terms) if learns else (terms, 0.0)
        z, edge, total, squares = terms.extremes(sign if self.reduce == "max" else -sign)
        if learns:
            scale, shift = _by_batch(norm, total, squares, terms.num_edges(), centre)
        elif norm is not None:
            scale, shift = _by_running(norm)
        else:
            scale, shift = _ones(terms), total.new_zeros(total.shape)
        slope = _slope(self.activation)
        out = affine_activation(z, edge, scale, shift, 1.0 if slope is None else slope)
        return out if slope is not None else torch.where(edge >= 0, self.activation(out), 0.0)

    def _sum(self, terms: Terms) -> Tensor:
        norm: Any = self.norm
        learns = norm is not None and _learns(norm)
        terms, centre = _centred(terms) if learns else (terms, 0.0)
        edges = terms.as_edge_terms()
        if learns:
            _, _, total, squares = edges.extremes(_ones(edges))
            edges = edges.affine(*_by_batch(norm, total, squares, edges.num_edges(), centre))
        elif norm is not None:
            edges = edges.affine(*_by_running(norm))
        out = edge_sum(*edges, _slope(self.activation))
        if self.reduce == "sum":
            return out
        count = edges.rowptr.diff()[:, None]
        return out / torch.where(count > 0, count, 1).to(out.dtype)


def fused_edges(split: Split, aggr_module: Any, num_edges: int) -> FusedEdges | None:
    """How what follows the first linear layer and ``aggr_module`` can be fused, or :obj:`None`.

    They can where it is nothing, or a batch norm, a monotone activation (before a mean or sum: ReLU
    or LeakyReLU), or both, none of which has hooks, and the reduction is by maximum, minimum, mean
    or sum.
    """
    reduce = REDUCTIONS.get(type(aggr_module))
    if type(aggr_module) is TangentAggregation and aggr_module.manifold is None:
        reduce = aggr_module.reduction
    if reduce is None or has_hooks(aggr_module):
        return None
    rest: list[Any] = list(split.rest)
    norm = None
    if rest and type(rest[0]) in NORMS:
        norm = _batch_norm(rest.pop(0), num_edges)
        if norm is None:
            return None
    activation = rest.pop(0) if rest else torch.nn.Identity()
    fits = type(activation) in MONOTONE and not has_hooks(activation) and not rest
    if not fits or (reduce in ("mean", "sum") and _slope(activation) is None):
        return None
    if reduce in ("max", "min") and not _rises(activation):
        return None
    return FusedEdges(norm, activation, reduce)


def _batch_norm(norm: Any, num_edges: int) -> torch.nn.BatchNorm1d | None:
    """The :class:`torch.nn.BatchNorm1d` itself, if it may be fused."""
    inner = getattr(norm, "module", norm)
    if has_hooks(norm) or has_hooks(inner) or type(inner) is not torch.nn.BatchNorm1d:
        return None
    if _learns(inner) and num_edges < 2:
        return None  # PyTorch raises its own error
    return inner


def _learns(norm: torch.nn.BatchNorm1d) -> bool:
    """Whether the statistics of the batch are used."""
    return norm.training or norm.running_mean is None


def _by_batch(
    norm: Any, total: Tensor, squares: Tensor, count: int, centre: Tensor | float
) -> tuple[Tensor, Tensor]:
    """The batch norm as ``scale * z + shift``, ``[F]`` in float64, by the statistics of values
    ``z`` that ``centre`` was taken off; the running statistics are updated.
    """
    weight, bias = norm.weight, norm.bias
    weight = torch.ones_like(total) if weight is None else _widened(weight)
    bias = torch.zeros_like(total) if bias is None else _widened(bias)
    scale, shift, mean, variance = batch_affine(total, squares, weight, bias, count, norm.eps)
    _update(norm, mean + centre, variance, count / (count - 1))
    return scale, shift


def _by_running(norm: Any) -> tuple[Tensor, Tensor]:
    """The same by the running statistics."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def _centred(terms: Terms) -> tuple[Terms, Tensor | float]:
    """Terms of values nearer to 0, and what was taken off them, ``[F]``: those of the first edge.

    A batch norm does not change with it, but the variance of values far from 0 is lost in the sum
    of their squares. The rounding of values in float32 is larger than that.
    """
    if terms.absolute.dtype != torch.float64:
        return terms, 0.0
    with torch.no_grad():
        centre = terms.first()
    return terms.minus(centre), centre.squeeze(0)


def _widened(parameter: Tensor) -> Tensor:
    """Float32 of half precision, which may be that of a network under autocast."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _ones(terms: Terms) -> Tensor:
    """One per channel, float64."""
    return terms.absolute.new_ones(terms.absolute.size(1), dtype=torch.float64)


@torch.no_grad()
def _update(norm: torch.nn.BatchNorm1d, mean: Tensor, variance: Tensor, unbiased: float) -> None:
    """Move the running statistics as :class:`torch.nn.BatchNorm1d` does, which takes the variance
    ``unbiased`` times as large.
    """
    tracks = norm.training and norm.track_running_stats
    if not tracks or norm.running_mean is None or norm.running_var is None:
        return
    momentum: Any = 0.0 if norm.momentum is None else norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1.0 / norm.num_batches_tracked.to(norm.running_mean.dtype)
    for running, value in ((norm.running_mean, mean), (norm.running_var, unbiased * variance)):
        overwrite(running, running.lerp(value.to(running.dtype), momentum))


def _slope(activation: torch.nn.Module) -> float | None:
    """The activation's slope below zero, where it is the identity above."""
    if isinstance(activation, torch.nn.LeakyReLU):
        return float(activation.negative_slope)
    return {torch.nn.Identity: 1.0, torch.nn.ReLU: 0.0}.get(type(activation))


def _rises(activation: Any) -> bool:
    """Whether the parameters of an activation leave it monotone."""
    if isinstance(activation, torch.nn.LeakyReLU):
        return activation.negative_slope >= 0
    if isinstance(activation, (torch.nn.ELU, torch.nn.CELU)):
        return activation.alpha >= 0
    return True
