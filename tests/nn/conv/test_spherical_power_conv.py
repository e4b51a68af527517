"""SphericalPowerConv against its definition: plane waves, loops, and what isometries change."""

import math

import pytest
import torch
from scipy.special import j0, roots_legendre
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.utils import to_torch_csr_tensor

from tests.nn.conv.helpers import (
    CURVED,
    SPACES,
    assert_near,
    check_compiled,
    check_gradients,
    edges,
    points,
)
from torch_geometric_hyperbolic.geometry.harmonic import spherical_function
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn.conv.spherical_power_conv import SphericalPowerConv
from torch_geometric_hyperbolic.testing import (
    assert_isometry_invariant,
    assert_on_manifold,
    check_layer,
    random_isometry,
)

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def make_conv(manifold: Manifold, n: int = 3, out: int = 4, **kwargs: object) -> SphericalPowerConv:
    """With random weights, of both signs, and frequencies."""
    conv = SphericalPowerConv(n, out, manifold=manifold, num_frequencies=6, **kwargs).double()
    for parameter in (conv.pivot_weight, conv.neighbour_weight):
        torch.nn.init.normal_(parameter)
    torch.nn.init.normal_(conv.log_frequency, std=0.7)
    return conv


def random_case(manifold: Manifold, n: int = 3, radius: float = 2.0) -> tuple[Tensor, Tensor]:
    return points(manifold, 8, n, radius=radius), edges(8, 7, 24)  # node 7 has no edges


def windows(edge_index: Tensor, count: int) -> list[list[int]]:
    return [[j for j, target in edge_index.T.tolist() if target == i] for i in range(count)]


def definition(conv: SphericalPowerConv, source: Tensor, target: Tensor, edge_index: Tensor):
    """All pairs of point masses of each window, one by one."""
    out = []
    for i, window in enumerate(windows(edge_index, len(target))):
        powers = []
        for m in range(conv.num_frequencies):
            u, v = conv.pivot_weight[m], conv.neighbour_weight[m]
            masses = [(target[i], u)] + [(source[j], v / len(window)) for j in window]
            total = 0.0
            for x, a in masses:
                for y, b in masses:
                    d = conv.manifold.dist(x, y)
                    total = total + a * b * spherical_function(
                        d, conv.frequency[m], n=conv.in_channels, c=conv.manifold.c
                    )
            powers.append(total)
        out.append(conv.manifold.exp0(conv.lin(torch.stack(powers))))
    return torch.stack(out)


# The object ------------------------------------------------------------------------------------


def test_repr_tells_sizes_and_manifold():
    conv = SphericalPowerConv(3, 5, manifold=PoincareBall(0.5), num_frequencies=7)
    assert str(conv) == "SphericalPowerConv(3, 5, manifold=PoincareBall(c=0.5), num_frequencies=7)"


def test_frequencies_start_evenly_spread_and_stay_positive():
    conv = SphericalPowerConv(3, 5, manifold=PoincareBall(), num_frequencies=4, bias=False)
    expected = [math.pi * m / 4 for m in (1, 2, 3, 4)]
    assert conv.frequency.tolist() == pytest.approx(expected, rel=1e-6)
    assert conv.lin.bias is None
    torch.nn.init.constant_(conv.log_frequency, -9.0)
    torch.nn.init.constant_(conv.pivot_weight, 7.0)
    assert (conv.frequency > 0).all()
    conv.reset_parameters()
    assert conv.frequency.tolist() == pytest.approx(expected, rel=1e-6)
    assert conv.pivot_weight.tolist() == conv.neighbour_weight.tolist() == [0.5] * 4


# The definition --------------------------------------------------------------------------------


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_layer_is_its_definition(manifold, n):
    x, edge_index = random_case(manifold, n)
    conv = make_conv(manifold, n)
    out = conv(x, edge_index)
    assert_near(out, definition(conv, x, x, edge_index), 1e-12)
    assert_on_manifold(out, manifold)


def plane_waves(x: Tensor, omega: Tensor, frequency: float) -> Tensor:
    """Helgason's plane waves exp((i f + rho) B), B the Busemann function of the unit ball."""
    gap = 1 - x.square().sum(dim=-1, keepdim=True)
    busemann = (gap / (x[:, None] - omega).square().sum(dim=-1)).log()
    return torch.exp(complex((x.size(-1) - 1) / 2, frequency) * busemann)


def directions(n: int) -> tuple[Tensor, Tensor]:
    """Nodes on the unit sphere and weights of sum 1, for n = 2 and n = 3."""
    turn = torch.arange(192, dtype=torch.float64) * (2 * math.pi / 192)
    circle = torch.stack([turn.cos(), turn.sin()], dim=-1)
    if n == 2:
        return circle, torch.full_like(turn, 1 / 192)
    height, weight = (torch.from_numpy(values) for values in roots_legendre(96))
    ring = (1 - height**2).sqrt()[:, None, None] * circle
    omega = torch.cat([ring, height[:, None, None].expand(96, 192, 1)], dim=-1)
    return omega.flatten(0, 1), (weight[:, None] / (2 * 192)).expand(96, 192).flatten()


