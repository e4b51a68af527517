"""Edge convolutions without messages: equal to those with messages, and taken where they can be."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch_geometric.nn as gnn
from torch import Tensor
from torch.nn import (
    ELU,
    GELU,
    BatchNorm1d,
    Dropout,
    Hardtanh,
    LeakyReLU,
    Linear,
    PReLU,
    ReLU,
    Sequential,
    Sigmoid,
    Softplus,
    Tanh,
)
from torch_geometric import EdgeIndex
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csr_tensor

from tests.nn.conv.helpers import assert_near, edges, points
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import (
    DynamicHyperbolicEdgeConv,
    HyperbolicEdgeConv,
    TangentAggregation,
)
from torch_geometric_hyperbolic.nn.conv import _edge_terms, _fused_edges, hyperbolic_edge_conv
from torch_geometric_hyperbolic.typing import WITH_NUMBA

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="needs an engine")


@pytest.fixture(autouse=True)
def switched_back() -> Iterator[None]:
    yield
    set_fused(True)


def with_norm(norm, activation, *rest, first=Linear):
    """A network whose batch norm has weights of both signs, and statistics."""
    nn = Sequential(first(6, 5), norm, activation, *rest)
    inner = getattr(norm, "module", norm)
    if inner.affine:
        torch.nn.init.normal_(inner.weight)
        torch.nn.init.normal_(inner.bias)
    if inner.running_mean is not None:
        torch.nn.init.normal_(inner.running_mean)
        torch.nn.init.uniform_(inner.running_var, 0.5, 2.0)
    return nn


def make_conv(nn, aggr, manifold, **kwargs):
    """A layer that does not reset its network, in float64."""
    layer = HyperbolicEdgeConv(torch.sin, aggr, manifold=manifold, **kwargs)
    layer.nn = nn
    return layer.double()


NETWORKS = {
    "linear": lambda: Linear(6, 5),
    "no bias": lambda: Sequential(Linear(6, 5, bias=False)),
    "activation": lambda: Sequential(Linear(6, 5), ReLU()),
    "batch norm": lambda: with_norm(BatchNorm1d(5), LeakyReLU(0.2)),
    "PyG": lambda: with_norm(gnn.BatchNorm(5), ReLU(), first=gnn.Linear),
    "deeper": lambda: with_norm(BatchNorm1d(5), ReLU(), Linear(5, 4)),
}

AGGREGATIONS = {
    **{name: lambda name=name: name for name in ("max", "min", "mean", "sum", "add")},
    **{name: lambda name=name: name for name in ("midpoint", "std")},
    "tangent": lambda: TangentAggregation("max"),
    "list": lambda: ["max", "mean"],
}

#: What can be computed without a tensor of all messages.
FUSED_AGGREGATIONS = ("max", "min", "mean", "sum", "add", "tangent")

MANIFOLDS = [PoincareBall(1.0), Lorentz(0.7), Euclidean(), PoincareBall(0.7, learnable=True)]
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
each_mode = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
each_reduction = pytest.mark.parametrize("aggr", ["max", "min", "mean", "sum"])


def ragged_edges(sources=9, targets=8, count=30) -> Tensor:
    """Unsorted, with multi-edges; the last target and the last source have none."""
    edge_index = edges(sources - 1, targets - 1, count)
    return torch.cat([edge_index, edge_index[:, 3:5]], dim=1)


def results(conv, fused, x, *args):
    """Output, gradients of points and parameters, and buffers."""
    set_fused(fused)
    conv = copy.deepcopy(conv)
    given = [t.detach().clone().requires_grad_() for t in (x if isinstance(x, tuple) else [x])]
    out = conv(tuple(given) if isinstance(x, tuple) else given[0], *args)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    grads = torch.autograd.grad(
        (out * weight).sum(), [*given, *conv.parameters()], materialize_grads=True
    )
    return [out.detach(), *grads, *conv.buffers()]


def scales(tensors, conv, inputs):
    """Size of each tensor's largest entry, at least 1. A bias before a batch norm of the batch has
    no effect: its gradient is the rounding error of all others, and compared with the largest.
    """
    sizes = [t.double().abs().max().clamp(min=1.0).item() if t.numel() else 1.0 for t in tensors]
    names = [name for name, _ in conv.named_parameters()]
    for k, name in enumerate(names, start=1 + inputs):
        if name in ("nn.bias", "nn.0.bias"):
            sizes[k] = max(sizes[1 : 1 + inputs + len(names)])
    return sizes


def assert_same(actual, expected, conv, inputs=1, atol=1e-9):
    sizes = scales(expected, conv, inputs)
    for one, other, size in zip(actual, expected, sizes, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert_near(one.double() / size, other.double() / size, atol)


def assert_same_results(conv, x, *args, atol=1e-9):
    actual, expected = (results(conv, fused, x, *args) for fused in (True, False))
    assert_same(actual, expected, conv, len(x) if isinstance(x, tuple) else 1, atol)


ROOT = Path(__file__).parents[3]


# Equal -----------------------------------------------------------------------------------------


@each_manifold
@each_mode
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_it_equals_message_passing(manifold, training, network, aggr):
    nn, manifold = NETWORKS[network](), copy.deepcopy(manifold)
    conv = make_conv(nn, AGGREGATIONS[aggr](), manifold).train(training)
    source, target = points(manifold, 9, 3, radius=3.0), points(manifold, 8, 3, radius=3.0)
    assert_same_results(conv, (source, target), ragged_edges())


def uncounted(norm):
    """A batch norm that knows of no batches: with no momentum either its statistics stay."""
    norm.num_batches_tracked = None
    return norm


NORMS = {
    "cumulative": lambda: BatchNorm1d(5, momentum=None),
    "other momentum": lambda: BatchNorm1d(5, momentum=0.7, eps=0.1),
    "no momentum": lambda: BatchNorm1d(5, momentum=0.0),
    "no statistics": lambda: BatchNorm1d(5, track_running_stats=False),
    "not affine": lambda: BatchNorm1d(5, affine=False),
    "neither": lambda: BatchNorm1d(5, affine=False, track_running_stats=False),
    "no bias": lambda: BatchNorm1d(5, bias=False),
    "not counted": lambda: uncounted(BatchNorm1d(5, momentum=None)),
    "PyG single element": lambda: gnn.BatchNorm(5, allow_single_element=True),
    "PyG cumulative": lambda: gnn.BatchNorm(5, momentum=None),
}


def normalised(name):
    """A network with that batch norm; weights and statistics are those of a new one."""
    if name == "no bias":
        try:
            BatchNorm1d(5, bias=False)
        except TypeError:
            pytest.skip("needs a newer PyTorch")
    return Sequential(Linear(6, 5), NORMS[name](), LeakyReLU(0.2))


@each_mode
@each_reduction
@pytest.mark.parametrize("name", NORMS)
def test_every_kind_of_batch_norm(training, aggr, name):
    conv = make_conv(normalised(name), aggr, PoincareBall()).train(training)
    x, edge_index = points(PoincareBall(), 9, 3, radius=3.0), ragged_edges(9, 9)
    assert_same_results(conv, x, edge_index)
    states = []
    for fused in (True, False):  # statistics of several batches
        set_fused(fused)
        other = copy.deepcopy(conv)
        for k in range(3):
            other(x, edge_index[:, k:])
        states.append([buffer.double() for buffer in other.buffers()])
    for buffer, reference in zip(*states, strict=True):
        assert_near(buffer, reference, 1e-12)


@each_reduction
def test_calls_of_either_kind_can_wait_for_their_backward_pass(aggr):
    conv = make_conv(NETWORKS["batch norm"](), aggr, PoincareBall()).train()
    x, edge_index = points(PoincareBall(), 9, 3), ragged_edges(9, 9)

    def gradients(*fused):
        outs = []
        for flag in fused:
            set_fused(flag)
            outs.append(conv(x, edge_index))
        return [torch.autograd.grad(out.sum(), [*conv.parameters()]) for out in outs]

    first, second = gradients(False, True)
    for one, other, expected in zip(first, second, *gradients(False), strict=True):
        assert_near(one, expected, 1e-9)
        assert_near(other, expected, 1e-9)


def test_frozen_statistics_stay():
    conv = make_conv(NETWORKS["batch norm"](), "max", PoincareBall()).train()
    conv.nn[1].eval()
    before = [b.clone() for b in conv.buffers()]
    assert_same_results(conv, points(PoincareBall(), 9, 3), ragged_edges(9, 9))
    conv(points(PoincareBall(), 9, 3), ragged_edges(9, 9))
    assert all(torch.equal(b, c) for b, c in zip(conv.buffers(), before, strict=True))


@each_mode
@each_reduction
def test_tracking_switched_off_later_is_obeyed(training, aggr):
    conv = make_conv(NETWORKS["batch norm"](), aggr, PoincareBall()).train(training)
    conv.nn[1].track_running_stats = False
    assert_same_results(conv, points(PoincareBall(), 9, 3), ragged_edges(9, 9))


@each_mode
@each_reduction
def test_a_weight_of_zero_leaves_the_bias(training, aggr):
    """All messages are equal there: the gradient of the weight depends on which is taken."""
    conv = make_conv(NETWORKS["batch norm"](), aggr, PoincareBall()).train(training)
    with torch.no_grad():
        conv.nn[1].weight[1:3] = 0
    x, edge_index = points(PoincareBall(), 9, 3), ragged_edges(9, 9)
    actual, expected = (results(conv, fused, x, edge_index) for fused in (True, False))
    if aggr in ("max", "min"):
        weight = 2 + [name for name, _ in conv.named_parameters()].index("nn.1.weight")
        for result in (actual, expected):
            result[weight][1:3] = 0
    assert_same(actual, expected, conv)


ACTIVATIONS = [
    ELU(0.7), Hardtanh(-0.5, 0.5), Sigmoid(), Softplus(), Tanh(), ReLU(inplace=True),
    LeakyReLU(0.3, inplace=True), LeakyReLU(-0.5), LeakyReLU(1.5), ELU(-1.0), GELU(), PReLU(),
]  # fmt: skip


@each_reduction
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
def test_every_kind_of_activation(aggr, activation, norm):
    activation = copy.deepcopy(activation)
    nn = with_norm(BatchNorm1d(5), activation) if norm else Sequential(Linear(6, 5), activation)
    conv = make_conv(nn, aggr, PoincareBall())
    assert_same_results(conv, points(PoincareBall(), 9, 3, radius=3.0), ragged_edges(9, 9))


@each_reduction
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_both_flows_and_edge_index_objects(aggr, flow):
    hyperboloid = Lorentz(0.7)
    conv = make_conv(NETWORKS["batch norm"](), aggr, hyperboloid, flow=flow)
    edge_index = ragged_edges(9, 9)
    x = points(hyperboloid, 9, 3, radius=3.0)
    pair = (x, points(hyperboloid, 9, 3, radius=3.0))
    for adjacency in (
        edge_index,
        EdgeIndex(edge_index, sparse_size=(9, 9)),
        EdgeIndex(edge_index),
    ):
        assert_same_results(conv, x, adjacency)
        assert_same_results(conv, pair, adjacency)
    # with small integers the gradients of PyG's message passing are wrong
    for given in (x, pair):
        small, usual = (results(conv, True, given, e) for e in (edge_index.int(), edge_index))
        assert all(torch.equal(one, other) for one, other in zip(small, usual, strict=True))


@each_reduction
@pytest.mark.parametrize("layout", ["COO", "CSR"])
def test_sparse_adjacency(aggr, layout):
    ball = PoincareBall()
    conv = make_conv(NETWORKS["batch norm"](), aggr, ball)
    edge_index = ragged_edges().unique(dim=1)
    if layout == "COO":
        adjacency = to_torch_coo_tensor(edge_index, size=(9, 8)).t().coalesce()
    else:
        adjacency = to_torch_csr_tensor(edge_index.flip(0), size=(8, 9))
    pair = (points(ball, 9, 3), points(ball, 8, 3))
    assert_same_results(conv, pair, adjacency)
    assert_near(conv.eval()(pair, adjacency), conv(pair, edge_index))


@each_manifold
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", ["max", "mean", "std"])
def test_dynamic_layers(manifold, network, aggr):
    manifold = copy.deepcopy(manifold)
    layer = DynamicHyperbolicEdgeConv(torch.sin, 3, aggr, manifold=manifold)
    layer.nn = NETWORKS[network]()
    x, y = points(manifold, 9, 3, radius=2.0), points(manifold, 8, 3, radius=2.0)
    batch = torch.tensor([0] * 4 + [1] * 5)
    assert_same_results(layer.double(), x, batch)
    assert_same_results(layer, (x, y), (batch, batch[:8]))


@each_manifold
@each_reduction
def test_equal_points_share_what_their_gradient_is(manifold, aggr):
    """Which of equal messages is taken may differ; what they get together may not."""
    manifold = copy.deepcopy(manifold)
    conv = make_conv(NETWORKS["batch norm"](), aggr, manifold)
    x = points(manifold, 5, 3, radius=2.0).repeat(2, 1)
    half = edges(5, 5, 15)
    edge_index = torch.cat([half, half + torch.tensor([[5], [0]])], dim=1)
    actual, expected = (results(conv, fused, x, edge_index) for fused in (True, False))
    for result in (actual, expected):
        result[1] = result[1][:5] + result[1][5:]
    assert_same(actual, expected, conv)


@each_manifold
@pytest.mark.parametrize("network", ["linear", "activation", "deeper"])
@pytest.mark.parametrize("aggr", ["max", "sum"])
def test_graphs_without_edges_or_nodes(manifold, network, aggr):
    conv = make_conv(NETWORKS[network](), aggr, copy.deepcopy(manifold)).eval()
    none = torch.empty(2, 0, dtype=torch.long)
    x = points(manifold, 4, 3)
    for pair in ((x, x), (x, x[:0]), (x[:0], x), (x[:0], x[:0])):
        assert_same_results(conv, pair, none)


@each_reduction
@pytest.mark.parametrize("norm", [BatchNorm1d, gnn.BatchNorm])
def test_one_edge_is_not_enough_for_a_batch_norm(aggr, norm):
    conv = make_conv(with_norm(norm(5), ReLU()), aggr, PoincareBall())
    x, edge = points(PoincareBall(), 3, 3), torch.tensor([[0], [2]])
    for fused in (True, False):
        set_fused(fused)
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            conv(x, edge)
    assert_same_results(conv.eval(), x, edge)


# PyG's layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", ["max", "min", "mean", "sum"])
@each_mode
def test_on_euclidean_space_it_is_pygs_edge_conv(network, aggr, training):
    nn = NETWORKS[network]()
    ours = make_conv(nn, aggr, Euclidean()).float().train(training)
    pyg = gnn.EdgeConv(torch.sin, aggr).train(training)
    pyg.nn = copy.deepcopy(nn)
    x, edge_index = torch.randn(30, 3), ragged_edges(30, 30, 120)
    actual, expected = (results(layer, True, x, edge_index) for layer in (ours, pyg))
    assert_same(actual, expected, ours, atol=1e-6)


# The path that is taken ------------------------------------------------------------------------


@pytest.fixture
def path(monkeypatch):
    """Runs a layer and tells what it called: the reductions, every edge's value, or neither."""
    called = set()

    def watch(module, name, kind):
        function = getattr(module, name)

        def wrapper(*args):
            called.add(kind)
            return function(*args)

        monkeypatch.setattr(module, name, wrapper)

    watch(_edge_terms, "edge_max", "fused")
    watch(_fused_edges, "edge_sum", "fused")
    watch(hyperbolic_edge_conv, "edge_values", "values")

    def run(conv, *args):
        called.clear()
        conv(*args)
        return called.copy().pop() if called else "messages"

    return run


