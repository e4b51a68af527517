"""HConv over graphs against its definition."""

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch_geometric import EdgeIndex
from torch_geometric.utils import to_torch_csr_tensor

from tests.nn.conv.definition import h_conv
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
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HConv, HConv2d, centre_offset, grid_graph
from torch_geometric_hyperbolic.testing import assert_on_manifold, check_layer

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)
with_and_without_pivot = pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])


def make_conv(manifold: Manifold, channels: tuple[int, int] = (3, 5), **kwargs: object) -> HConv:
    return HConv(*channels, 4, manifold=manifold, **kwargs).double()


def random_case(manifold: Manifold, n: int = 8, count: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    return points(manifold, n, 3, radius=2.0), edges(n, n, count), torch.randint(0, 4, (count,))


def by_definition(conv: HConv, x: Tensor, edge_index: Tensor, offset: Tensor, **kwargs: object):
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    lin_pivot = None if conv.lin_pivot is None else conv.lin_pivot.weight
    return h_conv(
        conv.manifold,
        x,
        edge_index,
        offset,
        conv.weight,
        bias,
        lin_pivot,
        pivot=conv.pivot,
        **kwargs,
    )


def test_repr_tells_sizes_manifold_and_version():
    conv = HConv(3, 5, 4, manifold=PoincareBall(0.5), pivot=False)
    assert str(conv) == "HConv(3, 5, num_offsets=4, manifold=PoincareBall(c=0.5), pivot=False)"


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
@with_and_without_pivot
@pytest.mark.parametrize("channels", [(3, 3), (3, 5)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_layer_is_its_definition(manifold, pivot, channels, bias):
    conv = make_conv(manifold, channels, pivot=pivot, bias=bias)
    if bias:
        torch.nn.init.normal_(conv.bias)
    x, edge_index, offset = random_case(manifold)
    out = conv(x, edge_index, offset)
    assert out.shape == (8, manifold.ambient_dim(channels[1]))
    assert_near(out, by_definition(conv, x, edge_index, offset), 1e-9)


@each_space
@with_and_without_pivot
def test_bipartite_graphs_follow_the_definition(manifold, pivot):
    source, target = points(manifold, 9, 3), points(manifold, 4, 3)
    edge_index, offset = edges(9, 4, 15), torch.randint(0, 4, (15,))
    conv = make_conv(manifold, pivot=pivot)
    expected = by_definition(conv, source, edge_index, offset, target=target)
    assert_near(conv((source, target), edge_index, offset), expected)


@each_space
@with_and_without_pivot
def test_reversed_flow_reads_the_edges_backwards(manifold, pivot):
    x, edge_index, offset = random_case(manifold)
    y = points(manifold, 8, 3)
    forward = make_conv(manifold, pivot=pivot)
    backward = make_conv(manifold, pivot=pivot, flow="target_to_source")
    backward.load_state_dict(forward.state_dict())
    for value in (x, (x, y)):
        assert_near(backward(value, edge_index, offset), forward(value, edge_index.flip(0), offset))


@each_space
def test_edge_index_objects_give_the_same_as_tensors(manifold):
    x, edge_index, offset = random_case(manifold)
    order = edge_index[1].argsort(stable=True)
    edge_index, offset = edge_index[:, order], offset[order]
    conv = make_conv(manifold)
    adjacency = EdgeIndex(edge_index, sparse_size=(8, 8), sort_order="col")
    assert_near(conv(x, adjacency, offset), conv(x, edge_index, offset))


@each_space
def test_sparse_adjacency_takes_offsets_in_its_own_order(manifold):
    x, edge_index, _ = random_case(manifold)
    edge_index = edge_index.flip(0).unique(dim=1).flip(0)  # by target, as the rows of a matrix
    offset = torch.randint(0, 4, edge_index.shape[1:])
    conv = make_conv(manifold)
    adjacency = to_torch_csr_tensor(edge_index.flip(0), size=(8, 8))
    assert_near(conv(x, adjacency, offset), conv(x, edge_index, offset))


@each_space
@with_and_without_pivot
def test_static_graphs_share_their_edges(manifold, pivot):
    x = points(manifold, 4, 8, 3)  # as many graphs as offsets, which must not be mixed up
    _, edge_index, offset = random_case(manifold)
    conv = make_conv(manifold, pivot=pivot)
    one_by_one = torch.stack([conv(item, edge_index, offset) for item in x])
    assert_near(conv(x, edge_index, offset), one_by_one)
    across = make_conv(manifold, pivot=pivot, node_dim=0)
    across.load_state_dict(conv.state_dict())
    assert_near(across(x.transpose(0, 1), edge_index, offset), one_by_one.transpose(0, 1))


@each_space
def test_without_edges_only_pivot_and_bias_are_left(manifold):
    x, _, _ = random_case(manifold)
    none = torch.empty(2, 0, dtype=torch.long)
    conv = make_conv(manifold, (3, 3))
    assert_near(conv(x, none, none[0]), manifold.move(x, conv.bias))
    conv = make_conv(manifold, (3, 3), bias=False)
    assert_near(conv(x, none, none[0]), x)
    conv = make_conv(manifold, pivot=False, bias=False)
    assert_near(conv(x, none, none[0]), manifold.origin(8, 5, dtype=x.dtype), 0.0)


@each_space
def test_numbering_of_nodes_and_edges_does_not_matter(manifold):
    x, edge_index, offset = random_case(manifold)
    conv = make_conv(manifold)
    out = conv(x, edge_index, offset)
    nodes, order = torch.randperm(8), torch.randperm(24)
    assert_near(conv(x[nodes], nodes.argsort()[edge_index], offset), out[nodes])
    assert_near(conv(x, edge_index[:, order], offset[order]), out)


class OffsetFromParity(torch.nn.Module):
    """HConv with the signature of the battery: the offset is a function of the edge alone."""

    def __init__(self, manifold: Manifold, pivot: bool) -> None:
        super().__init__()
        self.conv = HConv(3, 5, 2, manifold=manifold, pivot=pivot)

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        loop = edge_index[0] == edge_index[1]
        return self.conv(x, edge_index, loop.long())


@each_space
@with_and_without_pivot
def test_the_shipped_battery_accepts_the_layer(manifold, pivot):
    check_layer(OffsetFromParity(manifold, pivot), manifold, 3)


def test_parameters_and_their_reset():
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    sizes = {name: tuple(p.shape) for name, p in conv.named_parameters()}
    assert sizes == {"weight": (5, 3, 4), "bias": (5,), "lin_pivot.weight": (5, 3)}
    before = {name: p.clone() for name, p in conv.named_parameters()}
    conv.reset_parameters()
    assert not any(torch.equal(p, before[name]) for name, p in conv.named_parameters())


@pytest.mark.parametrize(
    ("channels", "kwargs"), [((3, 3), {}), ((3, 5), {"pivot": False})], ids=["same", "0.1"]
)
def test_no_pivot_map_where_none_is_needed(channels, kwargs):
    assert HConv(*channels, 4, manifold=PoincareBall(), **kwargs).lin_pivot is None


@pytest.mark.parametrize("channels", [(3, 7), (7, 3)], ids=str)
def test_initial_pivot_map_is_semi_orthogonal(channels):
    weight = HConv(*channels, 4, manifold=PoincareBall()).lin_pivot.weight
    small = weight @ weight.T if channels[1] < channels[0] else weight.T @ weight
    assert_near(small, torch.eye(3), 1e-6)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same(duplicate):
    conv = make_conv(Lorentz(0.7, learnable=True))
    case = random_case(Lorentz(0.7))
    assert_near(duplicate(conv)(*case), conv(*case), 0.0)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("channels", [(2, 2), (2, 3)], ids=str)
@with_and_without_pivot
def test_gradients_in_points_weights_and_curvature(space, channels, pivot):
    manifold = space(0.7, learnable=True)
    conv = HConv(*channels, 2, manifold=manifold, pivot=pivot).double()
    edge_index = torch.tensor([[0, 1, 2, 0, 2], [1, 0, 1, 2, 2]])
    offset = torch.tensor([0, 1, 1, 0, 1])
    count = check_gradients(conv, points(manifold, 3, 2), edge_index, offset)
    assert count == (5 if pivot and channels == (2, 3) else 4)


@each_space
@with_and_without_pivot
def test_float32_is_close_to_float64(manifold, pivot):
    x, edge_index, offset = random_case(manifold)
    conv = make_conv(manifold, pivot=pivot)
    expected = conv(x.float().double(), edge_index, offset)
    out = copy.deepcopy(conv).float()(x.float(), edge_index, offset)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)


@each_space
def test_autocast_keeps_geometry_in_float32(manifold):
    x, edge_index, offset = random_case(manifold)
    conv = make_conv(manifold).float()
    expected = conv(x.float(), edge_index, offset)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x.float(), edge_index, offset)
    assert_on_manifold(out, manifold)
    if manifold.c:
        assert out.dtype == torch.float32
    assert_near(manifold.log0(out.float()), manifold.log0(expected), 0.05)


def test_sizes_are_known_of_tensors_without_values():
    with FakeTensorMode():
        x, offset = torch.empty(6, 3), torch.empty(4, dtype=torch.long)
        conv = HConv(3, 5, 9, manifold=PoincareBall())
        assert conv(x, torch.empty(2, 4, dtype=torch.long), offset).shape == (6, 5)


@pytest.mark.slow
def test_compiled_layer_equals_eager_for_any_number_of_nodes():
    manifold = PoincareBall(learnable=True)
    cases = [random_case(manifold, n, 3 * n) for n in (8, 13)]
    check_compiled(make_conv(manifold), cases, backend="aot_eager", atol=1e-11)


# On the graph of an image ----------------------------------------------------------------------

WINDOWS = {
    "3x3": {"kernel_size": 3},
    "padded": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "even": {"kernel_size": 2, "padding": 1},
    "uneven": {"kernel_size": (3, 4), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
}


@each_space
@with_and_without_pivot
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [(3, 3), (3, 5)], ids=str)
def test_over_the_graph_of_an_image_it_is_the_image_layer(manifold, pivot, window, channels):
    """The pivots are the target nodes: the pixels at the centres of the windows."""
    kwargs = WINDOWS[window]
    image = points(manifold, 6, 7, 3, radius=2.0)
    conv2d = HConv2d(*channels, **kwargs, manifold=manifold, pivot=pivot).double()
    conv = HConv(*channels, conv2d.weight[0, 0].numel(), manifold=manifold, pivot=pivot).double()
    with torch.no_grad():
        conv.weight.copy_(conv2d.weight.flatten(2))
        conv.bias.copy_(conv2d.bias)
        if conv.lin_pivot is not None:
            conv.lin_pivot.weight.copy_(conv2d.lin_pivot.weight)
        elif conv2d.lin_pivot is not None:  # a stride: only the image layer has a map
            conv2d.lin_pivot.weight.copy_(torch.eye(3))
    out = conv2d(image.permute(2, 0, 1)[None])
    edge_index, offset = grid_graph(6, 7, **kwargs)
    x = image.flatten(0, 1)
    pivots = manifold.origin(out[0, 0].numel(), 3, dtype=x.dtype)  # where they lie on padding
    centre = offset == centre_offset(kwargs["kernel_size"])
    pivots[edge_index[1, centre]] = x[edge_index[0, centre]]
    nodes = conv((x, pivots), edge_index, offset)
    assert_near(out[0].flatten(1).T, nodes)


# Bad arguments ---------------------------------------------------------------------------------


def test_wrong_arguments_of_the_constructor_are_named():
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got 'ball'\)"):
        HConv(3, 5, 4, manifold="ball")
    for position, name in enumerate(("in_channels", "out_channels", "num_offsets")):
        sizes: list[object] = [3, 5, 4]
        sizes[position] = 0
        with pytest.raises(ValueError, match=rf"'{name}' must be at least 1 \(got 0\)"):
            HConv(*sizes, manifold=PoincareBall())
        sizes[position] = 2.5
        with pytest.raises(TypeError, match=rf"'{name}' must be an int \(got 2.5\)"):
            HConv(*sizes, manifold=PoincareBall())


