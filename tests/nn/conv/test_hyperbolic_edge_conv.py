"""HyperbolicEdgeConv against its definition, PyG's EdgeConv and the symmetries it has."""

import copy

import geoopt
import pytest
import torch
import torch_geometric.nn as gnn
from torch import Tensor
from torch.nn import BatchNorm1d, LeakyReLU, Linear, ReLU, Sequential, Softplus, Tanh
from torch_geometric import EdgeIndex
from torch_geometric.nn import EdgeConv
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csc_tensor, to_torch_csr_tensor

from tests.nn.conv.definition import REDUCE, definition_of, edge_conv, edge_messages
from tests.nn.conv.helpers import (
    CURVED,
    SPACES,
    assert_near,
    check_compiled,
    check_gradients,
    edges,
    pickled,
    points,
)
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    FrechetMeanAggregation,
    HyperbolicEdgeConv,
    MidpointAggregation,
    TangentAggregation,
    knn_graph,
)
from torch_geometric_hyperbolic.testing import (
    assert_isometry_invariant,
    assert_on_manifold,
    check_layer,
    random_isometry,
)
from torch_geometric_hyperbolic.typing import WITH_NUMBA

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)
each_curved = pytest.mark.parametrize("manifold", CURVED, ids=str)


def batch_norm_net() -> Sequential:
    """Two linear layers around a batch norm whose weights have both signs."""
    nn = Sequential(Linear(6, 8), BatchNorm1d(8), LeakyReLU(0.2), Linear(8, 5))
    torch.nn.init.normal_(nn[1].weight)
    torch.nn.init.normal_(nn[1].running_mean)
    return nn


NETWORKS = {
    "Linear": lambda: Linear(6, 5),
    "Linear without bias": lambda: Linear(6, 5, bias=False),
    "Sequential of one": lambda: Sequential(Linear(6, 5)),
    "two layers": lambda: Sequential(Linear(6, 8), ReLU(), Linear(8, 5)),
    "batch norm": batch_norm_net,
    "not linear first": lambda: Sequential(Tanh(), Linear(6, 5)),
    "nested": lambda: Sequential(Sequential(Linear(6, 8), ReLU()), Linear(8, 5)),
    "PyG Linear": lambda: gnn.Linear(6, 5),
    "PyG Linear first": lambda: Sequential(gnn.Linear(6, 8), ReLU(), Linear(8, 5)),
    "PyG MLP": lambda: gnn.MLP([6, 8, 5]),
    "function": lambda: lambda v: torch.sin(v[..., :5]) * v[..., 1:],
}


def random_case(manifold: Manifold, n: int = 8, count: int = 24) -> tuple[Tensor, Tensor]:
    return points(manifold, n, 3, radius=2.0), edges(n, n, count)


def make_conv(manifold: Manifold, aggr: object = "max", **kwargs: object) -> HyperbolicEdgeConv:
    nn = Sequential(Linear(6, 8), Tanh(), Linear(8, 5))
    return HyperbolicEdgeConv(nn, aggr, manifold=manifold, **kwargs).double()


# The object ------------------------------------------------------------------------------------


def test_repr_tells_network_and_manifold():
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall(0.5))
    nn = "Linear(in_features=6, out_features=5, bias=True)"
    assert str(conv) == f"HyperbolicEdgeConv(nn={nn}, manifold=PoincareBall(c=0.5))"


@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_shape_and_dtype(manifold, dtype):
    x, edge_index = random_case(manifold)
    out = make_conv(manifold).to(dtype)(x.to(dtype), edge_index)
    assert out.shape == (8, manifold.ambient_dim(5))
    assert out.dtype == dtype
    assert_on_manifold(out, manifold)


def test_reset_parameters_resets_network_and_aggregation():
    aggr = gnn.aggr.SoftmaxAggregation(learn=True)
    conv = make_conv(PoincareBall(), aggr)
    torch.nn.init.constant_(aggr.t, 7.0)
    before = conv.nn[0].weight.clone()
    conv.reset_parameters()
    assert not torch.equal(conv.nn[0].weight, before)
    assert aggr.t.item() == 1.0


def test_a_new_layer_resets_its_network_as_pyg_does():
    nn = Linear(6, 5)
    torch.nn.init.constant_(nn.weight, 7.0)
    HyperbolicEdgeConv(nn, manifold=PoincareBall())
    assert not (nn.weight == 7.0).any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same_and_share_one_manifold(duplicate):
    manifold = Lorentz(0.7, learnable=True)
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold, "midpoint")
    other = duplicate(conv)
    assert_near(other(x, edge_index), conv(x, edge_index), 0.0)
    assert other.manifold is other.aggr_module.manifold is not manifold
    assert len(list(other.parameters())) == len(list(conv.parameters())) == 5


def test_layer_and_aggregation_share_the_curvature_through_dtype_changes():
    manifold = PoincareBall(0.7, learnable=True)
    conv = make_conv(manifold, "midpoint").float().to(torch.float64)
    assert conv.manifold is conv.aggr_module.manifold is manifold
    assert [p.dtype for p in conv.parameters()] == 5 * [torch.float64]
    torch.nn.init.constant_(manifold.log_scale, 0.1)
    assert conv.aggr_module.manifold.c == conv.manifold.c


