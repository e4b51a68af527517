"""HeatKernelConv against its definition, its limits and the isometries that do not change it."""

import math

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import add_self_loops, to_torch_csr_tensor

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
from torch_geometric_hyperbolic.geometry.harmonic import log_heat_kernel, spherical_function
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn.conv.heat_kernel_conv import HeatKernelConv
from torch_geometric_hyperbolic.testing import assert_isometry_invariant, check_layer

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def random_case(manifold: Manifold, n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    h = torch.randn(8, 5, dtype=torch.float64)
    return h, points(manifold, 8, n, radius=2.0), edges(8, 8, 24)


def definition(conv: HeatKernelConv, h: Tensor, x: Tensor, edge_index: Tensor) -> Tensor:
    """A softmax of the logarithm of the kernel over each window."""
    out = []
    for i in range(len(x)):
        window = [i] + [j for j, target in edge_index.T.tolist() if target == i and j != i]
        d = torch.stack([conv.manifold.dist(x[i], x[j]) for j in window])
        scores = log_heat_kernel(d, conv.time, n=conv.in_channels, c=conv.manifold.c)
        out.append(scores.softmax(dim=0) @ h[window])
    return torch.stack(out)


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_layer_is_its_definition(manifold, n):
    h, x, edge_index = random_case(manifold, n)
    conv = HeatKernelConv(n, manifold=manifold, time=0.7)
    assert_near(conv(h, x, edge_index), definition(conv, h, x, edge_index), 1e-12)


def test_repr_and_state():
    conv = HeatKernelConv(3, manifold=Lorentz(), time=0.5, learnable=True).double()
    assert str(conv) == "HeatKernelConv(3, manifold=Lorentz(c=1.0), time=0.5)"
    torch.nn.init.constant_(conv.log_time, 1.0)
    other = HeatKernelConv(3, manifold=Lorentz(), learnable=True).double()
    other.load_state_dict(conv.state_dict())
    assert other.time.item() == conv.time.item() == pickled(conv).time.item() == math.e
    conv.reset_parameters()
    assert conv.time.item() == pytest.approx(0.5)
    fixed = HeatKernelConv(3, manifold=Lorentz(), time=0.1)
    assert fixed.time == 0.1
    assert not list(fixed.parameters())


@each_space
def test_a_node_is_in_its_window_once_and_other_edges_count_as_often_as_given(manifold):
    h, x, _ = random_case(manifold)
    conv = HeatKernelConv(3, manifold=manifold)
    edge_index = torch.tensor([[1, 1, 2], [0, 0, 1]])
    out = conv(h, x, edge_index)
    assert_near(out, definition(conv, h, x, edge_index))
    assert_near(out[2:], h[2:], 0.0)
    assert (out[0] - conv(h, x, edge_index[:, 1:])[0]).abs().max() > 1e-2
    looped, _ = add_self_loops(torch.cat([edge_index, torch.tensor([[0], [0]])], dim=1))
    assert_near(conv(h, x, looped), out)
    assert_near(conv(h, x, edge_index[:, :0]), h, 0.0)


@each_space
def test_forms_of_the_graph_do_not_matter(manifold):
    h, x, edge_index = random_case(manifold)
    edge_index = edge_index.unique(dim=1)
    conv = HeatKernelConv(3, manifold=manifold)
    out = conv(h, x, edge_index)
    x = x.requires_grad_()
    (narrow,) = torch.autograd.grad(conv(h, x, edge_index.int()).square().sum(), x)
    (full,) = torch.autograd.grad(conv(h, x, edge_index).square().sum(), x)
    assert_near(narrow, full)
    assert_near(conv(h, x, to_torch_csr_tensor(edge_index.flip(0), size=(8, 8))), out)
    backward = HeatKernelConv(3, manifold=manifold, flow="target_to_source")
    assert_near(backward(h, x, edge_index.flip(0)), out)


@each_space
def test_constants_stay_and_values_stay_in_their_range(manifold):
    h, x, edge_index = random_case(manifold)
    conv = HeatKernelConv(3, manifold=manifold)
    assert_near(conv(torch.ones_like(h), x, edge_index), torch.ones_like(h))
    out = conv(h, x, edge_index)
    assert (out.amax(dim=0) <= h.amax(dim=0)).all()
    assert (out.amin(dim=0) >= h.amin(dim=0)).all()
    assert (out.std(dim=0) < h.std(dim=0)).all()


@each_space
def test_no_time_changes_nothing_and_endless_time_leaves_the_spherical_function(manifold):
    h, x, _ = random_case(manifold)
    edge_index = torch.tensor([[1, 2, 3], [0, 0, 0]])
    assert_near(HeatKernelConv(3, manifold=manifold, time=1e-5)(h, x, edge_index), h)
    out = HeatKernelConv(3, manifold=manifold, time=1e9)(h, x, edge_index)[0]
    d = manifold.dist(x[:1], x[:4])
    weight = spherical_function(d, 0.0, n=3, c=manifold.c)
    assert_near(out, weight @ h[:4] / weight.sum(), 1e-7)
    if manifold.c == 0:
        assert_near(out, h[:4].mean(dim=0), 1e-7)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_without_curvature_it_is_gaussian_smoothing(space):
    manifold, flat = space(1e-8), Euclidean()
    h, v, edge_index = random_case(flat)
    unit = manifold.dist0(manifold.exp0(v)) / v.norm(dim=-1)  # 2 in the ball
    x = manifold.exp0(v / unit[:, None])
    near = HeatKernelConv(3, manifold=manifold, time=0.6)(h, x, edge_index)
    twin = HeatKernelConv(3, manifold=flat, time=0.6)(h, v, edge_index)
    assert_near(near, twin, 1e-7)
    curved = HeatKernelConv(3, manifold=space(1.0), time=0.6)
    assert (curved(h, space(1.0).exp0(v / unit[:, None]), edge_index) - twin).abs().max() > 1e-2


@pytest.mark.parametrize("manifold", SPACES, ids=str)
def test_isometries_change_nothing_and_other_maps_do(manifold):
    h, x, edge_index = random_case(manifold)
    conv = HeatKernelConv(3, manifold=manifold)
    # coordinates at radius 6 keep 1e-11 of a distance
    assert_isometry_invariant(lambda y: conv(h, y, edge_index), x, manifold, length=4.0, factor=1e4)
    stretched = manifold.exp0(1.2 * manifold.log0(x))
    assert (conv(h, stretched, edge_index) - conv(h, x, edge_index)).abs().max() > 1e-2


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
def test_gradient_by_the_time_where_windows_are_small(manifold):
    """What both logarithms add to it, n / 2t each, is 1e4 times as large as their difference."""
    h, x, edge_index = random_case(manifold)
    x, h = manifold.exp0(0.01 * manifold.log0(x)).float(), h.float()
    grads = []
    for dtype in (torch.float32, torch.float64):
        conv = HeatKernelConv(3, manifold=manifold, time=0.5, learnable=True).to(dtype)
        conv(h.to(dtype), x.to(dtype), edge_index).double().square().sum().backward()
        grads.append(conv.log_time.grad.double())
    assert (grads[0] - grads[1]).abs() < 1e-5 * grads[1].abs()


@pytest.mark.parametrize("manifold", [PoincareBall(0.7), Lorentz(0.7), Euclidean()], ids=str)
def test_gradients(manifold):
    if manifold.c:
        manifold = type(manifold)(0.7, learnable=True)
    h, x, edge_index = random_case(manifold, 2)
    conv = HeatKernelConv(2, manifold=manifold, time=0.6, learnable=True).double()

    class Swapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return self.conv(h, x, edge_index)

    x = manifold.projx(x)
    assert check_gradients(Swapped(), x, h) == (3 if manifold.c else 2)
    h = h.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: conv(h, x.detach(), edge_index), (h,))


