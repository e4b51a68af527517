"""Names of this package's aggregations, as PyG resolves its own."""

from collections.abc import Mapping
from typing import Any

from torch_geometric.nn.aggr import Aggregation

from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr import FrechetMeanAggregation, MidpointAggregation

ON_POINTS = {"midpoint": MidpointAggregation, "frechetmean": FrechetMeanAggregation}


def resolve_aggr(
    aggr: Any, manifold: Manifold, aggr_kwargs: Mapping[str, Any] | None = None
) -> Any:
    """``'midpoint'`` and ``'frechet_mean'`` on ``manifold``; anything else is left to PyG.

    Names are read as PyG reads them: ``'FrechetMeanAggregation'`` is the same. ``aggr_kwargs`` are
    arguments of the aggregation that a name stands for.

    Raises:
        TypeError: if that aggregation has no such arguments.
        ValueError: if ``aggr`` holds another manifold, or is several of which one takes points.
    """
    if isinstance(aggr, str):
        name = aggr.lower().replace("_", "").removesuffix("aggregation")
        if name not in ON_POINTS:
            return aggr
        return ON_POINTS[name](manifold=manifold, **(aggr_kwargs or {}))
    parts = aggr if isinstance(aggr, (list, tuple)) else getattr(aggr, "aggrs", ())
    for part in parts:
        if acts_on_points(resolve_aggr(part, manifold)):
            raise ValueError(
                f"'aggr' may hold several aggregations, but none of points (got {part})"
            )
    if acts_on_points(aggr) and aggr.manifold is not manifold:
        learnable = any(True for _ in manifold.parameters())
        if learnable or repr(aggr.manifold) != repr(manifold):
            raise ValueError(f"'aggr' must act on {manifold} (got {aggr})")
    return aggr


def acts_on_points(aggr: Aggregation | None) -> bool:
    """An aggregation that holds a manifold takes and returns points, any other tangent vectors."""
    return getattr(aggr, "manifold", None) is not None