def test_state_dict_restores_weights_and_curvature(tmp_path):
    x, edge_index = random_case(PoincareBall(2.0))
    conv = make_conv(PoincareBall(2.0, learnable=True), "midpoint")
    torch.nn.init.constant_(conv.manifold.log_scale, 0.3)
    torch.save(conv.state_dict(), tmp_path / "state.pt")
    other = make_conv(PoincareBall(1.0, learnable=True), "midpoint")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_near(other(x, edge_index), conv(x, edge_index), 0.0)


def test_positional_arguments_are_those_of_pyg():
    ball = PoincareBall()
    x, edge_index = random_case(ball)
    by_position = HyperbolicEdgeConv(torch.sin, "mean", manifold=ball)
    by_name = HyperbolicEdgeConv(nn=torch.sin, aggr="mean", manifold=ball)
    assert_near(by_position(x, edge_index), by_name(x, edge_index), 0.0)
    assert by_position.aggr == EdgeConv(torch.sin, "mean").aggr


# The definition --------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_layer_is_its_definition_for_every_kind_of_network(manifold, name, training):
    x, edge_index = random_case(manifold)
    nn = NETWORKS[name]()
    conv = HyperbolicEdgeConv(nn, manifold=manifold).double().train(training)
    same = copy.deepcopy(nn)
    expected = edge_conv(manifold, same, x, edge_index, REDUCE["max"])
    assert_near(conv(x, edge_index), expected)
    if isinstance(nn, torch.nn.Module):
        for buffer, reference in zip(nn.buffers(), same.buffers(), strict=True):
            assert_near(buffer, reference)  # running statistics


@each_curved
@pytest.mark.parametrize("reduce", REDUCE)
def test_layer_is_its_definition_for_every_curvature(manifold, reduce):
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold, reduce)
    expected = edge_conv(manifold, conv.nn, x, edge_index, REDUCE[reduce])
    assert_near(conv(x, edge_index), expected)


@each_curved
def test_aggr_midpoint_is_the_midpoint_of_the_messages(manifold):
    x, edge_index = random_case(manifold)
    for aggr in ("midpoint", MidpointAggregation(manifold=manifold)):
        conv = make_conv(manifold, aggr)
        midpoint = definition_of(manifold).midpoint
        expected = edge_conv(manifold, conv.nn, x, edge_index, midpoint, on_points=True)
        assert_near(conv(x, edge_index), expected)


@each_curved
def test_aggr_frechet_mean_is_where_the_logarithms_of_the_messages_cancel(manifold):
    x, edge_index = random_case(manifold)
    for aggr in ("frechet_mean", FrechetMeanAggregation(manifold=manifold)):
        conv = make_conv(manifold, aggr)
        out = conv(x, edge_index)
        messages = edge_messages(manifold, conv.nn, x, x, edge_index)
        space = definition_of(manifold)
        for i in edge_index[1].unique().tolist():
            own = [space.exp0(m) for m in messages[edge_index[1] == i]]
            force = sum(space.rel(out[i], point) for point in own)
            assert_near(force, torch.zeros_like(force), 1e-8)


@each_space
@pytest.mark.parametrize("reduce", REDUCE)
def test_tangent_aggregation_is_the_reduction_in_the_tangent_space(manifold, reduce):
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold, reduce)
    expected = edge_conv(manifold, conv.nn, x, edge_index, REDUCE[reduce])
    for aggr in (TangentAggregation(reduce), TangentAggregation(reduce, manifold=manifold)):
        other = HyperbolicEdgeConv(torch.sin, aggr, manifold=manifold)
        other.nn = conv.nn
        assert_near(other(x, edge_index), expected)


# PyG's EdgeConv --------------------------------------------------------------------------------

