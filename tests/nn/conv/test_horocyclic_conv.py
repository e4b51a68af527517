"""HorocyclicConv against its definition, and what isometries do to it."""

import copy

import pytest
import torch
from torch import Tensor

from tests.nn.conv.definition import definition_of
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
from torch_geometric_hyperbolic.nn.conv.horocyclic_conv import HorocyclicConv
from torch_geometric_hyperbolic.testing import check_layer, random_isometry

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def make_conv(manifold: Manifold, **kwargs: object) -> HorocyclicConv:
    return HorocyclicConv(3, 5, 4, manifold=manifold, **kwargs).double()


def wave(manifold: Manifold, y: Tensor, frequency: Tensor, direction: Tensor) -> Tensor:
    """One horocyclic wave at one point, complex, by the textbook formulas."""
    c, omega = manifold.c, direction / direction.norm()
    if isinstance(manifold, PoincareBall):
        away = omega - c**0.5 * y
        ahead = torch.log((1 - c * y @ y) / (away @ away)) / c**0.5
    elif isinstance(manifold, Lorentz):
        ahead = -torch.log(c**0.5 * (y[0] - y[1:] @ omega)) / c**0.5
    else:
        ahead = y @ omega
    rho = (len(omega) - 1) / 2
    return torch.exp(torch.complex(rho * c**0.5 * ahead, frequency * ahead))


def by_definition(conv: HorocyclicConv, x: Tensor, edge_index: Tensor, target: Tensor) -> Tensor:
    space = definition_of(conv.manifold)
    out = []
    for i in range(len(target)):
        coefficients = torch.zeros(conv.num_waves, dtype=torch.complex128)
        neighbours = [j for j, t in edge_index.T.tolist() if t == i]
        for j in neighbours:
            y = space.exp0(space.rel(target[i], x[j]))
            for k in range(conv.num_waves):
                value = wave(conv.manifold, y, conv.waves.frequency[k], conv.waves.direction[k])
                coefficients[k] += value / len(neighbours)
        v = conv.lin.weight @ torch.cat([coefficients.real, coefficients.imag])
        out.append(space.exp0(v if conv.lin.bias is None else v + conv.lin.bias))
    return torch.stack(out)


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_layer_is_its_definition(manifold, bias):
    conv = make_conv(manifold, bias=bias)
    source, target, edge_index = points(manifold, 8, 3), points(manifold, 6, 3), edges(8, 6, 15)
    edge_index = edge_index[:, edge_index[1] != 2]  # a node without edges
    expected = by_definition(conv, source, edge_index, target)
    assert_near(conv((source, target), edge_index), expected, 1e-9)
    assert_near(conv(target, edge_index % 6), by_definition(conv, target, edge_index % 6, target))


@each_space
def test_an_empty_window_gives_the_bias(manifold):
    conv, x = make_conv(manifold), points(manifold, 4, 3)
    expected = manifold.exp0(conv.lin.bias).expand(4, -1)
    assert_near(conv(x, edges(4, 4, 0)), expected)


@each_space
def test_the_shipped_battery_accepts_the_layer(manifold):
    check_layer(HorocyclicConv(3, 5, 4, manifold=manifold), manifold, 3)


@each_space
def test_reversed_flow_reads_the_edges_backwards(manifold):
    x, edge_index = points(manifold, 6, 3), edges(6, 6, 15)
    forward, backward = make_conv(manifold), make_conv(manifold, flow="target_to_source")
    backward.load_state_dict(forward.state_dict())
    assert_near(backward(x, edge_index), forward(x, edge_index.flip(0)))


@pytest.mark.parametrize("c", [1e-6, 1e-10])
def test_little_curvature_is_nearly_flat(c):
    """Lengths of the ball are twice those of flat space."""
    flat, curved = make_conv(Euclidean()), make_conv(PoincareBall(c))
    state = flat.state_dict()
    curved.load_state_dict({**curved.state_dict(), **state})
    with torch.no_grad():
        curved.waves.frequency.copy_(flat.waves.frequency / 2)
    x, edge_index = torch.randn(6, 3, dtype=torch.float64), edges(6, 6, 15)
    assert_near(curved(x, edge_index), flat(x, edge_index), 30 * c**0.5)


def rotations(manifold: Manifold, phi, x: Tensor) -> Tensor:
    """How ``phi`` turns the ``rel`` of every node, ``[N, n, n]``, from three neighbours of each."""
    x = x.unsqueeze(1)
    steps = torch.eye(3, dtype=x.dtype).expand(len(x), 3, 3)
    return manifold.rel(phi(x), phi(manifold.move(x, steps))).mT


@each_space
@pytest.mark.parametrize("length", [0.0, 2.0])
def test_isometries_do_what_turning_the_directions_of_a_node_does(manifold, length):
    conv, x, edge_index = make_conv(manifold), points(manifold, 6, 3), edges(6, 6, 20)
    out = conv(x, edge_index)
    for _ in range(3):
        phi = random_isometry(manifold, 3, length=length)
        moved = conv(phi(x), edge_index)
        assert (moved - out).abs().max() > 1e-2
        turned = copy.deepcopy(conv)
        for i, rotation in enumerate(rotations(manifold, phi, x)):
            with torch.no_grad():
                turned.waves.direction.copy_(conv.waves.direction @ rotation)  # by the inverse
            assert_near(turned(x, edge_index)[i], moved[i], 1e-9)