@each_space
def test_wrong_points_are_named(manifold):
    conv = HConv(3, 5, 4, manifold=manifold)
    width = manifold.ambient_dim(3)
    edge_index, offset = edges(8, 8, 24), torch.zeros(24, dtype=torch.long)
    x = torch.zeros(8, width)
    message = rf"'x' must have last dimension {width} .*\(got {width + 1}\)"
    with pytest.raises(ValueError, match=message):
        conv(torch.zeros(8, width + 1), edge_index, offset)
    with pytest.raises(ValueError, match=message):
        conv((x, torch.zeros(8, width + 1)), edge_index, offset)
    with pytest.raises(TypeError, match=r"'x' must be a floating-point tensor \(got torch.int64\)"):
        conv(x.long(), edge_index, offset)
    with pytest.raises(TypeError, match=r"'x' must have dtype torch.float32 .*torch.float64"):
        conv((x, x.double()), edge_index, offset)
    with pytest.raises(TypeError, match=r"'x' must have .* torch.float32 \(got torch.float64\)"):
        conv(x.double(), edge_index, offset)
    for one in (x[0], (x[0], x), (x, x[0])):
        with pytest.raises(ValueError, match=rf"'x' must have at least 2 .*\({width},\)"):
            conv(one, edge_index, offset)


