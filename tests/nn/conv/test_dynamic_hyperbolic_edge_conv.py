"""DynamicHyperbolicEdgeConv: the edge convolution over the nearest neighbours of its input."""

import copy

import numpy as np
import pytest
import torch
import torch_geometric.nn as gnn
from torch import Tensor
from torch.nn import Linear, ReLU, Sequential, Softplus, Tanh
from torch_geometric.nn import EdgeConv

from tests.nn.conv.definition import definition_of, edge_conv
from tests.nn.conv.helpers import (
    CURVED,
    SPACES,
    assert_near,
    check_compiled,
    check_gradients,
    pickled,
    points,
)
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    DynamicHyperbolicEdgeConv,
    HyperbolicEdgeConv,
    MidpointAggregation,
    knn_graph,
)
from torch_geometric_hyperbolic.testing import assert_isometry_invariant, assert_on_manifold

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def make_conv(manifold: Manifold, k: int = 4, aggr: object = "max", **kwargs: object):
    nn = Sequential(Linear(6, 8), Tanh(), Linear(8, 5))
    return DynamicHyperbolicEdgeConv(nn, k, aggr, manifold=manifold, **kwargs).double()


def nearest(manifold: Manifold, source: Tensor, target: Tensor, k: int) -> Tensor:
    """Edges from the k nearest sources by the length of ``rel``, written as loops."""
    space = definition_of(manifold)
    rows = [torch.stack([space.rel(y, x).norm() for x in source]) for y in target]
    table = torch.stack([row.topk(k, largest=False).indices for row in rows])
    centre = torch.arange(len(target)).repeat_interleave(k)
    return torch.stack([table.flatten(), centre])


def test_repr_tells_network_neighbours_and_manifold():
    conv = DynamicHyperbolicEdgeConv(Linear(6, 5), 4, manifold=Lorentz(0.5))
    nn = "Linear(in_features=6, out_features=5, bias=True)"
    assert str(conv) == f"DynamicHyperbolicEdgeConv(nn={nn}, k=4, manifold=Lorentz(c=0.5))"


def test_positional_arguments_are_those_of_pyg():
    ball = PoincareBall()
    x = points(ball, 12, 3)
    by_position = DynamicHyperbolicEdgeConv(torch.sin, 4, "mean", 2, manifold=ball)
    by_name = DynamicHyperbolicEdgeConv(nn=torch.sin, k=4, aggr="mean", manifold=ball)
    assert_near(by_position(x), by_name(x), 0.0)
    assert by_position.aggr == "mean"


