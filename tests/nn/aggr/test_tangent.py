import pytest
import torch
from torch import Tensor
from torch_geometric.nn import EdgeConv

from tests.nn.aggr.definitions import (
    HYPERBOLIC,
    INDEX,
    MANIFOLDS,
    SIZE,
    curvature,
    exp_origin,
    log_origin,
    per_group,
    random_points,
    random_weight,
    tangent_mean,
    to_ball,
    to_model,
)
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn import TangentAggregation
from torch_geometric_hyperbolic.nn.aggr import _groups
from torch_geometric_hyperbolic.testing import (
    assert_close,
    assert_isometry_equivariant,
    assert_on_manifold,
    random_isometry,
)

REDUCTIONS = {
    "max": lambda v, w: (w * v).amax(dim=0),
    "min": lambda v, w: (w * v).amin(dim=0),
    "sum": lambda v, w: (w * v).sum(dim=0),
    "mean": lambda v, w: (w * v).sum(dim=0) / w.sum(),
}

each_reduction = pytest.mark.parametrize("reduce", REDUCTIONS)
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
each_hyperbolic = pytest.mark.parametrize("manifold", HYPERBOLIC, ids=repr)


def by_definition(reduce: str, x: Tensor, weight: Tensor, c: float) -> Tensor:
    def point(x: Tensor, weight: Tensor) -> Tensor:
        return exp_origin(REDUCTIONS[reduce](log_origin(x, c), weight[:, None]), c)

    return per_group(point, x, weight, INDEX, SIZE)


@each_reduction
@each_manifold
def test_points_are_reduced_in_the_tangent_space_at_the_origin(reduce, manifold: Manifold):
    aggr = TangentAggregation(reduce, manifold=manifold)
    x, weight = random_points(), random_weight()
    points = to_model(x, manifold)
    for given in (None, weight):
        out = aggr(points, INDEX, dim_size=SIZE, weight=given)
        assert_on_manifold(out, manifold)
        used = torch.ones_like(weight) if given is None else weight
        expected = by_definition(reduce, x, used, curvature(manifold))
        assert_close(to_ball(out, manifold), expected)


@each_reduction
def test_without_a_manifold_it_reduces_vectors(reduce):
    aggr, v, weight = TangentAggregation(reduce), 5 * random_points(), random_weight()
    for given in (None, weight):
        used = torch.ones_like(weight) if given is None else weight
        expected = by_definition(reduce, v, used, 0.0)
        assert_close(aggr(v, INDEX, dim_size=SIZE, weight=given), expected)


@each_reduction
@pytest.mark.parametrize("dim", [0, 1, -2])
def test_vectors_may_have_more_dimensions(reduce, dim):
    v = random_points(2 * 3 * 4, channels=2).view(2, 3, 4, 2)
    v = v.movedim(2, dim)  # the four elements to reduce
    index = torch.tensor([1, 0, 1, 1])
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    out = TangentAggregation(reduce)(v, index, dim=dim, weight=weight)
    elements = v.movedim(dim, 0)
    column = weight.view(4, 1, 1, 1)
    for group in (0, 1):
        own = index == group
        expected = REDUCTIONS[reduce](elements[own], column[own])
        assert_close(out.movedim(dim, 0)[group], expected)


@each_reduction
@each_manifold
def test_index_and_ptr_give_the_same(reduce, manifold: Manifold):
    aggr = TangentAggregation(reduce, manifold=manifold)
    index, order = INDEX.sort()
    ptr = torch.tensor([0, *torch.bincount(index, minlength=SIZE).cumsum(0)])
    x, weight = to_model(random_points(), manifold)[order], random_weight()
    for given in (None, weight):
        expected = aggr(x, index, dim_size=SIZE, weight=given)
        assert_close(aggr(x, ptr=ptr, weight=given), expected)


def test_it_means_the_same_in_edge_conv_as_the_string():
    x, edge_index = random_points(), torch.stack([torch.arange(12), INDEX])
    for reduce in REDUCTIONS:
        conv = EdgeConv(torch.nn.Linear(6, 4).double(), aggr=TangentAggregation(reduce))
        plain = EdgeConv(conv.nn, aggr=reduce)
        assert_close(conv(x, edge_index), plain(x, edge_index))


@each_hyperbolic
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_mean_and_sum_turn_with_the_points(reduce, manifold: Manifold):
    aggr, x = TangentAggregation(reduce, manifold=manifold), to_model(random_points(), manifold)
    assert_isometry_equivariant(
        lambda x: aggr(x, INDEX, dim_size=SIZE), x, manifold, length=0.0, factor=10
    )


@each_hyperbolic
def test_the_mean_does_not_move_with_the_points(manifold: Manifold):
    aggr, x = tangent_mean(manifold=manifold), to_model(random_points(), manifold)
    phi = random_isometry(manifold, 3, length=2.0, generator=torch.Generator().manual_seed(0))
    assert manifold.dist(aggr(phi(x)), phi(aggr(x))) > 0.05


@each_hyperbolic
@pytest.mark.parametrize("reduce", ["max", "min"])
def test_max_and_min_depend_on_the_axes(reduce, manifold: Manifold):
    aggr, x = TangentAggregation(reduce, manifold=manifold), to_model(random_points(), manifold)
    phi = random_isometry(manifold, 3, length=0.0, generator=torch.Generator().manual_seed(0))
    assert manifold.dist(aggr(phi(x)), phi(aggr(x))) > 0.05


@pytest.mark.parametrize("reduce", ["median", "", None, 3])
def test_an_unknown_reduction_is_refused(reduce):
    with pytest.raises(ValueError, match=rf"'reduce' must be one of .*\(got {reduce!r}\)"):
        TangentAggregation(reduce)


def test_a_mean_by_negative_weights_is_that_of_the_formula():
    v, index = torch.tensor([[1.0], [4.0]]), torch.tensor([0, 0])
    mean = TangentAggregation("mean")(v, index, weight=torch.tensor([-1.0, -2.0]))
    assert mean.item() == pytest.approx(3.0)


def test_deterministic_algorithms_take_offsets(monkeypatch):
    monkeypatch.setattr(_groups, "scatter", None)  # whose order is chance on a GPU
    torch.use_deterministic_algorithms(True)
    try:
        given = torch.ones(3, 1), torch.tensor([0, 0, 1]), torch.tensor([0, 2, 3])
        assert TangentAggregation("sum")(*given).tolist() == [[2.0], [1.0]]
    finally:
        torch.use_deterministic_algorithms(False)
