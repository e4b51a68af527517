"""What PyG builds around its layers takes ours."""

import pytest
import torch
from torch import Tensor
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import Sequential, to_hetero

from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import (
    HorocyclicConv,
    HyperbolicEdgeConv,
    InvariantEdgeConv,
    SphericalPowerConv,
)

BALL = PoincareBall(0.7)


def network(inputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.LeakyReLU())


LAYERS = {
    "edges": lambda: HyperbolicEdgeConv(network(6), manifold=BALL),
    "edges in frames": lambda: HyperbolicEdgeConv(network(6), manifold=BALL, frame="local"),
    "invariant edges": lambda: InvariantEdgeConv(
        network(InvariantEdgeConv.num_invariants), manifold=BALL
    ),
    "waves": lambda: HorocyclicConv(3, 3, manifold=BALL),
    "powers": lambda: SphericalPowerConv(3, 3, manifold=BALL),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def points(number: int) -> Tensor:
    return BALL.exp0(0.4 * torch.randn(number, 3))


class Net(torch.nn.Module):
    """A network of one layer."""

    def __init__(self, conv: torch.nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


@each_layer
def test_a_network_of_several_node_and_edge_types(make):
    x = {"a": points(12), "b": points(7)}
    edges = {
        (source, "to", target): torch.stack(
            [torch.randint(len(x[source]), (20,)), torch.randint(len(x[target]), (20,))]
        )
        for source, target in (("a", "b"), ("b", "a"))
    }
    model = to_hetero(Net(make()), (list(x), list(edges)))
    found = model(x, edges)
    for (source, _, target), edge_index in edges.items():
        conv = model.conv[f"{source}__to__{target}"]
        torch.testing.assert_close(found[target], conv((x[source], x[target]), edge_index))


@each_layer
def test_a_chain_of_layers(make):
    x, edge_index = points(10), torch.randint(10, (2, 30))
    first, second = make(), make()
    chain = Sequential(
        "x, edge_index",
        [(first, "x, edge_index -> x"), BALL.projx, (second, "x, edge_index -> x")],
    )
    expected = second(BALL.projx(first(x, edge_index)), edge_index)
    torch.testing.assert_close(chain(x, edge_index), expected)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "powers"])  # of pairs of edges
def test_an_explanation_of_a_node_knows_its_edges(name):
    """Edges that end elsewhere cannot matter to one layer, and some of its own do."""
    HyperbolicEdgeConv(network(6), manifold=BALL)  # PyG compiles a class at its first instance
    x, edge_index = points(10), torch.randint(10, (2, 40))
    explainer = Explainer(
        Net(LAYERS[name]()),
        GNNExplainer(epochs=20),
        explanation_type="model",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )
    target = int(edge_index[1, 0])
    mask = explainer(x, edge_index, index=target).edge_mask
    assert (mask[edge_index[1] != target] == 0).all()
    assert (mask[edge_index[1] == target] > 0).any()