BALL = PoincareBall()


def case():
    return points(BALL, 9, 3), ragged_edges(9, 9)


@each_mode
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_the_listed_networks_are_fused(path, network, aggr, training):
    conv = make_conv(NETWORKS[network](), AGGREGATIONS[aggr](), BALL).train(training)
    fits = network != "deeper" and aggr in FUSED_AGGREGATIONS
    assert path(conv, *case()) == ("fused" if fits else "values")
    layer = DynamicHyperbolicEdgeConv(torch.sin, 3, AGGREGATIONS[aggr](), manifold=BALL)
    layer.nn = conv.nn
    assert path(layer, case()[0]) == ("fused" if fits else "values")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations_that_rise_are_fused(path, activation):
    rises = type(activation) not in (GELU, PReLU, Softplus) and str(activation) not in (
        "LeakyReLU(negative_slope=-0.5)", "ELU(alpha=-1.0)",
    )  # fmt: skip
    nn = Sequential(Linear(6, 5), copy.deepcopy(activation))
    for aggr in ("max", "min"):
        assert path(make_conv(nn, aggr, BALL), *case()) == ("fused" if rises else "values")
    pieces = isinstance(activation, (ReLU, LeakyReLU))
    for aggr in ("mean", "sum"):
        assert path(make_conv(nn, aggr, BALL), *case()) == ("fused" if pieces else "values")