def test_points_on_another_device_than_the_weights_are_named():
    conv = HConv(3, 5, 4, manifold=PoincareBall()).to("meta")
    with pytest.raises(ValueError, match=r"'x' must be on .*meta \(got cpu\)"):
        conv(torch.zeros(8, 3), edges(8, 8, 24), torch.zeros(24, dtype=torch.long))


def test_offsets_that_are_no_integers_are_named():
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    with pytest.raises(TypeError, match=r"'offset' must .* \(got torch.float32\)"):
        conv(torch.zeros(8, 3), edges(8, 8, 24), torch.zeros(24))


@pytest.mark.parametrize("count", [1, 23])
def test_offsets_that_do_not_match_the_edges_are_named(count):
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    with pytest.raises((TypeError, ValueError), match="'offset' must"):
        conv(torch.zeros(8, 3), edges(8, 8, 24), torch.zeros(count, dtype=torch.long))


@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr"])
def test_offsets_that_do_not_match_a_sparse_adjacency_are_named(layout):
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    adjacency = getattr(torch.eye(8), layout)()
    conv(torch.zeros(8, 3), adjacency, torch.zeros(8, dtype=torch.long))
    with pytest.raises(ValueError, match=r"'offset' must have one entry per edge \(got \(9,\)\)"):
        conv(torch.zeros(8, 3), adjacency, torch.zeros(9, dtype=torch.long))


