"""Names of this package's aggregations, as PyG resolves its own."""

from typing import Any

from torch_geometric.nn.aggr import Aggregation

from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr import FrechetMeanAggregation, MidpointAggregation

ON_POINTS = {"midpoint": MidpointAggregation, "frechetmean": FrechetMeanAggregation}


def resolve_aggr(aggr: Any, manifold: Manifold) -> Any:
    """``'midpoint'`` and ``'frechet_mean'`` on ``manifold``; anything else is left to PyG.

    Names are read as PyG reads them: ``'FrechetMeanAggregation'`` is the same.

    Raises:
        ValueError: if ``aggr`` holds another manifold, or is several of which one takes points.
    """
    if isinstance(aggr, str):
        name = aggr.lower().replace("_", "").removesuffix("aggregation")
        return ON_POINTS[name](manifold=manifold) if name in ON_POINTS else aggr
    parts = aggr if isinstance(aggr, (list, tuple)) else getattr(aggr, "aggrs", ())
    for part in parts:
        if acts_on_points(resolve_aggr(part, manifold)):
            raise ValueError(
                f"'aggr' may hold several aggregations, but none of points (got {part})"
            )
    if acts_on_points(aggr):
        learnable = any(True for _ in manifold.parameters())
        if repr(aggr.manifold) != repr(manifold) or (learnable and aggr.manifold is not manifold):
            raise ValueError(f"'aggr' must act on {manifold} (got {aggr})")
    return aggr


def acts_on_points(aggr: Aggregation | None) -> bool:
    """An aggregation that holds a manifold takes and returns points, any other tangent vectors."""
    return getattr(aggr, "manifold", None) is not None