def test_other_networks_are_not_fused(path):
    linear, norm = Linear(6, 5), BatchNorm1d(5)
    networks = [
        (Sequential(linear, GELU()), "values"),
        (Sequential(linear, ReLU(), norm), "values"),
        (Sequential(linear, norm, norm), "values"),
        (Sequential(linear, norm, ReLU(), ReLU()), "values"),
        (Sequential(linear, Dropout(), ReLU()), "values"),
        (Sequential(linear, torch.nn.LayerNorm(5)), "values"),
        (Sequential(linear, torch.nn.Sequential(ReLU())), "values"),
        (lambda v: linear(v), "messages"),
        (torch.sin, "messages"),
        (Sequential(ReLU(), linear), "messages"),
        (gnn.MLP([6, 5], dropout=[0.5]), "messages"),
    ]
    for nn, expected in networks:
        assert path(make_conv(nn, "max", BALL), *case()) == expected


@pytest.mark.parametrize(
    "aggr", ["mul", "var", "softmax", "median", "frechet_mean", TangentAggregation("max", BALL)]
)
def test_other_aggregations_are_not_fused(path, aggr):
    assert path(make_conv(Linear(6, 5), aggr, BALL), *case()) == "values"


def test_switched_off_it_is_message_passing(path):
    set_fused(False)
    assert path(make_conv(NETWORKS["batch norm"](), "max", BALL), *case()) == "messages"


