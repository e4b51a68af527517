"""Edge convolutions pass messages wherever somebody may notice: as PyG's own would."""

from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, ReLU, Sequential
from torch_geometric.nn import Aggregation, EdgeConv, LSTMAggregation

from tests.nn.conv.helpers import assert_near, edges, points
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv, InvariantEdgeConv
from torch_geometric_hyperbolic.typing import WITH_NUMBA

SPACES = [Euclidean(), PoincareBall(0.7), Lorentz(0.7)]
each_space = pytest.mark.parametrize("manifold", SPACES, ids=repr)
FLAT = Euclidean()


class Gate(torch.nn.Module):
    """Something of every edge, in the order that the caller has them in."""

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, z: Tensor) -> Tensor:
        return z * self.gate[:, None]


class ByPosition(Aggregation):
    """A sum in which later edges count more."""

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        weight = torch.arange(len(x), dtype=x.dtype)[:, None]
        return self.reduce(weight * x, index, ptr, dim_size, dim, reduce="sum")


def case() -> tuple[Tensor, Tensor]:
    return torch.randn(9, 3).double(), edges(9, 8, 40)


def with_gate() -> Sequential:
    return Sequential(Linear(6, 4), ReLU(), Gate(torch.rand(40).double())).double()


def same_as_edge_conv(nn, aggr, x: Tensor, edge_index: Tensor) -> None:
    """In flat space a layer is PyG's, with the same network."""
    theirs, ours = EdgeConv(nn, aggr), HyperbolicEdgeConv(nn, aggr, manifold=FLAT)
    assert_near(ours(x, edge_index), theirs(x, edge_index))


def test_a_network_that_knows_its_edges_gets_them_in_their_order():
    same_as_edge_conv(with_gate(), "sum", *case())


@each_space
def test_a_network_that_knows_its_edges_is_the_same_without_kernels(manifold):
    x, edge_index = points(manifold, 9, 3), edges(9, 8, 40)
    conv = HyperbolicEdgeConv(with_gate(), "max", manifold=manifold)
    out = conv(x, edge_index)
    set_fused(False)
    try:
        assert_near(out, conv(x, edge_index))
    finally:
        set_fused(True)


def test_an_aggregation_that_knows_its_edges_gets_them_in_their_order():
    nn = Sequential(Linear(6, 4), ReLU(), Linear(4, 5)).double()
    same_as_edge_conv(nn, ByPosition(), *case())


def test_an_aggregation_of_sorted_edges_refuses_others():
    conv = HyperbolicEdgeConv(Linear(6, 4), LSTMAggregation(4, 5), manifold=FLAT).double()
    x, edge_index = case()
    with pytest.raises(ValueError, match="'index' tensor is not sorted"):
        conv(x, edge_index)
    order = edge_index[1].argsort()
    assert conv(x, edge_index[:, order]).shape == (9, 5)


def test_a_hook_deep_in_a_network_sees_rows_in_the_order_of_edges():
    nn = Sequential(Linear(6, 4), ReLU(), Linear(4, 5)).double()
    seen = []
    nn[1].register_forward_hook(lambda module, inputs, out: seen.append(out))
    same_as_edge_conv(nn, "max", *case())
    assert_near(*seen)


@pytest.mark.skipif(not WITH_NUMBA, reason="needs an engine")
@pytest.mark.parametrize("hidden", [(), (ReLU(), torch.nn.GELU(), Linear(4, 4))], ids=["", "deep"])
def test_networks_of_known_layers_need_no_messages(hidden):
    conv = HyperbolicEdgeConv(Sequential(Linear(6, 4), *hidden), manifold=FLAT).double()
    with mock.patch.object(conv, "propagate", side_effect=AssertionError):
        conv(*case())


LAYERS = {
    "fused": lambda: HyperbolicEdgeConv(Linear(6, 4), "sum", manifold=FLAT),
    "deep": lambda: HyperbolicEdgeConv(
        Sequential(Linear(6, 4), ReLU(), Linear(4, 4)), "sum", manifold=FLAT
    ),
    "frames": lambda: HyperbolicEdgeConv(Linear(6, 4), "sum", manifold=FLAT, frame="local"),
    "invariant": lambda: InvariantEdgeConv(Linear(5, 4), "sum", manifold=FLAT),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("hook", ["message", "aggregate", "update"])
@pytest.mark.parametrize("place", ["instance", "class"])
def test_hooks_that_are_put_in_place_are_obeyed(make, hook, place):
    conv, (x, edge_index) = make().double(), case()
    expected = 2 * conv(x, edge_index)
    if place == "instance":
        before = getattr(conv, hook)
        setattr(conv, hook, lambda *args, **kwargs: 2 * before(*args, **kwargs))
        assert_near(conv(x, edge_index), expected)
        return
    of_class = getattr(HyperbolicEdgeConv, hook)
    twice = lambda self, *args, **kwargs: 2 * of_class(self, *args, **kwargs)  # noqa: E731
    with mock.patch.object(HyperbolicEdgeConv, hook, twice):
        assert_near(conv(x, edge_index), expected)


class OfPoints(HyperbolicEdgeConv):
    """With a message as PyG's ``EdgeConv`` has it."""

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.nn(torch.cat([x_i, self.manifold.rel(x_i, x_j)], dim=-1))


@each_space
def test_a_message_may_take_the_points(manifold):
    x, y = points(manifold, 9, 3).detach(), points(manifold, 5, 3).detach()
    width = x.size(1)
    conv = OfPoints(torch.sin, "sum", manifold=manifold)
    edge_index = edges(9, 5, 20)
    seen = torch.cat([y[edge_index[1]], manifold.rel(y[edge_index[1]], x[edge_index[0]])], dim=-1)
    total = torch.zeros(5, width + 3).double().index_add(0, edge_index[1], seen.sin())
    assert_near(conv((x, y), edge_index), manifold.exp0(total))