@pytest.mark.parametrize("bad", [-1, 4])
def test_offsets_out_of_range_are_named_when_validation_is_on(validation, bad):
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    edge_index = torch.tensor([[0, 1, 2], [3, 3, 3]])
    with pytest.raises(ValueError, match=rf"'offset' must .*\[0, 4\) .*{bad}"):
        conv(torch.zeros(8, 3), edge_index, torch.tensor([0, 3, bad]))


@pytest.mark.parametrize("bad", [-1, 8])
def test_edges_out_of_range_are_named_when_validation_is_on(validation, bad):
    conv = HConv(3, 5, 4, manifold=PoincareBall())
    edge_index = torch.tensor([[0, bad, 2], [3, 3, 3]])
    with pytest.raises(ValueError, match=r"'edge_index' must hold source indices in \[0, 8\)"):
        conv(torch.zeros(8, 3), edge_index, torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("bad", [-1, 4])
def test_offsets_out_of_range_are_named_on_the_cpu(bad):
    ball = PoincareBall()
    conv = HConv(3, 2, num_offsets=4, manifold=ball)
    edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"'offset' must lie in \[0, 4\)"):
        conv(ball.random(2, 3), edge_index, torch.tensor([0, bad]))
    with pytest.raises(TypeError, match=r"'offset' must be a tensor of integers \(got NoneType\)"):
        conv(ball.random(2, 3), edge_index, None)


@pytest.mark.parametrize("pivot", [True, False])
def test_pairs_of_nodes_take_either_flow(pivot):
    ball = PoincareBall()
    x, offset = (ball.random(9, 3), ball.random(6, 3)), torch.randint(4, (20,))
    edge_index = torch.stack([torch.randint(9, (20,)), torch.randint(6, (20,))])
    how = {"num_offsets": 4, "manifold": ball, "pivot": pivot}
    forward, backward = HConv(3, 2, **how), HConv(3, 2, **how, flow="target_to_source")
    backward.load_state_dict(forward.state_dict())
    expected = forward(x, edge_index, offset)
    assert expected.shape == (6, 2)
    torch.testing.assert_close(backward(x, edge_index.flip(0), offset), expected)


@pytest.mark.parametrize("edges", [[[0], [1]], None], ids=["list", "None"])
def test_edges_that_are_none_of_pyg_s_kinds_get_its_error(edges):
    ball = PoincareBall()
    conv = HConv(3, 4, num_offsets=2, manifold=ball)
    with pytest.raises(ValueError, match="only supports integer tensors"):
        conv(ball.random(4, 3), edges, torch.tensor([0]))


@pytest.mark.parametrize(
    "make",
    [lambda **how: HConv(8, 64, 9, **how), lambda **how: HConv2d(8, 64, 3, **how)],
    ids=["graph", "image"],
)
def test_parameters_start_as_those_of_conv2d(make):
    conv = make(manifold=PoincareBall())
    for parameter in (conv.weight, conv.bias):
        assert 0.9 < parameter.abs().max() * 72**0.5 <= 1  # uniform to 1 / sqrt(inputs)


def test_two_offsets_may_be_told_by_bools():
    ball = PoincareBall()
    conv, x = HConv(3, 4, num_offsets=2, manifold=ball), ball.random(4, 3)
    edge_index, offset = torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.tensor([0, 1, 1])
    assert torch.equal(conv(x, edge_index, offset.bool()), conv(x, edge_index, offset))