@each_space
@pytest.mark.parametrize("engine", ["auto", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_shape_and_dtype(manifold, engine, dtype):
    x = points(manifold, 12, 3, dtype=dtype)
    out = make_conv(manifold, engine=engine).to(dtype)(x)
    assert out.shape == (12, manifold.ambient_dim(5))
    assert out.dtype == dtype
    assert_on_manifold(out, manifold)


def test_reset_parameters_resets_the_network():
    conv = make_conv(PoincareBall())
    before = conv.nn[0].weight.clone()
    conv.reset_parameters()
    assert not torch.equal(conv.nn[0].weight, before)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same_and_share_one_manifold(duplicate):
    manifold = PoincareBall(0.7, learnable=True)
    conv = make_conv(manifold, aggr="midpoint")
    x = points(manifold, 12, 3).detach()
    other = duplicate(conv)
    assert_near(other(x), conv(x), 0.0)
    assert other.manifold is other.aggr_module.manifold is not manifold


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
def test_layer_is_its_definition(manifold):
    x = points(manifold, 10, 3, radius=3.0)
    conv = make_conv(manifold)
    edge_index = nearest(manifold, x, x, 4)
    assert (edge_index[0].view(10, 4)[:, 0] == torch.arange(10)).all()  # each point is its first
    assert_near(conv(x), edge_conv(manifold, conv.nn, x, edge_index, lambda m: m.amax(0)))


@each_space
def test_a_pair_of_clouds_follows_the_definition(manifold):
    source, target = points(manifold, 9, 3), points(manifold, 5, 3)
    conv = make_conv(manifold, k=3)
    edge_index = nearest(manifold, source, target, 3)
    expected = edge_conv(manifold, conv.nn, source, edge_index, lambda m: m.amax(0), target=target)
    assert_near(conv((source, target)), expected)


def test_on_euclidean_space_it_is_edge_conv_over_topk_of_cdist():
    x = points(Euclidean(), 12, 3, dtype=torch.float32)
    nn = Sequential(Linear(6, 8), ReLU(), Linear(8, 5))
    conv, pyg = DynamicHyperbolicEdgeConv(nn, 4, manifold=Euclidean()), EdgeConv(nn)
    table = torch.cdist(x, x).topk(4, largest=False).indices
    edge_index = torch.stack([table.flatten(), torch.arange(12).repeat_interleave(4)])
    assert_near(conv(x), pyg(x, edge_index), 1e-6)


AGGREGATIONS = {
    **{name: lambda name=name: name for name in ("max", "mean", "sum", "add", "min", "mul")},
    **{name: lambda name=name: name for name in ("std", "var", "softmax", "powermean", "median")},
    **{name: lambda name=name: name for name in ("midpoint", "frechet_mean")},
    "list": lambda: ["max", "mean"],
    "learnt softmax": lambda: gnn.aggr.SoftmaxAggregation(learn=True, channels=5),
    "quantiles": lambda: gnn.aggr.QuantileAggregation([0.25, 0.75]),
    "LSTM": lambda: gnn.aggr.LSTMAggregation(5, 4),
    "multi": lambda: gnn.aggr.MultiAggregation(["min", "median"], mode="sum"),
    "set to set": lambda: gnn.aggr.Set2Set(5, processing_steps=2),
    "variance preserving": lambda: gnn.aggr.VariancePreservingAggregation(),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_any_aggregation_gives_what_the_static_layer_gives_on_the_same_graph(name):
    ball = PoincareBall()
    x = points(ball, 12, 3)
    nn = Sequential(Linear(6, 5), Softplus())  # powers need a positive base
    aggr = AGGREGATIONS[name]()
    static = HyperbolicEdgeConv(nn, aggr, manifold=ball).double()
    conv = DynamicHyperbolicEdgeConv(nn, 4, aggr, manifold=ball).double()
    conv.aggr_module = static.aggr_module
    edge_index = knn_graph(x, 4, loop=True, manifold=ball)
    assert_near(conv(x), static(x, edge_index), 1e-12)


@each_space
@pytest.mark.parametrize("sizes", [(5, 5), (4, 9, 6)])
def test_clouds_of_a_batch_are_computed_as_if_alone(manifold, sizes):
    x = points(manifold, sum(sizes), 3)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    conv = make_conv(manifold)
    apart = torch.cat([conv(cloud) for cloud in x.split(sizes)])
    assert_near(conv(x, batch), apart)
    assert_near(conv((x, x), (batch, batch)), apart)
    assert_near(conv(x, 2 * batch), apart)  # an empty cloud between any two


@each_space
def test_a_pair_of_batches_is_searched_cloud_by_cloud(manifold):
    source, target = points(manifold, 12, 3), points(manifold, 5, 3)
    batch = torch.arange(2).repeat_interleave(6), torch.tensor([0, 0, 1, 1, 1])
    conv = make_conv(manifold)
    apart = [conv((source[:6], target[:2])), conv((source[6:], target[2:]))]
    assert_near(conv((source, target), batch), torch.cat(apart))


@each_space
def test_numbering_of_points_does_not_matter(manifold):
    x = points(manifold, 12, 3)
    conv = make_conv(manifold)
    order = torch.randperm(12)
    assert_near(conv(x[order]), conv(x)[order])


@each_space
def test_duplicate_points_and_points_at_the_origin_give_points(manifold):
    x = points(manifold, 6, 3).repeat(2, 1)
    x[:4] = manifold.origin(3, dtype=x.dtype)
    x.requires_grad_()
    conv = make_conv(manifold, k=6)
    out = conv(x)
    out.sum().backward()
    assert_on_manifold(out, manifold)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("manifold", CURVED, ids=str)
def test_a_network_of_relative_lengths_gives_an_invariant_layer(manifold):
    """Graph and lengths survive every isometry; positions do not."""
    x = points(manifold, 12, 3, radius=2.0)

    def check(columns: slice) -> None:
        def nn(v: Tensor) -> Tensor:
            return v[..., columns].square().sum(-1, keepdim=True)

        conv = DynamicHyperbolicEdgeConv(nn, 4, manifold=manifold)
        assert_isometry_invariant(conv, x, manifold, factor=1e4)

    check(slice(3, 6))
    with pytest.raises(AssertionError):
        check(slice(0, 3))


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_gradients_reach_points_weights_and_curvature(space):
    manifold = space(0.7, learnable=True)
    nn = Sequential(Linear(4, 3), Softplus(), Linear(3, 2))
    conv = DynamicHyperbolicEdgeConv(nn, 2, "mean", manifold=manifold).double()
    assert check_gradients(conv, points(manifold, 5, 2)) == 6


@pytest.mark.slow
def test_compiled_layer_equals_eager_for_any_number_of_points():
    manifold = PoincareBall(learnable=True)
    nn = Sequential(Linear(6, 8), ReLU(), Linear(8, 5))
    conv = DynamicHyperbolicEdgeConv(nn, 4, manifold=manifold)
    cases = [
        (points(manifold, 2 * n, 3, dtype=torch.float32), torch.arange(2).repeat_interleave(n))
        for n in (4, 7)
    ]
    check_compiled(conv, cases, backend="aot_eager", atol=1e-5)


# Bad arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1])
def test_too_small_k_is_named(k):
    with pytest.raises(ValueError, match=rf"'k' must be at least 1 \(got {k}\)"):
        DynamicHyperbolicEdgeConv(Linear(6, 5), k, manifold=PoincareBall())


@pytest.mark.parametrize("k", [2.0, True, "4", None])
def test_k_that_is_no_integer_is_named(k):
    with pytest.raises(TypeError, match=rf"'k' must be an int \(got {k!r}\)"):
        DynamicHyperbolicEdgeConv(Linear(6, 5), k, manifold=PoincareBall())


def test_k_beyond_a_cloud_names_the_cloud():
    conv = make_conv(PoincareBall(), k=4)
    batch = torch.tensor([0] * 6 + [1] * 3)
    with pytest.raises(ValueError, match=r"'k' .*\(got k=4 and 3 points in cloud 1\)"):
        conv(points(PoincareBall(), 9, 3), batch)


def test_wrong_points_are_named():
    conv = make_conv(PoincareBall()).float()
    with pytest.raises(ValueError, match=r"'x' must have 2 dimensions \(got shape \(2, 9, 3\)\)"):
        conv(torch.zeros(2, 9, 3))
    with pytest.raises(ValueError, match=r"'x' must have last dimension 3 \(got 4\)"):
        conv(torch.zeros(9, 4))
    with pytest.raises(TypeError, match=r"'x' must be a floating-point tensor \(got torch.int64\)"):
        conv(torch.zeros(9, 3, dtype=torch.long))
    with pytest.raises(TypeError, match=r"'.' must have dtype torch.float32 .*torch.float64"):
        conv((torch.zeros(9, 3), torch.zeros(9, 3).double()))


def test_unsorted_batch_is_named():
    conv = make_conv(PoincareBall(), k=2)
    with pytest.raises(ValueError, match="'batch' must be sorted"):
        conv(points(PoincareBall(), 6, 3), torch.tensor([0, 1, 0, 1, 0, 1]))


def test_unknown_engine_is_named():
    with pytest.raises(ValueError, match=r"'engine' must be one of .*\(got 'magic'\)"):
        make_conv(PoincareBall(), engine="magic")


def test_manifold_and_aggregation_are_checked():
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got 'ball'\)"):
        DynamicHyperbolicEdgeConv(Linear(6, 5), 4, manifold="ball")
    with pytest.raises(ValueError, match=r"'aggr' must act on PoincareBall"):
        aggr = MidpointAggregation(manifold=Lorentz())
        DynamicHyperbolicEdgeConv(Linear(6, 5), 4, aggr, manifold=PoincareBall())


def test_a_numpy_number_of_neighbours_compiles():
    ball = PoincareBall()
    conv = DynamicHyperbolicEdgeConv(torch.nn.Linear(6, 4), np.int64(3), manifold=ball)
    x = ball.random(8, 3)
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), conv(x))