AGGREGATIONS = {
    **{name: lambda name=name: name for name in ("max", "mean", "sum", "add", "min", "mul")},
    **{name: lambda name=name: name for name in ("std", "var", "softmax", "powermean", "median")},
    "list": lambda: ["max", "mean"],
    "learnt softmax": lambda: gnn.aggr.SoftmaxAggregation(learn=True, channels=5),
    "quantiles": lambda: gnn.aggr.QuantileAggregation([0.25, 0.75]),
    "multi": lambda: gnn.aggr.MultiAggregation(["min", "std"], mode="sum"),
    "set to set": lambda: gnn.aggr.Set2Set(5, processing_steps=2),
    "variance preserving": lambda: gnn.aggr.VariancePreservingAggregation(),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_on_euclidean_space_it_is_pygs_edge_conv(name):
    x, edge_index = random_case(Euclidean())
    nn = Sequential(Linear(6, 8), ReLU(), Linear(8, 5), Softplus())  # powers need a positive base
    aggr = AGGREGATIONS[name]()
    pyg, ours = EdgeConv(nn, aggr), HyperbolicEdgeConv(nn, aggr, manifold=Euclidean())
    if isinstance(aggr, torch.nn.Module):
        ours.aggr_module = pyg.aggr_module
    if name not in ("std", "multi"):  # a root of small numbers magnifies rounding
        assert_near(ours(x.float(), edge_index), pyg(x.float(), edge_index), 1e-6)
    nn.double()
    pyg.aggr_module.double()
    assert_near(ours(x, edge_index), pyg(x, edge_index), 1e-12)


@pytest.mark.parametrize("start", ["max", "sum", "mean"])
@pytest.mark.parametrize("name", ["median", "max", "softmax"])
def test_an_aggregation_may_be_put_in_place_of_another(start, name):
    x, edge_index = random_case(PoincareBall())
    nn = Sequential(Linear(6, 5), Tanh(), Linear(5, 4)).double()
    aggr = gnn.resolver.aggregation_resolver(name)
    conv = HyperbolicEdgeConv(nn, start, manifold=PoincareBall())
    conv.aggr_module = aggr
    expected = HyperbolicEdgeConv(nn, aggr, manifold=PoincareBall())
    assert_near(conv(x, edge_index), expected(x, edge_index), 1e-12)


def test_aggr_kwargs_reach_pygs_aggregation():
    x, edge_index = random_case(Euclidean())
    edge_index = edge_index[:, edge_index[1].argsort()]
    nn, kwargs = Linear(6, 5).double(), {"in_channels": 5, "out_channels": 4}
    pyg = EdgeConv(nn, "lstm", aggr_kwargs=kwargs).double()
    ours = HyperbolicEdgeConv(nn, "lstm", manifold=Euclidean(), aggr_kwargs=kwargs).double()
    ours.aggr_module.load_state_dict(pyg.aggr_module.state_dict())
    assert_near(ours(x, edge_index), pyg(x, edge_index), 1e-12)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_it_converges_to_edge_conv_as_the_curvature_vanishes(space, reduce):
    v, edge_index = random_case(Euclidean())
    nn = Sequential(Linear(6, 8), Tanh(), Linear(8, 5)).double()
    errors = []
    pyg = EdgeConv(nn, reduce)
    for c in (1e-2, 1e-4, 1e-8):
        manifold = space(c)
        conv = HyperbolicEdgeConv(nn, reduce, manifold=manifold)
        out = conv(manifold.exp0(v), edge_index)[:, -5:]  # without the hyperboloid's time
        errors.append((out - pyg(v, edge_index)).abs().max().item())
    assert errors[0] > 50 * errors[1]  # first order in c
    assert errors[2] < 1e-7


@each_space
def test_bipartite_graphs_follow_the_definition(manifold):
    source, target = points(manifold, 9, 3), points(manifold, 4, 3)
    edge_index = edges(9, 4, 15)
    conv = make_conv(manifold)
    out = conv((source, target), edge_index)
    expected = edge_conv(manifold, conv.nn, source, edge_index, REDUCE["max"], target=target)
    assert out.shape == (4, manifold.ambient_dim(5))
    assert_near(out, expected)


@each_space
@pytest.mark.parametrize("plain", [False, True], ids=["on nodes", "on edges"])
def test_reversed_flow_reads_the_edges_backwards(manifold, plain):
    x, edge_index = random_case(manifold)
    y = points(manifold, 8, 3)
    linear = Linear(6, 5).double()
    nn = Sequential(Sequential(linear)) if plain else linear
    forward = HyperbolicEdgeConv(nn, manifold=manifold)
    backward = HyperbolicEdgeConv(nn, manifold=manifold, flow="target_to_source")
    assert_near(backward(x, edge_index), forward(x, edge_index.flip(0)))
    assert_near(backward((x, y), edge_index), forward((x, y), edge_index.flip(0)))


def test_reversed_flow_is_that_of_pyg():
    """Also for a pair, whose second entry PyG takes for the centres in either direction."""
    (x, edge_index), y = random_case(Euclidean()), points(Euclidean(), 8, 3)
    nn = Linear(6, 5).double()
    pyg = EdgeConv(nn, flow="target_to_source")
    ours = HyperbolicEdgeConv(nn, manifold=Euclidean(), flow="target_to_source")
    assert_near(ours(x, edge_index), pyg(x, edge_index))
    assert_near(ours((x, y), edge_index), pyg((x, y), edge_index))


@each_space
@pytest.mark.parametrize("sort_order", ["row", "col", None])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_edge_index_objects_give_the_same_as_tensors(manifold, sort_order, flow):
    x, edge_index = random_case(manifold)
    if sort_order is not None:
        order = edge_index[0 if sort_order == "row" else 1].argsort(stable=True)
        edge_index = edge_index[:, order]
    conv = make_conv(manifold, "mean", flow=flow)
    adjacency = EdgeIndex(edge_index, sparse_size=(8, 8), sort_order=sort_order)
    assert_near(conv(x, adjacency), conv(x, edge_index))


# The transposed adjacency, in the layouts that PyG's layers take.
TRANSPOSED = {
    "COO": lambda edge_index, size: to_torch_coo_tensor(edge_index, size=size).t().coalesce(),
    "CSR": lambda edge_index, size: to_torch_csr_tensor(edge_index.flip(0), size=size[::-1]),
    "CSC transposed": lambda edge_index, size: to_torch_csc_tensor(edge_index, size=size).t(),
}


@each_space
@pytest.mark.parametrize("layout", TRANSPOSED)
def test_sparse_adjacency_gives_the_same_as_tensors(manifold, layout):
    x, edge_index = random_case(manifold)
    edge_index = edge_index.unique(dim=1)  # a matrix holds an edge once
    conv = make_conv(manifold, "mean")
    adjacency = TRANSPOSED[layout](edge_index, (8, 8))
    assert_near(conv(x, adjacency), conv(x, edge_index))
    source, target = points(manifold, 9, 3), points(manifold, 4, 3)
    edge_index = edges(9, 4, 15).unique(dim=1)
    adjacency = TRANSPOSED[layout](edge_index, (9, 4))
    assert_near(conv((source, target), adjacency), conv((source, target), edge_index))


def test_small_integers_are_edges_where_they_are_for_pyg():
    x, edge_index = random_case(PoincareBall())
    conv = make_conv(PoincareBall())
    EdgeConv(conv.nn)(x, edge_index.int())  # accepted
    assert_near(conv(x, edge_index.int()), conv(x, edge_index), 0.0)


@each_space
def test_static_graphs_share_their_edges(manifold):
    x, edge_index = points(manifold, 3, 8, 3), edges(8, 8, 24)
    conv = make_conv(manifold)
    one_by_one = torch.stack([conv(item, edge_index) for item in x])
    assert_near(conv(x, edge_index), one_by_one)
    across = make_conv(manifold, node_dim=0)
    across.nn = conv.nn
    assert_near(across(x.transpose(0, 1), edge_index), one_by_one.transpose(0, 1))


def test_static_graphs_are_those_of_pyg():
    x, edge_index = points(Euclidean(), 3, 8, 3), edges(8, 8, 24)
    conv = make_conv(Euclidean(), "softmax")
    pyg = EdgeConv(torch.sin, "softmax")
    pyg.nn = conv.nn
    assert_near(conv(x, edge_index), pyg(x, edge_index))


# Unusual graphs --------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("aggr", ["max", "mean", "midpoint", "frechet_mean"])
def test_nodes_without_edges_are_mapped_to_the_origin(manifold, aggr):
    x, edge_index = points(manifold, 8, 3), edges(8, 5, 10)
    conv = make_conv(manifold, aggr)
    origin = manifold.origin(5, dtype=x.dtype)
    assert_near(conv(x, edge_index)[5:], origin.expand(3, -1), 0.0)
    assert_near(conv(x, edge_index[:, :0]), origin.expand(8, -1), 0.0)
    assert conv(x[:0], edge_index[:, :0]).shape == (0, len(origin))


@each_space
def test_self_loops_and_duplicate_edges_are_edges_like_others(manifold):
    x = points(manifold, 3, 3)
    edge_index = torch.tensor([[0, 1, 1, 2, 2], [0, 0, 0, 1, 2]])
    conv = make_conv(manifold, "sum")
    assert_near(conv(x, edge_index), edge_conv(manifold, conv.nn, x, edge_index, REDUCE["sum"]))


@each_space
def test_a_single_node_sees_itself(manifold):
    x, loop = points(manifold, 1, 3), torch.zeros(2, 1, dtype=torch.long)
    conv = make_conv(manifold)
    features = torch.cat([manifold.log0(x), torch.zeros(1, 3, dtype=x.dtype)], dim=-1)
    assert_near(conv(x, loop), manifold.exp0(conv.nn(features)))


@each_space
@pytest.mark.parametrize("aggr", ["max", "mean", "midpoint"])
def test_numbering_of_nodes_and_edges_does_not_matter(manifold, aggr):
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold, aggr)
    out = conv(x, edge_index)
    order = torch.randperm(8)
    assert_near(conv(x[order], order.argsort()[edge_index]), out[order])
    assert_near(conv(x, edge_index[:, torch.randperm(24)]), out)


