"""What PyG builds around its layers takes ours."""

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch_geometric import EdgeIndex
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import MLP, Sequential, to_hetero

from tests.nn.conv.helpers import assert_near
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import (
    HorocyclicConv,
    HyperbolicEdgeConv,
    InvariantEdgeConv,
    SphericalPowerConv,
)

BALL = PoincareBall(0.7)


def network(inputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.LeakyReLU())


FLOWS = ["target_to_source", "source_to_target"]  # the row of targets: 0 and 1
LAYERS = {
    "edges": lambda **how: HyperbolicEdgeConv(network(6), manifold=BALL, **how),
    "deep edges": lambda **how: HyperbolicEdgeConv(MLP([6, 3, 3]), "mean", manifold=BALL, **how),
    "edges in frames": lambda **how: HyperbolicEdgeConv(
        network(6), manifold=BALL, frame="local", **how
    ),
    "invariant edges": lambda **how: InvariantEdgeConv(
        network(InvariantEdgeConv.num_invariants), manifold=BALL, **how
    ),
    "waves": lambda **how: HorocyclicConv(3, 3, manifold=BALL, **how),
    "powers": lambda **how: SphericalPowerConv(3, 3, manifold=BALL, **how),
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


@pytest.mark.parametrize(
    "make",
    [
        *(make for name, make in LAYERS.items() if name != "powers"),  # it counts pairs of edges
        lambda: HyperbolicEdgeConv(network(6), "midpoint", manifold=BALL),
        lambda: HyperbolicEdgeConv(network(6), "frechet_mean", manifold=BALL),
    ],
)
def test_sizes_are_known_of_tensors_without_values(make):
    def size(x: Tensor, edge_index: Tensor) -> torch.Size:
        return make()(x, edge_index).shape

    x, edge_index = points(6), torch.randint(6, (2, 9))
    with FakeTensorMode() as mode:
        found = size(mode.from_tensor(x), mode.from_tensor(edge_index))
    assert found == size(x, edge_index)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "powers"])  # of pairs of edges
def test_an_explanation_of_a_node_knows_its_edges(name, flow):
    """Edges that end elsewhere cannot matter to one layer, and some of its own do."""
    HyperbolicEdgeConv(network(6), manifold=BALL)  # PyG compiles a class at its first instance
    x, edge_index = points(10), torch.randint(10, (2, 40))
    conv = LAYERS[name](flow=flow)
    explainer = Explainer(
        Net(conv),
        GNNExplainer(epochs=20),
        explanation_type="model",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )
    targets = edge_index[FLOWS.index(flow)]
    target = int(targets[0])
    mask = explainer(x, edge_index, index=target).edge_mask
    assert (mask[targets != target] == 0).all()
    assert (mask[targets == target] > 0).any()


@each_layer
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("sizes", [(9, 6), (6, 9)], ids=str)
def test_pairs_of_nodes_take_either_flow(make, fused, sizes):
    x = points(sizes[0]), points(sizes[1])
    edge_index = torch.stack([torch.randint(size, (20,)) for size in sizes])
    forward, backward = make().eval(), make(flow="target_to_source").eval()
    backward.load_state_dict(forward.state_dict())
    set_fused(fused)
    try:
        expected = forward(x, edge_index)
        assert expected.shape == (sizes[1], 3)
        torch.testing.assert_close(backward(x, edge_index.flip(0)), expected)
    finally:
        set_fused(True)


def forms_of_int32(edge_index: Tensor, size: int) -> dict[str, Tensor]:
    """The same edges, with small indices."""
    order = edge_index[1].argsort(stable=True)
    counts = torch.bincount(edge_index[1], minlength=size)
    rowptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
    ones = torch.ones(edge_index.size(1))
    small = edge_index.int()
    return {
        "tensor": small,
        "uint8": edge_index.to(torch.uint8),
        "parameter": torch.nn.Parameter(small, requires_grad=False),
        "EdgeIndex": EdgeIndex(small, sparse_size=(size, size)),
        "EdgeIndex of no size": EdgeIndex(small),
        "CSR": torch.sparse_csr_tensor(rowptr, small[0][order], ones, (size, size)),
    }


@each_layer
@pytest.mark.parametrize("form", forms_of_int32(torch.zeros(2, 1, dtype=torch.long), 1))
def test_gradients_do_not_depend_on_the_dtype_of_indices(make, form):
    x, edge_index = points(9).requires_grad_(), torch.randint(9, (2, 40))
    edge_index = edge_index.unique(dim=1).contiguous()  # a matrix holds an edge once
    conv, weight = make().eval(), torch.randn(9, 3)
    expected, found = (
        torch.autograd.grad((conv(x, edges) * weight).sum(), x)[0]
        for edges in (edge_index, forms_of_int32(edge_index, 9)[form])
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["edges", "deep edges", "waves", "powers"])  # no windows
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_layer_takes_other_graphs(name):
    conv = LAYERS[name]().eval()
    traced = torch.jit.trace(conv, (points(9), torch.randint(9, (2, 30))), check_trace=False)
    for size in (7, 12):
        given = points(size), torch.randint(size, (2, 25))
        torch.testing.assert_close(traced(*given), conv(*given))