MODULES = {
    "network": lambda conv: conv.nn,
    "linear": lambda conv: conv.nn[0],
    "batch norm": lambda conv: conv.nn[1],
    "inner batch norm": lambda conv: conv.nn[1].module,
    "activation": lambda conv: conv.nn[2],
    "aggregation": lambda conv: conv.aggr_module,
}


@pytest.mark.parametrize("owner", MODULES)
@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_hooks_on_any_module_fire(path, owner, register):
    conv = make_conv(NETWORKS["PyG"](), "max", BALL)
    seen = []
    handle = getattr(MODULES[owner](conv), register)(lambda *args: seen.append(1))
    x, edge_index = case()
    assert path(conv, x.requires_grad_(), edge_index) != "fused"
    conv(x, edge_index).sum().backward()
    assert seen
    handle.remove()
    assert path(conv, x, edge_index) == "fused"


@pytest.mark.parametrize("step", ["propagate", "message", "aggregate"])
@pytest.mark.parametrize("when", ["forward", "forward_pre"])
def test_hooks_of_message_passing_fire(path, step, when):
    conv = make_conv(NETWORKS["batch norm"](), "max", BALL)
    seen = []
    handle = getattr(conv, f"register_{step}_{when}_hook")(lambda *args: seen.append(1))
    assert path(conv, *case()) == "messages"
    assert seen == [1]
    handle.remove()
    assert path(conv, *case()) == "fused"


