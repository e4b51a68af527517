"""Edge convolutions pass messages wherever somebody may notice: as PyG's own would."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch_geometric.nn as gnn
from torch import Tensor
from torch.nn import Linear, ReLU, Sequential
from torch_geometric.nn import Aggregation, EdgeConv, LSTMAggregation

from tests.nn.conv.helpers import assert_near, edges, points
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv, InvariantEdgeConv
from torch_geometric_hyperbolic.nn.conv._edge_messages import EdgeMessages
from torch_geometric_hyperbolic.typing import WITH_NUMBA

ROOT = Path(__file__).parents[3]
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


#: What may follow the first linear layer, and what may aggregate, in any order of edges.
KNOWN = {
    "plain": (ReLU(), "max"),
    "deep": (Sequential(torch.nn.GELU(), Linear(4, 4), torch.nn.Dropout(0.0)), "sum"),
    "norm": (Sequential(torch.nn.BatchNorm1d(4), torch.nn.LayerNorm(4), ReLU()), "mean"),
    "PyG": (Sequential(gnn.BatchNorm(4), gnn.LayerNorm(4), gnn.Linear(4, 4)), "max"),
    "several": (torch.nn.GELU(), ["mean", "std"]),
    "quantile": (torch.nn.GELU(), gnn.QuantileAggregation(0.3)),
    "ours": (torch.nn.GELU(), "midpoint"),
}


@pytest.mark.skipif(not WITH_NUMBA, reason="needs an engine")
@pytest.mark.parametrize("rest,aggr", KNOWN.values(), ids=KNOWN)
def test_networks_that_cannot_tell_need_no_messages(rest, aggr):
    nn, (x, edge_index) = Sequential(Linear(6, 4), rest).double(), case()
    theirs = EdgeConv(nn, "mean" if aggr == "midpoint" else aggr)
    ours = HyperbolicEdgeConv(nn, aggr, manifold=FLAT)
    with mock.patch.object(EdgeMessages, "_convolve", side_effect=AssertionError):
        assert_near(ours(x, edge_index), theirs(x, edge_index))


@pytest.mark.skipif(not WITH_NUMBA, reason="needs an engine")
def test_edges_that_come_grouped_need_no_messages():
    nn, (x, edge_index) = with_gate(), case()
    edge_index = edge_index[:, edge_index[1].argsort(stable=True)]
    with mock.patch.object(EdgeMessages, "_convolve", side_effect=AssertionError):
        same_as_edge_conv(nn, "sum", x, edge_index)


@pytest.mark.parametrize(
    "module", ["torch_geometric_hyperbolic_extras", "torch.nn.modules.linears"]
)
def test_a_name_that_only_begins_alike_is_not_known(module, monkeypatch):
    monkeypatch.setattr(Gate, "__module__", module)
    same_as_edge_conv(with_gate(), "sum", *case())


def test_a_network_that_loses_rows_is_refused():
    conv = HyperbolicEdgeConv(Sequential(Linear(6, 4), torch.nn.GLU(0)), manifold=FLAT).double()
    with pytest.raises((ValueError, RuntimeError), match="40"):
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
def test_hooks_of_an_instance_are_obeyed(make, hook):
    conv, (x, edge_index) = make().double(), case()
    expected, before = 2 * conv(x, edge_index), getattr(conv, hook)
    setattr(conv, hook, lambda *args, **kwargs: 2 * before(*args, **kwargs))
    assert_near(conv(x, edge_index), expected)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("hook", ["message", "aggregate", "update"])
def test_hooks_that_replace_those_of_the_class_are_obeyed(make, hook, monkeypatch):
    conv, (x, edge_index) = make().double(), case()
    expected, before = 2 * conv(x, edge_index), getattr(HyperbolicEdgeConv, hook)

    def twice(self, *args, **kwargs):
        return 2 * before(self, *args, **kwargs)

    monkeypatch.setattr(HyperbolicEdgeConv, hook, twice)
    assert_near(conv(x, edge_index), expected)


class Multiplied(HyperbolicEdgeConv):
    """A sum by a product of matrices, where edges are one."""

    def message_and_aggregate(self, edge_index, absolute):
        return edge_index @ absolute


def test_messages_that_are_aggregated_at_once_are_obeyed():
    conv, (x, _) = Multiplied(Linear(6, 3), "sum", manifold=FLAT).double(), case()
    matrix = torch.rand(9, 9).double().to_sparse_csr()
    with torch.no_grad():
        conv.nn.weight.copy_(torch.eye(3, 6))
        conv.nn.bias.zero_()
    assert_near(conv(x, matrix), matrix @ x)


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


class OfAmbientPoints(HyperbolicEdgeConv):
    """A network of the coordinates themselves."""

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.nn(torch.cat([x_i, x_j, x_i * x_j], dim=-1))


@each_space
def test_a_message_may_give_its_network_anything(manifold):
    x, edge_index = points(manifold, 9, 3).detach(), edges(9, 8, 40)
    conv = OfAmbientPoints(Linear(3 * x.size(1), 4), "sum", manifold=manifold).double()
    x_j, x_i = x[edge_index]
    messages = conv.nn(torch.cat([x_i, x_j, x_i * x_j], dim=-1))
    total = torch.zeros(9, 4).double().index_add(0, edge_index[1], messages)
    assert_near(conv(x, edge_index), manifold.exp0(total))


STALE = """
import pickle, sys, torch
from torch_geometric_hyperbolic.kernels import set_fused

set_fused(False)
conv, x, edge_index, expected = pickle.load(sys.stdin.buffer)
torch.testing.assert_close(conv(x, edge_index), expected)
"""


def test_a_layer_runs_as_the_package_is_where_it_is_unpickled():
    """PyG's inspector carries sources of classes along, and compiles what they say."""
    conv, (x, edge_index) = HyperbolicEdgeConv(Linear(6, 4), manifold=FLAT).double(), case()
    expected = conv(x, edge_index).detach()
    former = inspect.getsource(EdgeMessages).replace("absolute=", "former=")
    conv.inspector._source_dict = {"EdgeMessages": former}
    given = pickle.dumps((conv, x, edge_index, expected))
    command = [sys.executable, "-W", "ignore", "-c", STALE]
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
