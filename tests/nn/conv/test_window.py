"""Layers in the windows' own frames: what isometries leave alone, and that they do."""

import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, LeakyReLU, Linear, ReLU, Sequential, Tanh
from torch_geometric import EdgeIndex

from tests.nn.conv.helpers import CURVED, SPACES, assert_near, check_gradients, edges, points
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    DynamicHyperbolicEdgeConv,
    HConv2d,
    HyperbolicEdgeConv,
    InvariantEdgeConv,
    knn_graph,
)
from torch_geometric_hyperbolic.testing import assert_isometry_invariant, check_layer

#: Errors of up to 1e-9 where assert_close allows 1e-13: translations of length 4 take coordinates
#: of the hyperboloid to cosh(4 + 2) = 200, and their rounding with them.
LOOSE = 1e4

each_space = pytest.mark.parametrize("manifold", [*SPACES, *CURVED[:1]], ids=repr)
NETWORKS = {
    "linear": lambda: Linear(6, 8),
    "fused": lambda: Sequential(Linear(6, 8), BatchNorm1d(8), LeakyReLU(0.2)),
    "deep": lambda: Sequential(Linear(6, 8), ReLU(), Linear(8, 4)),
    "not first linear": lambda: Sequential(Tanh(), Linear(6, 4)),
}


class WatchedEdgeConv(HyperbolicEdgeConv):
    """The same through message passing."""

    def update(self, inputs: Tensor) -> Tensor:
        return inputs


def frame_of(v: Tensor) -> Tensor:
    """Axes ``[rank, n]``: the residual with the largest <r, r + mean> leads, again and again."""
    residuals, axes = v.clone(), []
    while len(axes) < v.size(1):
        score = (residuals * (residuals + residuals.mean(0))).sum(-1)
        score[residuals.norm(dim=-1) <= 4e-6 * v.norm(dim=-1).max()] = -torch.inf
        if score.max() == -torch.inf:
            break
        axes.append(residuals[score.argmax()] / residuals[score.argmax()].norm())
        residuals = residuals - (residuals @ axes[-1])[:, None] * axes[-1]
    return torch.stack(axes) if axes else v[:0]


def by_definition(conv: HyperbolicEdgeConv, x: Tensor, edge_index: Tensor) -> Tensor:
    """Maximum over messages, one node at a time."""
    manifold, rows = conv.manifold, []
    for i in range(len(x)):
        neighbours = edge_index[0, edge_index[1] == i]
        if len(neighbours) == 0:
            rows.append(torch.zeros(conv.nn(torch.zeros(1, 6).double()).size(1)).double())
            continue
        v = torch.stack([manifold.rel(x[i], x[j]) for j in neighbours])
        axes = frame_of(v)
        z = torch.zeros_like(v)
        z[:, : len(axes)] = v @ axes.T
        mean = z.mean(0).expand_as(z)
        rows.append(conv.nn(torch.cat([mean, z], dim=-1)).amax(0))
    return manifold.exp0(torch.stack(rows))


def graph(manifold: Manifold) -> tuple[Tensor, Tensor]:
    x = points(manifold, 20, 3, radius=2.0).detach()
    return x, knn_graph(x, k=5, manifold=manifold)


def layer(network: str, manifold: Manifold, aggr: str = "max", **kwargs) -> HyperbolicEdgeConv:
    nn = NETWORKS[network]()
    return HyperbolicEdgeConv(nn, aggr, manifold=manifold, frame="local", **kwargs).double().eval()


@each_space
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_definition(manifold, network):
    conv = layer(network, manifold)
    x = points(manifold, 12, 3, radius=2.0)
    edge_index = edges(12, 11, 40)  # the last node has no edges
    assert_near(conv(x, edge_index), by_definition(conv, x, edge_index))


@each_space
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("aggr", ["max", "mean", "midpoint"])
def test_it_is_invariant_to_isometries(manifold, network, aggr):
    conv = layer(network, manifold, aggr)
    x, edge_index = graph(manifold)
    for length in (0.0, 1.0, 4.0):
        assert_isometry_invariant(
            lambda x: conv(x, edge_index), x, manifold, length=length, factor=LOOSE
        )