@pytest.mark.parametrize("n", [2, 3])
def test_the_power_is_that_of_plane_waves_from_all_directions(n):
    ball = PoincareBall()
    x, edge_index = random_case(ball, n, radius=1.5)
    conv = make_conv(ball, n)
    power = conv.propagate(edge_index, x=(x, x), size=(8, 8), num_targets=8)
    omega, share = directions(n)
    for m, frequency in enumerate(conv.frequency.tolist()):
        waves = plane_waves(x, omega, frequency)
        for i, window in enumerate(windows(edge_index, 8)):
            transform = conv.pivot_weight[m] * waves[i]
            if window:
                transform = transform + conv.neighbour_weight[m] * waves[window].mean(dim=0)
            expected = (transform.abs() ** 2 * share).sum()
            assert_near(power[i, m], expected.detach(), 1e-9)


def test_in_the_flat_plane_waves_are_bessel_functions():
    flat = Euclidean()
    x, edge_index = torch.randn(3, 2, dtype=torch.float64), torch.tensor([[1, 2], [0, 0]])
    conv = make_conv(flat, 2)
    power = conv.propagate(edge_index, x=(x, x), size=(3, 3), num_targets=3)
    u, v, f = conv.pivot_weight, conv.neighbour_weight, conv.frequency.detach()
    near, far, across = (
        torch.from_numpy(j0((f * (x[a] - x[b]).norm()).numpy()))
        for a, b in ((0, 1), (0, 2), (1, 2))
    )
    assert_near(power[0], u**2 + u * v * (near + far) + v**2 * (1 + across) / 2, 1e-13)
    assert_near(power[1], u**2, 1e-15)


@each_space
def test_a_window_of_equal_points_is_one_point_of_the_whole_weight(manifold):
    x = points(manifold, 1, 3).expand(4, -1)
    conv = make_conv(manifold)
    edge_index = torch.tensor([[1, 2, 3, 3], [0, 0, 0, 0]])
    power = conv.propagate(edge_index, x=(x, x), size=(4, 4), num_targets=4)
    assert_near(power[0], (conv.pivot_weight + conv.neighbour_weight) ** 2)


@each_space
def test_powers_are_not_negative(manifold):
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold)
    torch.nn.init.constant_(conv.pivot_weight, 1.0)
    torch.nn.init.constant_(conv.neighbour_weight, -1.0)
    torch.nn.init.constant_(conv.log_frequency, -6.0)  # slow waves nearly cancel
    assert conv.propagate(edge_index, x=(x, x), size=(8, 8), num_targets=8).min() > -1e-14


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_without_curvature_it_is_the_euclidean_layer(space):
    manifold, flat = space(1e-8), Euclidean()
    v, edge_index = random_case(flat, 2)
    conv = make_conv(manifold, 2)
    twin = make_conv(flat, 2)
    twin.load_state_dict(conv.state_dict(), strict=False)
    unit = manifold.dist0(manifold.exp0(v)) / v.norm(dim=-1)  # 2 in the ball
    out = manifold.log0(conv(manifold.exp0(v / unit[:, None]), edge_index))
    assert_near(out, twin(v, edge_index), 1e-6)


# Graphs ----------------------------------------------------------------------------------------


@each_space
def test_bipartite_graphs_have_targets_for_pivots(manifold):
    source, target = points(manifold, 9, 3), points(manifold, 4, 3)
    edge_index = edges(9, 4, 15)
    conv = make_conv(manifold)
    out = conv((source, target), edge_index)
    assert out.shape == (4, manifold.ambient_dim(4))
    assert_near(out, definition(conv, source, target, edge_index))


@each_space
def test_forms_of_the_graph_do_not_matter(manifold):
    x, edge_index = random_case(manifold)
    edge_index = edge_index.flip(0).unique(dim=1).flip(0).contiguous()  # by target
    conv = make_conv(manifold)
    out = conv(x, edge_index)
    order = torch.randperm(edge_index.size(1))
    assert_near(conv(x, edge_index[:, order]), out)
    x = x.requires_grad_()
    (narrow,) = torch.autograd.grad(conv(x, edge_index.int()).square().sum(), x)
    (full,) = torch.autograd.grad(conv(x, edge_index).square().sum(), x)
    assert_near(narrow, full)
    assert_near(conv(x, to_torch_csr_tensor(edge_index.flip(0), size=(8, 8))), out)
    assert_near(conv(x, EdgeIndex(edge_index, sparse_size=(8, 8), sort_order="col")), out)
    backward = make_conv(manifold, flow="target_to_source")
    backward.load_state_dict(conv.state_dict())
    assert_near(backward(x, edge_index.flip(0)), out)