@each_space
def test_float32_is_close_to_float64(manifold):
    conv, x, edge_index = make_conv(manifold), points(manifold, 6, 3), edges(6, 6, 15)
    out = copy.deepcopy(conv).float()(x.float(), edge_index)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), conv(x, edge_index), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("manifold", [PoincareBall(), Lorentz()], ids=str)
def test_far_apart_float32_loses_no_more_than_the_waves_need(manifold):
    """Neighbours 13 apart, and waves that come from where they are: phases of 13 radians."""
    ray = torch.tensor([[8.0, 0.0, 0.0], [8.0, 1.0, 0.0]], dtype=torch.float64)
    unit = 0.5 if isinstance(manifold, PoincareBall) else 1.0
    x = manifold.exp0(unit * 8 * ray / ray.norm(dim=1, keepdim=True) * torch.tensor([[1], [-1]]))
    x = x.float()
    conv = HorocyclicConv(3, 2, 4, manifold=manifold)
    towards = manifold.rel(x[:1].double(), x[1:].double())
    conv.waves.direction.data = (towards + 1e-3 * torch.randn(4, 3)).float()
    seen = conv.message(x[:1], x[1:])
    exact = copy.deepcopy(conv).double().message(x[:1].double(), x[1:].double())
    assert (seen - exact).abs().max() < 2e-5 * exact.abs().max()


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_gradients_in_points_parameters_and_curvature(space):
    manifold = space(0.7, learnable=True)
    conv = HorocyclicConv(2, 2, 2, manifold=manifold).double()
    edge_index = torch.tensor([[0, 1, 2, 0, 2], [1, 0, 1, 2, 2]])
    assert check_gradients(conv, points(manifold, 3, 2), edge_index) == 6


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same(duplicate):
    conv = make_conv(Lorentz(0.7, learnable=True))
    case = points(Lorentz(0.7), 6, 3), edges(6, 6, 15)
    assert_near(duplicate(conv)(*case), conv(*case), 0.0)


@pytest.mark.slow
def test_compiled_layer_equals_eager_for_any_number_of_nodes():
    manifold = PoincareBall(learnable=True)
    cases = [(points(manifold, n, 3), edges(n, n, 3 * n)) for n in (8, 13)]
    check_compiled(make_conv(manifold), cases, backend="aot_eager", atol=1e-10)


def test_repr_and_wrong_arguments():
    conv = HorocyclicConv(3, 5, manifold=Lorentz(0.5))
    assert str(conv) == "HorocyclicConv(3, 5, num_waves=16, manifold=Lorentz(c=0.5))"
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got 'ball'\)"):
        HorocyclicConv(3, 5, manifold="ball")
    for position, name in enumerate(("in_channels", "out_channels", "num_waves")):
        sizes = [3, 5, 4]
        sizes[position] = 0
        with pytest.raises(ValueError, match=rf"'{name}' must be at least 1 \(got 0\)"):
            HorocyclicConv(*sizes, manifold=PoincareBall())
    with pytest.raises(ValueError, match=r"'x' must have last dimension 4 \(got 3\)"):
        conv(torch.zeros(8, 3), edges(8, 8, 24))
    for x in (torch.zeros(4), (torch.zeros(8, 4), torch.zeros(4))):
        with pytest.raises(ValueError, match=r"'x' must have at least 2 dimensions .*\(4,\)"):
            conv(x, edges(8, 8, 24))
    with pytest.raises(TypeError, match=r"'x' must have the layer's dtype"):
        conv(torch.zeros(8, 4, dtype=torch.float64), edges(8, 8, 24))


@pytest.mark.parametrize(
    ("manifold", "radius"), [(PoincareBall(), 17), (PoincareBall(), 30), (Lorentz(), 30)], ids=str
)
def test_points_see_each_other_wherever_they_are(manifold, radius):
    """On a line, where the Busemann function is the position seen: further than points may lie."""
    conv = HorocyclicConv(1, 1, 1, manifold=manifold, bias=False).double()
    with torch.no_grad():
        conv.waves.frequency.fill_(0.1)
        conv.waves.direction.fill_(1.0)
        conv.lin.weight.copy_(torch.tensor([[0.3, 0.2]]))
    position = torch.tensor([[radius], [-radius]], dtype=torch.float64).requires_grad_()
    x = manifold.exp0(position * manifold.rel_unit / 2)
    out = manifold.log0(conv(x, torch.tensor([[1], [0]])))[0, 0]
    (grad,) = torch.autograd.grad(out, position)
    seen = 0.1 * torch.tensor(-2.0 * radius)
    loss = 1e-15 * 2.718**radius  # rounding of the points of the ball themselves
    assert_near(out.detach(), (0.3 * seen.cos() + 0.2 * seen.sin()).double(), 1e-6 + loss)
    slope = 0.1 * (0.2 * seen.cos() - 0.3 * seen.sin()).double()
    assert_near(grad[:, 0], torch.stack([-slope, slope]), 1e-6 + loss)