@each_space
def test_graphs_of_a_batch_are_computed_as_if_alone(manifold):
    x, edge_index = random_case(manifold, n=16)
    left = edge_index % 8
    conv = make_conv(manifold)
    together = conv(x, torch.cat([left, left.flip(0) + 8], dim=1))
    apart = torch.cat([conv(x[:8], left), conv(x[8:], left.flip(0))])
    assert_near(together, apart)


@each_space
def test_the_shipped_battery_accepts_the_layer(manifold):
    check_layer(HyperbolicEdgeConv(batch_norm_net(), manifold=manifold), manifold, 3)


def test_the_shipped_battery_accepts_means_of_points():
    hyperboloid = Lorentz(0.7, learnable=True)
    layer = HyperbolicEdgeConv(Linear(6, 5), "midpoint", manifold=hyperboloid)
    check_layer(layer, hyperboloid, 3)


# Gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("aggr", ["max", "midpoint"])
@pytest.mark.parametrize("plain", [False, True], ids=["on nodes", "on edges"])
def test_gradients_in_points_weights_and_curvature(space, aggr, plain):
    manifold = space(0.7, learnable=True)
    nn = Sequential(Linear(4, 3), Softplus(), Linear(3, 2))
    conv = HyperbolicEdgeConv(Sequential(nn) if plain else nn, aggr, manifold=manifold).double()
    edge_index = torch.tensor([[0, 1, 2, 3, 1, 2], [1, 0, 1, 2, 2, 0]])
    assert check_gradients(conv, points(manifold, 4, 2), edge_index) == 6


def far_gradients(conv: HyperbolicEdgeConv, x: Tensor, edge_index: Tensor) -> dict[str, Tensor]:
    """Gradients of the layer's parameters between points and some of them."""
    dtype = x.dtype
    conv = copy.deepcopy(conv).to(dtype)
    conv((x, x[:4].clone()), edge_index).double().square().sum().backward()
    return {name: p.grad.double() for name, p in conv.named_parameters()}


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("aggr", ["max", "mean"])
@pytest.mark.parametrize("frame", [None, "local"])
def test_gradients_of_two_sets_far_from_the_origin(space, aggr, frame):
    """Those by targets and by sources are up to exp(radius) times as large as their sum."""
    manifold = space(1.0, learnable=True)
    far = manifold.exp0(torch.tensor([6.0 * manifold.rel_unit, 0, 0], dtype=torch.float64))
    x = manifold.move(far.expand(8, -1), 0.5 * torch.randn(8, 3, dtype=torch.float64)).detach()
    conv = HyperbolicEdgeConv(Linear(6, 4), aggr, manifold=manifold, frame=frame)
    edge_index = torch.cartesian_prod(torch.arange(8), torch.arange(4)).T
    found = far_gradients(conv, x.float(), edge_index)
    exact = far_gradients(conv, x.float().double(), edge_index)
    for name in exact:
        error = (found[name] - exact[name]).abs().max() / exact[name].abs().max()
        assert error < 2e-5, name