@each_space
def test_a_node_without_edges_is_its_pivot_alone(manifold):
    x, _ = random_case(manifold)
    conv = make_conv(manifold)
    expected = manifold.exp0(conv.lin(conv.pivot_weight**2))
    for none in (torch.empty(2, 0, dtype=torch.long), torch.empty(2, 0, dtype=torch.int32)):
        assert_near(conv(x, none), expected.expand(8, -1))
    assert conv(x[:0], none).shape == (0, manifold.ambient_dim(4))


# Isometries ------------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("n", [2, 3])
def test_isometries_of_all_points_change_nothing(manifold, n):
    x, edge_index = random_case(manifold, n)
    conv = make_conv(manifold, n)
    # coordinates at radius 6 keep 1e-11 of a distance
    assert_isometry_invariant(lambda y: conv(y, edge_index), x, manifold, length=4.0, factor=1e4)


@each_space
def test_isometries_of_a_part_and_other_maps_do(manifold):
    x, edge_index = random_case(manifold)
    conv = make_conv(manifold)
    out = conv(x, edge_index)
    stretched = manifold.exp0(1.2 * manifold.log0(x))
    assert (conv(stretched, edge_index) - out)[:7].abs().max() > 1e-2
    phi = random_isometry(manifold, 3)
    assert (conv((x, phi(x)), edge_index) - out)[:7].abs().max() > 1e-2


# Gradients and robustness ----------------------------------------------------------------------


@pytest.mark.parametrize("space", [PoincareBall, Lorentz, None])
@pytest.mark.parametrize("n", [2, 3])
def test_gradients(space, n):
    manifold = space(0.7, learnable=True) if space else Euclidean()
    x = points(manifold, 5, n)
    edge_index = torch.tensor([[1, 2, 3, 3, 0], [0, 0, 0, 4, 4]])
    conv = make_conv(manifold, n)
    assert check_gradients(conv, x, edge_index) == (7 if space else 6)


@pytest.mark.parametrize("manifold", [*SPACES, PoincareBall(0.5, learnable=True)], ids=str)
@pytest.mark.parametrize("n", [2, 3])
def test_layer_passes_the_battery(manifold, n):
    check_layer(SphericalPowerConv(n, 4, manifold=manifold), manifold, n)


@pytest.mark.slow
def test_compiles_without_a_break():
    ball = PoincareBall(0.7, learnable=True)
    cases = [random_case(ball, 2) for _ in range(2)]
    check_compiled(make_conv(ball, 2), cases, backend="aot_eager", atol=1e-12)


def test_wrong_arguments_are_named():
    ball = PoincareBall()
    for name in ("in_channels", "out_channels", "num_frequencies"):
        sizes = {"in_channels": 3, "out_channels": 4, "num_frequencies": 5, name: 0}
        with pytest.raises(ValueError, match=rf"^'{name}' must be at least 1 \(got 0\)$"):
            SphericalPowerConv(**sizes, manifold=ball)
    with pytest.raises(TypeError, match="^'manifold' must be"):
        SphericalPowerConv(3, 4, manifold=None)
    conv = make_conv(ball)
    x, edge_index = random_case(ball)
    with pytest.raises(ValueError, match="^'x' must have last dimension 3"):
        conv(x[:, :2], edge_index)
    with pytest.raises(ValueError, match="^'x' must have 2 dimensions"):
        conv(x[None], edge_index)
    with pytest.raises(TypeError, match="^'x' must have the layer's dtype"):
        conv(x.float(), edge_index)


def test_indices_out_of_range_are_named(validation):
    x, _ = random_case(PoincareBall())
    with pytest.raises(ValueError, match="^'edge_index' must hold target"):
        make_conv(PoincareBall())(x, torch.tensor([[0], [8]]))


def test_edge_masks_are_refused():
    conv = SphericalPowerConv(3, 4, manifold=PoincareBall())
    conv.explain = True
    with pytest.raises(NotImplementedError, match="takes no edge mask"):
        conv(torch.zeros(3, 3), torch.tensor([[0, 1], [1, 2]]))


def test_weights_start_on_their_own_device():
    expected = SphericalPowerConv(3, 4, manifold=PoincareBall()).log_frequency
    torch.set_default_device("meta")
    try:
        conv = SphericalPowerConv(3, 4, manifold=PoincareBall()).to_empty(device="cpu")
        conv.reset_parameters()
    finally:
        torch.set_default_device(None)
    assert torch.equal(conv.log_frequency, expected)