@each_space
@pytest.mark.parametrize("length", [0.0, 4.0])
def test_without_a_frame_it_is_not(manifold, length):
    conv = HyperbolicEdgeConv(Linear(6, 8), manifold=manifold).double()
    x, edge_index = graph(manifold)
    with pytest.raises(AssertionError):
        assert_isometry_invariant(
            lambda x: conv(x, edge_index), x, manifold, length=length, factor=1e11
        )


@each_space
def test_a_dynamic_layer_and_a_stack_are_invariant(manifold):
    first = DynamicHyperbolicEdgeConv(Linear(6, 8), k=5, manifold=manifold, frame="local")
    second = DynamicHyperbolicEdgeConv(Linear(16, 8), k=5, manifold=manifold, frame="local")
    first, second = first.double(), second.double()
    x, _ = graph(manifold)
    assert_isometry_invariant(lambda x: second(first(x)), x, manifold, length=4.0, factor=LOOSE)


@each_space
@pytest.mark.parametrize("network", ["linear", "fused", "deep"])
@pytest.mark.parametrize("aggr", ["max", "min", "mean", "sum"])
def test_all_paths_agree(manifold, network, aggr):
    x, _ = graph(manifold)
    edge_index = edges(20, 20, 90)
    conv = layer(network, manifold, aggr).train()
    watched = WatchedEdgeConv(conv.nn, aggr, manifold=manifold, frame="local").double()
    watched.load_state_dict(conv.state_dict())
    fused = conv(x, edge_index)
    torch.testing.assert_close(watched(x, edge_index), fused)
    set_fused(False)
    try:
        torch.testing.assert_close(conv(x, edge_index), fused)
    finally:
        set_fused(True)


@each_space
def test_bipartite_flow_and_kinds_of_indices(manifold):
    conv = layer("fused", manifold)
    source, target = points(manifold, 9, 3), points(manifold, 6, 3)
    edge_index = edges(9, 6, 25)
    out = conv((source, target), edge_index)
    assert out.size(0) == 6
    assert_near(conv((source, target), edge_index.int()), out)
    assert_near(conv((source, target), EdgeIndex(edge_index, sparse_size=(9, 6))), out)
    back = layer("fused", manifold, flow="target_to_source")
    back.load_state_dict(conv.state_dict())
    edge_index = edges(9, 9, 25)
    assert_near(back(source, edge_index.flip(0)), conv(source, edge_index))


@pytest.mark.parametrize("manifold", SPACES, ids=repr)
@pytest.mark.parametrize("network", ["fused", "not first linear"])
def test_it_passes_the_battery(manifold, network):
    nn = NETWORKS[network]()
    check_layer(HyperbolicEdgeConv(nn, manifold=manifold, frame="local"), manifold, in_channels=3)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_gradients_are_those_of_finite_differences(space):
    manifold = space(0.7, learnable=True)
    conv = HyperbolicEdgeConv(Linear(6, 2), aggr="mean", manifold=manifold, frame="local").double()
    x = points(manifold, 5, 3).detach()
    if space is Lorentz:  # the time does not count
        x = x[:, 1:]
        conv = OfSpaceParts(conv)
    assert check_gradients(conv, x, edges(5, 5, 14)) == 4