@pytest.mark.skipif(not WITH_NUMBA, reason="needs numba")
@each_curved
def test_gradients_by_points_in_wide_local_frames_are_as_accurate_as_plain_ones(manifold):
    """What does not turn with a window has a gradient across its turns: far from the origin that
    counts exp(radius) times.
    """
    conv = make_conv(manifold, frame="local")
    v = 3.5 * manifold.rel_unit / 2 / manifold.c**0.5 * torch.randn(120, 3, dtype=torch.float64)
    x = manifold.exp0(v).float()
    targets = torch.arange(120).repeat_interleave(5)
    edge_index = torch.stack([torch.randint(120, (600,)), targets])

    def gradient(dtype: torch.dtype, fused: bool) -> Tensor:
        leaf = x.to(dtype).clone().requires_grad_()
        try:
            set_fused(fused)
            out = copy.deepcopy(conv).to(dtype)(leaf, edge_index)
        finally:
            set_fused(True)
        return torch.autograd.grad(out.double().sum(), leaf)[0].double()

    exact = gradient(torch.float64, False)
    plain, fused = (gradient(torch.float32, flag) - exact for flag in (False, True))
    size = exact.norm(dim=1)
    assert (fused.norm(dim=1) / size).median() < 2 * (plain.norm(dim=1) / size).median() + 1e-7