class Smoothed(torch.nn.Module):
    """The layer with the signature of the battery: smooths the logarithms of the points."""

    def __init__(self, n: int, manifold: Manifold) -> None:
        super().__init__()
        self.manifold = manifold
        self.conv = HeatKernelConv(n, manifold=manifold, time=0.5, learnable=True)

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.manifold.exp0(self.conv(self.manifold.log0(x), x, edge_index))


@pytest.mark.parametrize("manifold", [*SPACES, PoincareBall(0.5, learnable=True)], ids=str)
@pytest.mark.parametrize("n", [2, 3])
def test_layer_passes_the_battery(manifold, n):
    check_layer(Smoothed(n, manifold), manifold, n)


@pytest.mark.slow
def test_compiles_without_a_break():
    ball = PoincareBall(0.7, learnable=True)
    cases = [random_case(ball, 4)[1:] for _ in range(2)]
    check_compiled(Smoothed(4, ball).double(), cases, backend="aot_eager", atol=1e-12)


def test_wrong_arguments_are_named():
    ball = PoincareBall()
    for time, error in ((0.0, ValueError), (math.inf, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="^'time' must be"):
            HeatKernelConv(3, manifold=ball, time=time)
    with pytest.raises(ValueError, match=r"^'in_channels' must be at most 32 \(got 33\)$"):
        HeatKernelConv(33, manifold=ball)
    with pytest.raises(ValueError, match="^'in_channels' must be at least 1"):
        HeatKernelConv(0, manifold=ball)
    with pytest.raises(TypeError, match="^'manifold' must be"):
        HeatKernelConv(3, manifold=None)
    conv = HeatKernelConv(3, manifold=ball)
    h, x, edge_index = random_case(ball)
    with pytest.raises(ValueError, match="^'h' must have one row per point of 'x'"):
        conv(h[:3], x, edge_index)
    with pytest.raises(ValueError, match="^'h' must have 2 dimensions"):
        conv(h[0], x, edge_index)
    with pytest.raises(ValueError, match="^'x' must have last dimension 3"):
        conv(h, x[:, :2], edge_index)


def test_indices_out_of_range_are_named(validation):
    h, x, _ = random_case(PoincareBall())
    with pytest.raises(ValueError, match="^'edge_index' must hold source"):
        HeatKernelConv(3, manifold=PoincareBall())(h, x, torch.tensor([[8], [0]]))


def test_a_learnt_time_is_not_shown_where_it_has_no_value():
    with torch.device("meta"):
        conv = HeatKernelConv(3, manifold=PoincareBall(), learnable=True)
    assert repr(conv) == "HeatKernelConv(3, manifold=PoincareBall(c=1.0))"
