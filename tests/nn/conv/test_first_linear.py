"""Where the first linear layer of a network is applied to nodes, and that nobody notices."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch_geometric.nn as gnn
from torch import Tensor
from torch.nn import BatchNorm1d, LazyLinear, Linear, ReLU, Sequential, Tanh
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from tests.nn.conv.helpers import SPACES, assert_near, edges, points
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.conv._first_linear import split_first_linear
from torch_geometric_hyperbolic.nn.conv._fused_edges import fused_edges

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def pair_of_layers(nn: Callable[[Tensor], Tensor], manifold: Manifold, aggr: str = "max"):
    """The layer with ``nn``, and with ``nn`` hidden in a function, so applied to edges."""
    layer = HyperbolicEdgeConv(nn, aggr, manifold=manifold)
    return layer, HyperbolicEdgeConv(lambda v: nn(v), aggr, manifold=manifold)


def distant_pairs(manifold: Manifold, radius: float, n: int = 40) -> tuple[Tensor, Tensor]:
    """Pivots at ``radius`` in float32, each with three neighbours at distances 0.1, 1 and 4."""
    direction = torch.nn.functional.normalize(torch.randn(4, n, 3, dtype=torch.float64), dim=-1)
    unit = manifold.dist0(manifold.exp0(direction[:1, :1])).item()
    pivot = manifold.exp0(direction[0] * radius / unit)
    steps = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64) / unit
    others = [manifold.move(pivot, s * d) for s, d in zip(steps, direction[1:], strict=True)]
    edge_index = torch.stack([torch.arange(n, 4 * n), torch.arange(n).repeat(3)])
    return torch.cat([pivot, *others]).float(), edge_index


NETWORKS = {
    "linear": lambda: Linear(6, 5),
    "no bias": lambda: Linear(6, 5, bias=False),
    "PyG": lambda: gnn.Linear(6, 5),
    "two layers": lambda: Sequential(Linear(6, 16), ReLU(), Linear(16, 5)),
    "batch norm": lambda: Sequential(Linear(6, 5), BatchNorm1d(5), ReLU()),
    "MLP": lambda: gnn.MLP([6, 5]),
    "MLP, two layers": lambda: gnn.MLP([6, 16, 5]),
    "MLP, norm last": lambda: gnn.MLP([6, 5], act="leaky_relu", plain_last=False),
    "MLP, act first": lambda: gnn.MLP([6, 16, 5], act_first=True),
    "MLP, no norm": lambda: gnn.MLP([6, 5], norm=None, plain_last=False, bias=False),
    "MLP, no act": lambda: gnn.MLP([6, 16, 5], act=None),
    "MLP, function": lambda: gnn.MLP([6, 16, 5], act=torch.tanh),
    "MLP, dropout": lambda: gnn.MLP([6, 16, 5], dropout=0.5).eval(),
}
FUSED = {"linear", "no bias", "PyG", "batch norm", "MLP", "MLP, norm last", "MLP, no norm"}


@each_space
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_the_plain_path(manifold, name):
    nn = NETWORKS[name]().double()
    assert (split_first_linear(nn) is None) == (name == "MLP, function")
    if name == "batch norm":
        torch.nn.init.normal_(nn[1].weight)  # of both signs
    fast, plain = pair_of_layers(nn, manifold)
    x, edge_index = points(manifold, 8, 3, radius=3.0).requires_grad_(), edges(8, 8, 30)
    leaves = [x, *nn.parameters()]
    results = []
    for layer in (fast, plain):
        out = layer(x, edge_index)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for actual, expected in zip(*results, strict=True):
        scale = expected.abs().max().clamp(min=1.0)
        assert_near(actual / scale, expected / scale, 1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_which_networks_are_fused(name):
    split = split_first_linear(NETWORKS[name]())
    fused = split and fused_edges(split, gnn.MaxAggregation(), 10)
    assert (fused is not None) == (name in FUSED)


class Subclass(gnn.MLP):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def hooked(part: Callable[[gnn.MLP], torch.nn.Module]) -> gnn.MLP:
    mlp = gnn.MLP([6, 16, 5])
    part(mlp).register_forward_hook(lambda *_: None)
    return mlp


@pytest.mark.parametrize(
    "nn",
    [
        gnn.MLP([6, 16, 5], dropout=0.5),
        gnn.MLP([6, 16, 5], norm="graph_norm"),
        Subclass([6, 16, 5]),
        hooked(lambda mlp: mlp),
        hooked(lambda mlp: mlp.lins[0]),
    ],
    ids=["dropout", "norm of graphs", "subclass", "watched", "watched within"],
)
def test_networks_that_do_more_are_called_as_they_are(nn):
    assert split_first_linear(nn) is None


@each_space
def test_pygs_networks_tell_the_width_of_points(manifold):
    layer = HyperbolicEdgeConv(gnn.MLP([8, 5]), manifold=manifold)
    width = manifold.ambient_dim(4)
    with pytest.raises(ValueError, match=rf"^'x' must have last dimension {width} \(got"):
        layer(points(manifold, 8, 3, dtype=torch.float32), edges(8, 8, 30))


@each_space
@pytest.mark.parametrize("radius", [0.0, 1.0, 3.0, 6.0, 8.0])
@pytest.mark.parametrize("aggr", ["max", "sum"])
def test_in_float32_it_is_as_exact_as_the_plain_path_at_every_radius(manifold, radius, aggr):
    x, edge_index = distant_pairs(manifold, radius)
    nn = Linear(6, 5)
    fast, plain = pair_of_layers(nn, manifold, aggr)
    with torch.no_grad():
        nn.weight *= 0.1  # short messages, so that exp0 at the end does not distort errors
        nn.bias *= 0.1
        out = fast(x, edge_index), plain(x, edge_index)
        nn.double()
        exact = plain(x.double(), edge_index)
    error = [(o.double() - exact).abs().max().item() for o in out]
    assert error[0] <= 2 * error[1] + 1e-7
    assert error[1] < 2e-6


@each_space
def test_float32_gradients_are_as_exact_as_those_of_the_plain_path(manifold):
    x, edge_index = distant_pairs(manifold, 3.0)
    nn = Linear(6, 5)
    fast, plain = pair_of_layers(nn, manifold, "sum")

    def gradients(layer: HyperbolicEdgeConv, x: Tensor) -> list[Tensor]:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(layer(x, edge_index).sum(), [x, nn.weight, nn.bias])

    single = [gradients(layer, x) for layer in (fast, plain)]
    nn.double()
    for node, edge, exact in zip(*single, gradients(plain, x.double()), strict=True):
        error = [(g.double() - exact).abs().max() / exact.abs().max() for g in (node, edge)]
        assert error[0] <= 2 * error[1] + 1e-6


@pytest.mark.parametrize("wrap", [lambda nn: nn, Sequential], ids=["linear", "sequential"])
def test_matrix_products_do_not_grow_with_the_edges(wrap):
    ball = PoincareBall()
    fast, plain = pair_of_layers(wrap(Linear(6, 5)), ball)
    x = points(ball, 8, 3, dtype=torch.float32)

    def flops(layer: HyperbolicEdgeConv, count: int) -> int:
        with FlopCounterMode(display=False) as counter:
            layer(x, edges(8, 8, count))
        return counter.get_total_flops()

    assert 0 < flops(fast, 10) == flops(fast, 1000)
    assert flops(plain, 1000) == 100 * flops(plain, 10)


def first_of_sequential(nn: Sequential) -> torch.nn.Module:
    return nn[0]


@each_space
@pytest.mark.parametrize("owner", [first_of_sequential, lambda nn: nn], ids=["layer", "network"])
@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_hooks_fire_once_and_see_every_edge(manifold, owner, register):
    nn = Sequential(Linear(6, 8), ReLU(), Linear(8, 5))
    layer, plain = pair_of_layers(nn, manifold)
    x, edge_index = points(manifold, 8, 3, dtype=torch.float32), edges(8, 8, 30)
    expected = plain(x, edge_index)
    seen = []

    def hook(module: torch.nn.Module, *values: object) -> None:
        seen.append(values[0][0].shape)

    handle = getattr(owner(nn), register)(hook)
    out = layer(x.requires_grad_(), edge_index)
    out.sum().backward()
    assert len(seen) == 1
    assert seen[0][0] == 30
    assert_near(out, expected, 1e-5)
    handle.remove()
    layer(x, edge_index)
    assert len(seen) == 1


def test_a_hook_that_changes_the_output_is_obeyed():
    ball = PoincareBall()
    nn = Linear(6, 5)
    layer = HyperbolicEdgeConv(nn, manifold=ball)
    nn.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    out = layer(points(ball, 8, 3, dtype=torch.float32), edges(8, 8, 30))
    assert_near(out, torch.zeros(8, 5), 0.0)


@each_space
def test_parametrized_weights_are_used(manifold):
    nn = Sequential(weight_norm(Linear(6, 8)), ReLU(), Linear(8, 5)).double()
    layer, plain = pair_of_layers(nn, manifold)
    x, edge_index = points(manifold, 8, 3), edges(8, 8, 30)
    with torch.no_grad():
        nn[0].parametrizations.weight.original0.mul_(3.0)
    assert_near(layer(x, edge_index), plain(x, edge_index))


class DoubledLinear(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class BackwardsSequential(Sequential):
    def forward(self, x: Tensor) -> Tensor:
        for module in reversed(self):
            x = module(x)
        return x


@pytest.mark.parametrize(
    "nn",
    [
        DoubledLinear(6, 5),
        Sequential(DoubledLinear(6, 5)),
        BackwardsSequential(Linear(6, 5), Tanh()),
    ],
    ids=["linear", "first", "sequential"],
)
def test_subclasses_keep_their_own_forward(nn):
    ball = PoincareBall()
    layer, plain = pair_of_layers(nn.double(), ball)
    x, edge_index = points(ball, 8, 3), edges(8, 8, 30)
    assert_near(layer(x, edge_index), plain(x, edge_index))


@each_space
@pytest.mark.parametrize(
    "make",
    [lambda: LazyLinear(5), lambda: gnn.Linear(-1, 5), lambda: Sequential(LazyLinear(5), ReLU())],
    ids=["torch", "PyG", "sequential"],
)
def test_lazy_layers_find_their_size_and_then_work_on_nodes(manifold, make):
    nn = make()
    layer, plain = pair_of_layers(nn, manifold)
    x, edge_index = points(manifold, 8, 3, dtype=torch.float32), edges(8, 8, 30)
    first = layer(x, edge_index)
    assert_near(layer(x, edge_index), first, 1e-6)
    assert_near(plain(x, edge_index), first, 1e-6)


def test_replacing_weights_takes_effect_at_once():
    hyperboloid = Lorentz()
    nn = Linear(6, 5).double()
    layer, _ = pair_of_layers(nn, hyperboloid)
    x, edge_index = points(hyperboloid, 8, 3), edges(8, 8, 30)
    before = layer(x, edge_index)
    other = copy.deepcopy(nn)
    other.reset_parameters()
    nn.load_state_dict(other.state_dict())
    after = layer(x, edge_index)
    assert not torch.allclose(before, after)
    assert_near(after, HyperbolicEdgeConv(lambda v: other(v), manifold=hyperboloid)(x, edge_index))