@each_space
def test_gradients_are_finite_between_coincident_points(manifold):
    x = manifold.origin(4, 3, dtype=torch.float64).requires_grad_()
    conv = make_conv(manifold)
    conv(x, edges(4, 4, 12)).sum().backward()
    for tensor in (x, *conv.parameters()):
        assert tensor.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("manifold", CURVED, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1.5, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_that_are_no_points_are_projected(manifold, scale, dtype):
    """On or beyond the boundary of the ball; with another time on the hyperboloid."""
    direction = torch.randn(8, manifold.ambient_dim(3), dtype=dtype)
    x = torch.nn.functional.normalize(direction, dim=-1) * scale * manifold.c**-0.5
    x.requires_grad_()
    conv, edge_index = make_conv(manifold).to(dtype), edges(8, 8, 24)
    out = conv(x, edge_index)
    out.sum().backward()
    assert_on_manifold(out, manifold)
    assert all(tensor.grad.isfinite().all() for tensor in (x, *conv.parameters()))
    # In float64 a ball's projected point has the gap 2^-48, which one rounding of its coordinates
    # moves by 2^-52, a 16th: log0 moves by half of that, and the layer by about as much.
    atol = 1e-5 if dtype == torch.float32 else 2**-5
    torch.testing.assert_close(out, conv(manifold.projx(x), edge_index), atol=atol, rtol=1e-4)


# Symmetries ------------------------------------------------------------------------------------


def features_of_node(manifold: Manifold, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the network sees of the other nodes from node 0: position, relative vectors."""
    return manifold.log0(x[0]), manifold.rel(x[:1], x[1:])


@each_curved
def test_lengths_and_angles_of_relative_vectors_do_not_depend_on_the_frame(manifold):
    x = points(manifold, 8, 3, radius=2.0)

    def gram(x: Tensor) -> Tensor:
        _, rel = features_of_node(manifold, x)
        return rel @ rel.T

    assert_isometry_invariant(gram, x, manifold, length=1.0, factor=1e4)  # 1e-9


@each_curved
def test_the_graph_of_nearest_neighbours_does_not_depend_on_the_frame(manifold):
    x = points(manifold, 30, 3, radius=2.0)
    graph = lambda x: knn_graph(x, 4, manifold=manifold).double()  # noqa: E731
    assert_isometry_invariant(graph, x, manifold)


@each_curved
def test_features_depend_on_the_frame(manifold):
    """Documented: positions change under any isometry, relative vectors turn with the frame."""
    x = points(manifold, 8, 3, radius=2.0)
    for feature in (0, 1):
        for length in (0.0, 1.0):  # rotations about the origin, translations
            with pytest.raises(AssertionError):
                assert_isometry_invariant(
                    lambda x, i=feature: features_of_node(manifold, x)[i],
                    x,
                    manifold,
                    length=length,
                    factor=1e8,
                )


@each_curved
def test_relative_vectors_of_a_node_turn_by_one_rotation(manifold):
    x = points(manifold, 8, 3, radius=2.0)
    phi = random_isometry(manifold, 3, length=1.5, generator=torch.Generator().manual_seed(3))
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        before, after = manifold.rel(x[i], x[others]), manifold.rel(phi(x[i]), phi(x[others]))
        turn = torch.linalg.lstsq(before, after).solution
        assert_near(before @ turn, after, 1e-9)
        assert_near(turn @ turn.T, torch.eye(3, dtype=x.dtype), 1e-9)


def seen(v: Tensor) -> Tensor:
    return v[..., 3:].square().sum(-1, keepdim=True)


def place(v: Tensor) -> Tensor:
    return v[..., :3].square().sum(-1, keepdim=True)


@each_curved
def test_the_layer_is_as_invariant_as_what_its_network_looks_at(manifold):
    x, edge_index = random_case(manifold)

    def layer(nn):
        return lambda x: HyperbolicEdgeConv(nn, "mean", manifold=manifold)(x, edge_index)

    check = lambda nn, length: assert_isometry_invariant(  # noqa: E731
        layer(nn), x, manifold, length=length, factor=1e4
    )
    check(seen, 0.0)
    check(seen, 1.0)
    check(place, 0.0)
    for nn, length in ((place, 1.0), (torch.sin, 0.0), (torch.sin, 1.0)):
        with pytest.raises(AssertionError):
            check(nn, length)


# Precision and compilation ---------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("wrap", [Sequential, lambda nn: lambda v: nn(v)], ids=["nodes", "edges"])
def test_autocast_keeps_geometry_in_float32(manifold, wrap):
    """Only the network may lose precision: at radius 6 geometry in bfloat16 has lost all of it."""
    x = points(manifold, 8, 3, dtype=torch.float32)
    x = manifold.move(manifold.exp0(torch.tensor([[3.0, 0.0, 0.0]])), manifold.log0(x))
    edge_index = edges(8, 8, 24)
    nn = Linear(6, 5)
    conv = HyperbolicEdgeConv(wrap(nn), manifold=manifold)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x, edge_index)
    expected = edge_conv(manifold, nn.double(), x.double(), edge_index, REDUCE["max"])
    if manifold.c:
        assert out.dtype == torch.float32
    assert_on_manifold(out, manifold)
    error = (manifold.log0(out.double()) - manifold.log0(expected)).abs().max()
    assert error < 0.05 * manifold.log0(expected).abs().max()


@each_space
@pytest.mark.parametrize("aggr", ["max", "sum", "mean"])
@pytest.mark.parametrize("deep", [False, True])
def test_autocast_takes_local_frames(manifold, aggr, deep):
    nn = Sequential(Linear(6, 5), Tanh(), Linear(5, 4)) if deep else Linear(6, 4)
    conv = HyperbolicEdgeConv(nn, aggr, manifold=manifold, frame="local")
    x, edge_index = points(manifold, 8, 3, dtype=torch.float32), edges(8, 8, 24)
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x, edge_index)
    (grad,) = torch.autograd.grad(out.float().sum(), x)
    assert grad.isfinite().all()
    expected = manifold.log0(conv(x, edge_index))
    error = (manifold.log0(out.float()) - expected).abs().max()
    assert error < 0.05 * expected.abs().max()


@each_space
@pytest.mark.parametrize("aggr", ["max", "min", "mean", "sum"])
@pytest.mark.parametrize("plain", [False, True])
def test_numbers_that_are_none_are_not_passed_over(manifold, aggr, plain):
    """As in PyG: a network that diverged does not look healthy."""
    conv = HyperbolicEdgeConv(
        Sequential(Linear(6, 5), Tanh(), Linear(5, 4)), aggr, manifold=manifold
    )
    x, edge_index = random_case(manifold)
    x = x.float()
    conv.nn[-1].weight.data[0] = torch.nan
    try:
        set_fused(not plain)
        out = conv(x, edge_index)
    finally:
        set_fused(True)
    reached = edge_index[1].unique()
    assert out[reached].isnan().any(dim=1).all()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_takes_flat_windows_in_half_precision(fused, half):
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=Euclidean(), frame="local")
    x, edge_index = torch.randn(9, 3).to(half), edges(9, 9, 30)
    exact = conv(x.float(), edge_index)
    try:
        set_fused(fused)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = conv(x, edge_index)
    finally:
        set_fused(True)
    # bfloat16 has 8 bits; 6 products of about 1 are added.
    torch.testing.assert_close(out.float(), exact, atol=0.05, rtol=0.05)


def test_autocast_takes_points_in_half_precision():
    ball = PoincareBall()
    x, edge_index = random_case(ball)
    conv = make_conv(ball, "midpoint").float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x.bfloat16(), edge_index)
        expected = conv(x.bfloat16().float(), edge_index)
    assert_near(out, expected, 0.0)
    assert out.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manifold", "name", "backend"),
    [
        (PoincareBall(learnable=True), "batch norm", "inductor"),
        (Lorentz(), "PyG Linear first", "aot_eager"),
    ],
    ids=str,
)
def test_compiled_layer_equals_eager_for_any_number_of_nodes(manifold, name, backend):
    conv = HyperbolicEdgeConv(NETWORKS[name](), manifold=manifold).eval()
    loop = torch.zeros(2, 1, dtype=torch.long)
    cases = []
    for n in (8, 13):
        x, edge_index = random_case(manifold, n=n, count=3 * n)
        cases.append((x.float(), torch.cat([edge_index, loop], dim=1)))
    check_compiled(conv, cases, backend=backend, atol=1e-5)


# In PyG models ---------------------------------------------------------------------------------


@each_space
def test_layers_work_in_a_pyg_sequential(manifold):
    model = gnn.Sequential(
        "x, edge_index, batch",
        [
            (HyperbolicEdgeConv(gnn.MLP([6, 8]), manifold=manifold), "x, edge_index -> x"),
            (HyperbolicEdgeConv(Linear(16, 4), "mean", manifold=manifold), "x, edge_index -> x"),
            (manifold.log0, "x -> x"),
            (gnn.GCNConv(4, 4), "x, edge_index -> x"),
            (gnn.global_max_pool, "x, batch -> x"),
            Linear(4, 2),
        ],
    )
    x, edge_index = random_case(manifold)
    batch = torch.arange(2).repeat_interleave(4)
    out = model(x.float(), edge_index, batch)
    assert out.shape == (2, 2)
    out.sum().backward()
    grads = [p.grad for p in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


# Bad arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "manifold", [geoopt.PoincareBall(), "poincare", None, PoincareBall], ids=repr
)
def test_unknown_manifold_is_named(manifold):
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got "):
        HyperbolicEdgeConv(Linear(6, 5), manifold=manifold)


@pytest.mark.parametrize("manifold", SPACES, ids=str)
def test_an_odd_number_of_inputs_is_named(manifold):
    conv = HyperbolicEdgeConv(Linear(7, 5), manifold=manifold)
    with pytest.raises(ValueError, match=r"^'nn' must take 2 \* in_channels inputs \(got 7\)$"):
        conv(manifold.origin(4, 3), edges(4, 4, 6))


@pytest.mark.parametrize("manifold", SPACES, ids=str)
def test_wrong_last_dimension_is_named(manifold):
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=manifold)
    width = manifold.ambient_dim(3)
    message = rf"'x' must have last dimension {width} \(got {width + 1}\)"
    with pytest.raises(ValueError, match=message):
        conv(torch.zeros(4, width + 1), edges(4, 4, 6))
    with pytest.raises(ValueError, match=rf"'x' must have last dimension {width} .*{width + 2}"):
        conv((torch.zeros(4, width), torch.zeros(4, width + 2)), edges(4, 4, 6))


@pytest.mark.parametrize("nn", [Linear(6, 5), torch.sin], ids=["linear", "plain"])
def test_a_point_alone_is_named(nn):
    conv = HyperbolicEdgeConv(nn, manifold=PoincareBall())
    x = torch.zeros(4, 3)
    for one in (torch.tensor(1.0), x[0], (x[0], x), (x, x[0])):
        with pytest.raises(ValueError, match=r"'x' must have at least 2 dimensions \(got shape"):
            conv(one, edges(4, 4, 6))


def test_integer_features_are_named():
    conv = HyperbolicEdgeConv(torch.sin, manifold=PoincareBall())
    with pytest.raises(TypeError, match=r"'x' must be a floating-point tensor \(got torch.int64\)"):
        conv(torch.zeros(4, 3, dtype=torch.long), edges(4, 4, 6))


@pytest.mark.parametrize("nn", [Linear(6, 5), torch.sin], ids=["linear", "plain"])
def test_mixed_dtypes_are_named(nn):
    conv = HyperbolicEdgeConv(nn, manifold=PoincareBall())
    x = torch.zeros(4, 3)
    with pytest.raises(TypeError, match=r"'x' must have dtype torch.float32 .*torch.float64"):
        conv((x, x.double()), edges(4, 4, 6))


def test_points_of_another_dtype_than_the_weights_are_named():
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall())
    with pytest.raises(TypeError, match=r"'x' must have .* torch.float32 \(got torch.float64\)"):
        conv(torch.zeros(4, 3, dtype=torch.float64), edges(4, 4, 6))


def test_mixed_devices_are_named():
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall())
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"'x' must be on cpu .*\(got meta\)"):
        conv((x, x.to("meta")), edges(4, 4, 6))
    with pytest.raises(ValueError, match=r"'x' must be on .*meta \(got cpu\)"):
        conv.to("meta")(x, edges(4, 4, 6))


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("bad", [-1, 4])
@pytest.mark.parametrize("row", [0, 1])
def test_edges_out_of_range_are_named_when_validation_is_on(validation, flow, bad, row):
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall(), flow=flow)
    edge_index = torch.tensor([[0, 1, 2], [3, 3, 3]])
    x = torch.zeros(4, 3)
    conv(x, edge_index)
    edge_index[row, 1] = bad
    role = "source" if (row == 0) == (flow == "source_to_target") else "target"
    low, high = edge_index[row].min(), edge_index[row].max()
    message = rf"'edge_index' must hold {role} indices in \[0, 4\) \(got {low} to {high}\)"
    with pytest.raises(ValueError, match=message):
        conv(x, edge_index)


def test_ranges_of_bipartite_edges_are_those_of_each_side(validation):
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall())
    x = (torch.zeros(4, 3), torch.zeros(2, 3))
    conv(x, torch.tensor([[3], [1]]))
    conv(x, torch.empty(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"target indices in \[0, 2\) \(got 2 to 2\)"):
        conv(x, torch.tensor([[3], [2]]))


@pytest.mark.parametrize("rows", [1, 3])
def test_edges_of_the_wrong_shape_are_named_with_validation_too(validation, rows):
    conv = HyperbolicEdgeConv(Linear(6, 5), manifold=PoincareBall())
    with pytest.raises(ValueError, match=rf"'edge_index' .*\(got '{rows}'\)"):
        conv(torch.zeros(4, 3), torch.zeros(rows, 6, dtype=torch.long))


def test_every_kind_of_adjacency_passes_validation(validation):
    x, edge_index = random_case(PoincareBall())
    conv = make_conv(PoincareBall())
    edge_index = edge_index.unique(dim=1).contiguous()
    expected = conv(x, edge_index)
    assert_near(conv(x, EdgeIndex(edge_index, sparse_size=(8, 8))), expected)
    for transpose in TRANSPOSED.values():
        assert_near(conv(x, transpose(edge_index, (8, 8))), expected)


@pytest.mark.parametrize(
    "aggr",
    [
        MidpointAggregation(manifold=PoincareBall(2.0)),
        FrechetMeanAggregation(manifold=Lorentz()),
        TangentAggregation("max", manifold=Euclidean()),
    ],
    ids=str,
)
def test_aggregation_on_another_manifold_is_named(aggr):
    message = r"'aggr' must act on PoincareBall\(c=1.0\) \(got \w+Aggregation\("
    with pytest.raises(ValueError, match=message):
        HyperbolicEdgeConv(Linear(6, 5), aggr, manifold=PoincareBall(1.0))


@each_space
@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("aggr", ["max", "mean", "midpoint"])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_edges_may_come_grouped_by_their_targets(manifold, net, aggr, flow):
    conv = HyperbolicEdgeConv(net(), aggr, manifold=manifold, flow=flow).double().eval()
    # as many sources as targets, where PyG counts the rows of a reversed flow by the first
    num = 9 if flow == "source_to_target" else 7
    source, target = points(manifold, num, 3), points(manifold, 7, 3)
    counts = torch.tensor([3, 0, 1, 8, 2, 0, 4])
    rowptr = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    col = torch.randint(0, num, (int(rowptr[-1]),))
    edge_index = torch.stack([col, torch.arange(7).repeat_interleave(counts)])
    if flow == "target_to_source":
        edge_index = edge_index.flip(0)
    expected = conv((source, target), edge_index)
    assert_near(conv((source, target), (rowptr, col)), expected)
    assert_near(conv((source, target), (rowptr.int(), col.int())), expected)
    with pytest.raises(IndexError, match=rf"source indices in \[0, {num}\)"):
        conv((source, target), (rowptr, col + num))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("aggr", ["max", "min", "sum", "mean"])
@pytest.mark.parametrize("radius", [8.0, 20.0, 38.0])
def test_an_edge_from_a_node_to_itself_is_no_relative_vector(dtype, aggr, radius):
    """Also far out, where what rounds in products of coordinates is exp(radius) times as large."""
    hyperboloid = Lorentz()
    direction = torch.nn.functional.normalize(torch.randn(20, 4, dtype=torch.float64), dim=-1)
    x = hyperboloid.exp0(radius * direction).to(dtype)
    conv = HyperbolicEdgeConv(torch.nn.Linear(8, 3), aggr, manifold=hyperboloid).to(dtype)
    loops = torch.arange(20).repeat(2, 1)
    absolute, bias = conv.nn.weight[:, :4] * 0.1, conv.nn.bias
    conv.nn.weight.data *= 0.1  # outputs that are points of float32
    expected = torch.nn.functional.linear(hyperboloid.log0(x), absolute, bias)
    rounding = 64 * torch.finfo(dtype).eps * expected.abs().max().item()
    found = hyperboloid.log0(conv(x, loops))
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding)


@pytest.mark.skipif(not WITH_NUMBA, reason="indices are checked for compiled loops")
@pytest.mark.parametrize("col", [[0, 1, 9], [0, 1, -1], [0, 1, 10**9]])
def test_a_compiled_layer_looks_at_grouped_edges_when_it_runs(col):
    ball = PoincareBall()
    conv = HyperbolicEdgeConv(Linear(6, 4), manifold=ball)
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    x, rowptr = ball.random(4, 3), torch.tensor([0, 1, 1, 3, 3])
    good = torch.tensor([0, 3, 2])
    assert_near(compiled(x, (rowptr, good)), conv(x, (rowptr, good)), 1e-6)
    with pytest.raises(IndexError, match=r"source indices in \[0, 4\)"):
        compiled(x, (rowptr, torch.tensor(col)))


@pytest.mark.parametrize("edges", [(), (1,), (1, 2, 3)], ids=len)
def test_another_number_of_grouped_tensors_is_named(edges):
    conv = HyperbolicEdgeConv(Linear(6, 4), manifold=Euclidean())
    message = rf"'edge_index' must be offsets and sources if a tuple \(got {len(edges)}\)"
    with pytest.raises(ValueError, match=message):
        conv(torch.randn(4, 3), edges)


@pytest.mark.parametrize("nn", [Linear(6, 5), torch.sin], ids=["linear", "plain"])
def test_sources_and_targets_of_other_dimensions_are_named(nn):
    conv, x = HyperbolicEdgeConv(nn, manifold=Euclidean()), torch.randn(4, 3)
    edge_index = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match=r"'x' must have 2 dimensions as the other"):
        conv((x, x[None]), edge_index)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("frame", [None, "local"])
def test_no_nodes_give_no_points(frame, fused):
    conv = HyperbolicEdgeConv(Linear(6, 4), manifold=PoincareBall(), frame=frame)
    set_fused(fused)
    try:
        assert conv(torch.zeros(0, 3), torch.zeros(2, 0).long()).shape == (0, 4)
    finally:
        set_fused(True)