class OfSpaceParts(torch.nn.Module):
    def __init__(self, conv: torch.nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(torch.cat([x[:, :1].detach() * 0, x], dim=-1), edge_index)


@each_space
@pytest.mark.parametrize("network", ["linear", "fused", "deep"])
@pytest.mark.parametrize("aggr", ["max", "mean"])
def test_float32_is_rounded_float64(manifold, network, aggr):
    conv = HyperbolicEdgeConv(NETWORKS[network](), aggr, manifold=manifold, frame="local")
    x, edge_index = graph(manifold)
    rough = conv(x.float(), edge_index)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(
        rough.double(), conv.double()(x.float().double(), edge_index), rtol=1e-5, atol=1e-5
    )


def test_it_compiles_in_one_graph():
    manifold = PoincareBall(learnable=True)
    conv = layer("fused", manifold)
    x, edge_index = graph(manifold)
    compiled = torch.compile(conv, fullgraph=True)
    assert_near(compiled(x, edge_index), conv(x, edge_index))


def test_curvature_to_zero_is_flat_space():
    x, edge_index = graph(Euclidean())
    flat = layer("deep", Euclidean())
    ball = layer("deep", PoincareBall(1e-10))
    ball.load_state_dict(flat.state_dict(), strict=False)
    assert_near(ball(x, edge_index), flat(x, edge_index), atol=1e-7)


@pytest.mark.parametrize("build", [lambda f: layer_with(f), lambda f: image_with(f)])
def test_other_frames_are_refused(build):
    with pytest.raises(ValueError, match="'frame' must be None or 'local' \\(got 'global'\\)"):
        build("global")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_refused_in_flat_space_too(dtype):
    x, edge_index = points(Euclidean(), 8, 3).to(dtype), edges(8, 8, 24)
    frames = HyperbolicEdgeConv(Linear(6, 8), manifold=Euclidean(), frame="local")
    lengths = InvariantEdgeConv(Linear(5, 8), manifold=Euclidean())
    images = HConv2d(3, 8, 3, manifold=Euclidean(), frame="local")
    for conv, given in (
        (frames, (x, edge_index)),
        (lengths, (x, edge_index)),
        (images, (x.view(1, 2, 4, 3).movedim(-1, 1),)),
    ):
        with pytest.raises(TypeError, match=f"'x' must be a float32 or float64 .*{dtype}"):
            conv.to(dtype)(*given)


def layer_with(frame: str) -> HyperbolicEdgeConv:
    return HyperbolicEdgeConv(Linear(6, 8), manifold=PoincareBall(), frame=frame)


def image_with(frame: str) -> HConv2d:
    return HConv2d(3, 8, 3, manifold=PoincareBall(), frame=frame)


class OldFramedEdgeConv(HyperbolicEdgeConv):
    """Hands on what the hook took before there were frames."""

    def message(self, p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j) -> Tensor:
        return super().message(p_i, p_j, s_i, s_j, absolute_i, relative_i, relative_j)


def test_a_hook_that_drops_the_windows_is_told():
    conv = OldFramedEdgeConv(Linear(6, 8), manifold=PoincareBall(), frame="local")
    with pytest.raises(ValueError, match="'index' must reach 'message'"):
        conv(torch.zeros(4, 3), edges(4, 4, 6))


def test_three_dimensional_input_is_refused():
    with pytest.raises(ValueError, match="'x' must have 2 dimensions"):
        layer("deep", PoincareBall())(torch.zeros(2, 4, 3).double(), edges(4, 4, 6))


# Images ----------------------------------------------------------------------------------------

SHAPES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 3), "stride": 2, "padding": 1, "dilation": (1, 2)},  # centres on padding
]


@each_space
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_invariant_to_isometries(manifold, shape):
    conv = HConv2d(3, 4, **shape, manifold=manifold, frame="local").double()
    x = points(manifold, 2, 5, 6, 3, radius=2.0)

    def function(x: Tensor) -> Tensor:
        return conv(x.movedim(-1, 1))

    assert_isometry_invariant(function, x, manifold, length=4.0, factor=LOOSE)
    raw = HConv2d(3, 4, **shape, manifold=manifold).double()
    with pytest.raises(AssertionError):
        assert_isometry_invariant(
            lambda x: raw(x.movedim(-1, 1)), x, manifold, length=4.0, factor=1e11
        )


@each_space
def test_images_are_the_definition(manifold):
    conv = HConv2d(3, 4, 3, padding=1, manifold=manifold, frame="local").double()
    x = points(manifold, 1, 4, 5, 3, radius=2.0)
    out = conv(x.movedim(-1, 1)).movedim(1, -1)
    for row in range(4):
        for col in range(5):
            v = torch.zeros(3, 3, 3).double()
            for a in range(3):
                for b in range(3):
                    r, s = row + a - 1, col + b - 1
                    if 0 <= r < 4 and 0 <= s < 5:
                        v[a, b] = manifold.rel(x[0, row, col], x[0, r, s])
            axes = frame_of(v.flatten(0, 1))
            z = v @ axes.T  # three axes: the window spans the space
            total = torch.einsum("oiab,abi->o", conv.weight, z) + conv.bias
            assert_near(out[0, row, col], manifold.exp0(total))


