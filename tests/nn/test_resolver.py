"""Names of aggregations, and which of them act on points."""

import pytest
import torch
import torch_geometric.nn as gnn

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import (
    FrechetMeanAggregation,
    HyperbolicEdgeConv,
    MidpointAggregation,
    TangentAggregation,
)
from torch_geometric_hyperbolic.nn.resolver import acts_on_points, resolve_aggr


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("midpoint", MidpointAggregation),
        ("MidpointAggregation", MidpointAggregation),
        ("frechet_mean", FrechetMeanAggregation),
        ("FrechetMean", FrechetMeanAggregation),
        ("frechet_mean_aggregation", FrechetMeanAggregation),
    ],
)
@pytest.mark.parametrize("manifold", [PoincareBall(0.5), Lorentz(), Euclidean()], ids=str)
def test_our_names_become_aggregations_on_the_manifold(name, kind, manifold):
    aggr = resolve_aggr(name, manifold)
    assert type(aggr) is kind
    assert aggr.manifold is manifold
    assert acts_on_points(aggr)


@pytest.mark.parametrize("aggr", ["max", ["max", "mean"], None, gnn.aggr.MeanAggregation()])
def test_everything_else_is_left_to_pyg(aggr):
    assert resolve_aggr(aggr, PoincareBall()) is aggr


def test_pyg_names_the_unknown_one():
    with pytest.raises(ValueError, match="nonsense"):
        HyperbolicEdgeConv(torch.sin, "nonsense", manifold=PoincareBall())


def test_which_aggregations_act_on_points():
    ball = PoincareBall()
    assert acts_on_points(MidpointAggregation(manifold=ball))
    assert acts_on_points(TangentAggregation("mean", manifold=ball))
    assert not acts_on_points(TangentAggregation("mean"))
    assert not acts_on_points(gnn.aggr.MaxAggregation())
    assert not acts_on_points(None)


def test_arguments_that_a_mean_of_points_does_not_have_are_refused():
    """As PyG refuses those of its own aggregations."""
    how = {"aggr_kwargs": {"learn": True}, "manifold": PoincareBall()}
    HyperbolicEdgeConv(torch.nn.Linear(6, 5), "softmax", **how)
    for name in ("midpoint", "frechet_mean", "max"):
        with pytest.raises(TypeError, match="unexpected keyword argument 'learn'"):
            HyperbolicEdgeConv(torch.nn.Linear(6, 5), name, **how)


@pytest.mark.parametrize("other", [PoincareBall(2.0), Lorentz(1.0), Euclidean()], ids=str)
def test_points_of_another_manifold_are_refused(other):
    with pytest.raises(ValueError, match=r"'aggr' must act on PoincareBall\(c=1.0\)"):
        resolve_aggr(MidpointAggregation(manifold=other), PoincareBall(1.0))


def test_an_equal_manifold_is_accepted():
    aggr = MidpointAggregation(manifold=PoincareBall(0.5))
    assert resolve_aggr(aggr, PoincareBall(0.5)) is aggr


def test_two_curvatures_that_learn_apart_are_refused():
    aggr = MidpointAggregation(manifold=PoincareBall(learnable=True))
    with pytest.raises(ValueError, match="'aggr' must act on"):
        resolve_aggr(aggr, PoincareBall(learnable=True))


def test_means_of_points_among_reductions_of_vectors_are_refused():
    """A list is applied to tangent vectors as a whole, which would be no points for the mean."""
    ball = PoincareBall()
    mixed = ["max", MidpointAggregation(manifold=ball)]
    for aggr in (mixed, gnn.aggr.MultiAggregation(mixed)):
        with pytest.raises(ValueError, match="'aggr'"):
            HyperbolicEdgeConv(torch.sin, aggr, manifold=ball)