@pytest.mark.parametrize("place", [0, 1, 2, None])
def test_a_forward_put_on_a_module_is_called(place):
    """As tools do that move weights where they are needed."""
    nn = torch.nn.Sequential(
        torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.LeakyReLU()
    ).eval()
    conv = HyperbolicEdgeConv(nn, manifold=BALL).eval()
    given = points(9), torch.randint(9, (2, 40))
    module = nn if place is None else nn[place]
    own, calls = module.forward, []

    def patched(z: Tensor) -> Tensor:
        calls.append(z)
        return 2 * own(z)

    plain = conv(*given)
    module.forward = patched
    assert not torch.allclose(conv(*given), plain)
    assert calls


class OldEdgeConv(HyperbolicEdgeConv):
    """Hands on what the hooks took before they knew the number of targets."""

    def message(
        self, p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j, index=None, dim_size=None
    ):  # type: ignore
        given = (p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j)
        return super().message(*given, index, dim_size)

    def aggregate(self, inputs, index, ptr=None, dim_size=None, rowptr=None):  # type: ignore
        return super().aggregate(inputs, index, ptr, dim_size, rowptr)


@pytest.mark.parametrize("frame", [None, "local"])
def test_a_subclass_may_keep_the_hooks_of_before(frame):
    how = {"manifold": BALL, "frame": frame}
    plain = HyperbolicEdgeConv(network(6), **how)  # PyG compiles a class at its first instance
    old = OldEdgeConv(network(6), **how)
    old.load_state_dict(plain.state_dict())
    given = points(9), torch.randint(9, (2, 30))
    torch.testing.assert_close(old(*given), plain(*given))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_an_exported_batch_norm_keeps_its_statistics(aggr, strict):
    nn = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU())
    conv, other = HyperbolicEdgeConv(nn, aggr, manifold=BALL), points(8)
    x, edge_index = points(8), torch.randint(8, (2, 20))
    before = copy.deepcopy(conv)
    exported = torch.export.export(conv, (x, edge_index), strict=strict).module()
    conv.load_state_dict(before.state_dict())
    assert_near(exported(other, edge_index), conv(other, edge_index), 1e-6)
    found = dict(exported.named_buffers())
    for name, expected in conv.named_buffers():
        assert not torch.equal(expected, before.get_buffer(name))
        assert_near(found[name], expected, 1e-6)


@pytest.mark.parametrize("name", ["waves", "powers"])
@pytest.mark.filterwarnings("ignore:.*quantize_dynamic:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantiz")
def test_a_layer_is_quantized(name):
    conv, x, edge_index = LAYERS[name]().eval(), points(9), torch.randint(9, (2, 30))
    small = torch.ao.quantization.quantize_dynamic(conv, {torch.nn.Linear}, dtype=torch.qint8)
    error = (BALL.log0(small(x, edge_index)) - BALL.log0(conv(x, edge_index))).abs().max()
    assert 0 < error < 0.02


@pytest.mark.parametrize("frame", [None, "local"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_layer_is_exported_for_graphs_of_any_size(frame, fused):
    ball = PoincareBall()
    nn = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    conv = HyperbolicEdgeConv(nn, manifold=ball, frame=frame)
    nodes, edges = torch.export.Dim("nodes", min=3), torch.export.Dim("edges", min=3)
    cases = [(ball.random(n, 3), torch.randint(0, n, (2, e))) for n, e in ((14, 40), (20, 70))]
    set_fused(fused)
    try:
        sizes = {"x": {0: nodes}, "edge_index": {1: edges}}
        exported = torch.export.export(conv, cases[0], dynamic_shapes=sizes).module()
        for case in cases:
            assert_near(exported(*case), conv(*case), 1e-6)
    finally:
        set_fused(True)


@pytest.mark.parametrize("manifold", [BALL, Lorentz(), Euclidean()], ids=str)
@pytest.mark.parametrize("name", ["edges", "deep edges", "edges in frames", "invariant edges"])
def test_layers_are_exported_for_any_number_of_edges(manifold, name):
    conv, x = LAYERS[name]().eval(), manifold.random(8, 3)
    conv.manifold = manifold
    edge_index, others = torch.randint(8, (2, 20)), torch.randint(8, (2, 33))
    sizes = (None, {1: torch.export.Dim("edges", min=4)})
    exported = torch.export.export(conv, (x, edge_index), dynamic_shapes=sizes).module()
    for edges in (edge_index, others):
        assert_near(exported(x, edges), conv(x, edges), 1e-6)