def test_a_constant_image_gives_the_bias():
    ball = PoincareBall()
    conv = HConv2d(3, 4, 3, padding=1, manifold=ball, frame="local")
    x = ball.random(3).view(1, 3, 1, 1).expand(2, 3, 5, 5)
    expected = ball.exp0(conv.bias).view(1, 4, 1, 1).expand(2, 4, 5, 5)
    torch.testing.assert_close(conv(x), expected)


def test_images_refuse_a_frame_without_a_pivot():
    with pytest.raises(ValueError, match="'pivot' must be True"):
        HConv2d(3, 4, 3, manifold=PoincareBall(), pivot=False, frame="local")


def test_the_frame_is_shown():
    assert "frame='local'" in repr(HConv2d(3, 4, 3, manifold=PoincareBall(), frame="local"))
    assert "frame='local'" in repr(layer("linear", PoincareBall()))


def test_shapes_are_known_without_values():
    conv = HyperbolicEdgeConv(torch.nn.Linear(6, 5), manifold=PoincareBall(), frame="local")
    edge_index = torch.randint(4, (2, 9), device="meta")
    assert conv.to("meta")(torch.empty(4, 3, device="meta"), edge_index).shape == (4, 5)


@pytest.mark.parametrize("kind", ["frame", "lengths"])
@pytest.mark.parametrize("manifold", [Euclidean(), PoincareBall(), Lorentz()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("radius", [1.0, 8.0, 12.0])
def test_points_in_one_place_have_no_direction(kind, manifold, dtype, radius):
    """Vectors between them are 0, not what rounding leaves, which would have a direction."""
    made = {"frame": (HyperbolicEdgeConv, 6), "lengths": (InvariantEdgeConv, 5)}
    layer, inputs = made[kind]
    how = {"frame": "local"} if kind == "frame" else {}
    conv = layer(Linear(inputs, 2), manifold=manifold, **how).to(dtype)
    unit = 2 if isinstance(manifold, PoincareBall) else 1
    direction = torch.tensor([0.36, 0.48, 0.8], dtype=dtype)
    v = (direction * radius / unit).repeat(4, 1).requires_grad_()
    out = conv(manifold.exp0(v), torch.tensor([[1, 2, 3], [0, 0, 0]]))
    out[0].sum().backward()
    assert not v.grad.any()


def test_gradients_of_one_window_do_not_depend_on_others():
    """Of float32 points: a mean that nearly cancels is taken of the same vectors in both passes,
    whether a graph falls into clouds or not.
    """
    ball = PoincareBall()
    centre = ball.exp0(0.3 * torch.randn(1, 3))
    u, w = torch.randn(2, 3)
    near = ball.move(centre.expand(3, 3), torch.stack([u, w, -u - w]))
    x = torch.cat([centre, near]).detach()
    edge_index = torch.tensor([[1, 2, 3], [0, 0, 0]])
    conv = InvariantEdgeConv(Linear(5, 4), manifold=ball)
    alone, twice = x.clone().requires_grad_(), torch.cat([x, x]).requires_grad_()
    conv(alone, edge_index)[0].sum().backward()
    conv(twice, torch.cat([edge_index, edge_index + 4], dim=1))[0].sum().backward()
    torch.testing.assert_close(alone.grad, twice.grad[:4], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_in_frames_takes_windows_of_another_size():
    conv = HyperbolicEdgeConv(Linear(6, 4), manifold=Euclidean(), frame="local")
    x = torch.randn(12, 3)
    narrow, wide = (torch.stack([torch.randint(12, (24,)), torch.arange(24) // k]) for k in (2, 6))
    traced = torch.jit.trace(conv, (x, narrow), check_trace=False)
    torch.testing.assert_close(traced(x, wide), conv(x, wide), rtol=1e-4, atol=1e-5)