class Doubled(HyperbolicEdgeConv):
    def message(self, p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j):
        return 2 * super().message(p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j)


class Halving:
    """Changes a step of what it is mixed into."""

    def aggregate(self, inputs, index, dim_size=None):
        return super().aggregate(inputs, index, dim_size=dim_size) / 2


class Mixed(Halving, HyperbolicEdgeConv):
    """Has its step from elsewhere."""


class Counting:
    """Passes on what propagates."""

    def propagate(self, *args, **kwargs):
        return super().propagate(*args, **kwargs)


class Counted(Counting, HyperbolicEdgeConv):
    """Has no step of its own."""


class Renamed(HyperbolicEdgeConv):
    """Changes no step."""


class Updated(HyperbolicEdgeConv):
    def update(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("kind", [Doubled, Updated])
def test_subclasses_that_change_a_step_are_obeyed(path, kind):
    plain = make_conv(Linear(6, 5), "max", BALL)
    x, edge_index = case()
    conv = kind(torch.sin, "max", manifold=BALL)
    conv.nn = plain.nn
    assert path(conv, x, edge_index) == "messages"
    assert_near(BALL.log0(conv(x, edge_index)), 2 * BALL.log0(plain(x, edge_index)), 1e-9)


def test_a_step_from_elsewhere_is_obeyed(path):
    plain = make_conv(Linear(6, 5), "max", BALL)
    x, edge_index = case()
    conv = Mixed(torch.sin, "max", manifold=BALL)
    conv.nn = plain.nn
    assert path(conv, x, edge_index) == "messages"
    assert_near(BALL.log0(conv(x, edge_index)), BALL.log0(plain(x, edge_index)) / 2, 1e-9)


@pytest.mark.parametrize("kind", [Counted, Renamed])
def test_other_subclasses_are_fused(path, kind):
    conv = kind(torch.sin, "max", manifold=BALL)
    conv.nn = NETWORKS["batch norm"]().double()
    assert path(conv, *case()) == "fused"


def test_explanations_see_every_message(path):
    conv = make_conv(NETWORKS["batch norm"](), "mean", BALL).eval()
    x, edge_index = case()
    expected = conv(x, edge_index)
    mask = torch.full((edge_index.size(1),), 50.0, dtype=torch.float64, requires_grad=True)
    set_masks(conv, mask, edge_index)
    assert path(conv, x, edge_index) == "messages"
    out = conv(x, edge_index)
    assert_near(out, expected)  # the sigmoid of 50 is 1
    clear_masks(conv)
    assert path(conv, x, edge_index) == "fused"


UNPICKLED = """
import pickle, sys
import torch
from torch_geometric.explain.algorithm.utils import set_masks

_, conv, x, edge_index, expected = pickle.load(sys.stdin.buffer)
torch.testing.assert_close(conv(x, edge_index), expected)
set_masks(conv, torch.full((edge_index.size(1),), -100.0, dtype=x.dtype), edge_index)
assert conv(x, edge_index).abs().max() < 1e-9
"""


@pytest.mark.parametrize("kind", [Doubled, Renamed, Updated])
def test_a_subclass_is_its_own_where_it_is_unpickled_after_its_parent(kind):
    parent, (x, edge_index) = make_conv(Linear(6, 5), "sum", BALL), case()
    conv = kind(torch.sin, "sum", manifold=BALL)
    conv.nn, x = parent.nn, x.detach()
    given = pickle.dumps((parent, conv, x, edge_index, conv(x, edge_index).detach()))
    command = [sys.executable, "-W", "ignore", "-c", UNPICKLED]
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# Precision and memory --------------------------------------------------------------------------


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


@each_manifold
@pytest.mark.parametrize("network", ["linear", "batch norm"])
@pytest.mark.parametrize("aggr", ["max", "sum"])
@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_float32_is_as_exact_as_message_passing(manifold, network, aggr, radius):
    """Over 400 edges, against the layer in float64; messages are short, so that ``exp0`` does not
    distort errors.
    """
    manifold = copy.deepcopy(manifold)
    nn = NETWORKS[network]()
    with torch.no_grad():
        for parameter in nn[1:].parameters() if network == "batch norm" else nn.parameters():
            parameter *= 0.1
    conv = make_conv(nn, aggr, manifold)
    centre = points(manifold, 40, 3, radius=radius)
    unit = 2 if isinstance(manifold, PoincareBall) else 1
    x = manifold.move(centre, torch.randn(40, 3, dtype=torch.float64) / unit).float()
    edge_index = edges(40, 40, 400)
    exact = results(conv, False, x.double(), edge_index)
    single = copy.deepcopy(conv).float()
    fused, plain = (results(single, flag, x, edge_index) for flag in (True, False))
    sizes = scales(exact, conv, 1)
    for one, other, reference, size in zip(fused, plain, exact, sizes, strict=True):
        error, allowed = rms(one - reference), rms(other - reference)
        assert error <= 2 * allowed + 1e-7 * size


@each_manifold
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_autocast_returns_float32(path, manifold, network, aggr):
    manifold = copy.deepcopy(manifold)
    conv = make_conv(NETWORKS[network](), aggr, manifold).float()
    x = points(manifold, 9, 3, dtype=torch.float32).detach()
    edge_index = ragged_edges(9, 9)
    exact = conv(x, edge_index)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert path(conv, x, edge_index) == ("values" if network == "deeper" else "fused")
        out = conv(x.requires_grad_(), edge_index)
    if manifold.c != 0 or network != "deeper":
        assert out.dtype == torch.float32
    out.float().square().sum().backward()
    assert x.grad.dtype == torch.float32
    grads = [x.grad, *(p.grad for p in conv.nn.parameters())]
    assert all(grad.isfinite().all() for grad in grads)
    error = (manifold.log0(out.float()) - manifold.log0(exact)).abs().max()
    assert error <= 0.1 * manifold.log0(exact).abs().max()


def peak_bytes(conv, x, edge_index, fused) -> int:
    """Most bytes that PyTorch held at a time beyond those before a forward and backward pass."""
    set_fused(fused)
    conv(x, edge_index).sum().backward()  # compiled once
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        conv(x, edge_index).sum().backward()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held, peak = 0, 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_memory_does_not_grow_with_edges_times_channels(aggr):
    ball, nodes, k, channels = PoincareBall(), 2048, 20, 64
    nn = Sequential(Linear(2 * channels, channels), BatchNorm1d(channels), LeakyReLU(0.2))
    conv = HyperbolicEdgeConv(nn, aggr, manifold=ball)
    x = points(ball, nodes, channels, dtype=torch.float32).requires_grad_()
    edge_index = torch.stack(
        [torch.randint(0, nodes, (nodes * k,)), torch.arange(nodes).repeat_interleave(k)]
    )
    fused, general = (peak_bytes(conv, x, edge_index, flag) for flag in (True, False))
    message = 4 * nodes * k * channels  # bytes of all messages in float32
    assert general > 3 * message
    assert fused < general / 10


@pytest.mark.parametrize("aggr", ["max", "mean"])
@pytest.mark.parametrize("frame", [None, "local"])
@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_statistics_of_values_far_from_zero(aggr, frame, offset):
    """A batch norm takes a bias away: what it costs is the rounding of the values, not of their
    squares.
    """
    conv = make_conv(NETWORKS["batch norm"](), aggr, BALL, frame=frame)
    with torch.no_grad():
        conv.nn[0].bias += offset
    x, edge_index = points(BALL, 9, 3), ragged_edges(9, 9)
    fused, plain = (results(conv, flag, x, edge_index) for flag in (True, False))
    assert_same(fused, plain, conv, atol=1e-14 * offset + 1e-9)


@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_a_network_in_half_precision_under_autocast(path, aggr):
    conv = make_conv(NETWORKS["batch norm"](), aggr, BALL)
    x, edge_index = points(BALL, 9, 3, dtype=torch.float32), ragged_edges(9, 9)
    expected = BALL.log0(conv(x.double(), edge_index))
    conv = conv.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert path(conv, x, edge_index) == "fused"
        out = conv(x.requires_grad_(), edge_index)
    assert (BALL.log0(out) - expected).abs().max() <= 0.1 * expected.abs().max()
    out.sum().backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in conv.nn.parameters())


@pytest.mark.parametrize("aggr", ["max", "mean"])
@pytest.mark.parametrize("frame", [None, "local"])
@pytest.mark.parametrize("away", [1e3, 1e6])
def test_statistics_of_neighbours_far_away(aggr, frame, away):
    """Gradients of the weight, sums of terms that large, lose twice as many digits in both."""
    conv = make_conv(NETWORKS["batch norm"](), aggr, Euclidean(), frame=frame)
    x = torch.randn(12, 3, dtype=torch.float64)
    x[0] += away
    edge_index = torch.stack([torch.zeros(11).long(), torch.arange(1, 12)])
    both = (results(conv, flag, x, edge_index) for flag in (True, False))
    for fused, plain in zip(*([r[0], r[1], *r[-3:]] for r in both), strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-14 * away + 1e-11, rtol=1e-13)
