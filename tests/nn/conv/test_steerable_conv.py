"""SteerableConv against its definition, and its symmetry both ways."""

import copy
import math

import pytest
import torch
from torch import Tensor

from tests.nn.conv.helpers import (
    SPACES,
    assert_near,
    check_compiled,
    check_gradients,
    edges,
    pickled,
    points,
)
from tests.nn.conv.test_harmonics import each_dim, transport_by_verbs, turned
from torch_geometric_hyperbolic.geometry import convert
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn.conv import _harmonics as har
from torch_geometric_hyperbolic.nn.conv import steerable_conv
from torch_geometric_hyperbolic.nn.conv.steerable_conv import SteerableConv, order_norms
from torch_geometric_hyperbolic.testing import random_isometry

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def make_conv(
    manifold: Manifold, dim: int, max_order: int = 2, in_order: int = 0, **kwargs: object
) -> SteerableConv:
    kwargs = {"num_radial": 3, **kwargs}
    return SteerableConv(2, 2, max_order, in_order, dim=dim, manifold=manifold, **kwargs).double()


def features(n: int, dim: int, order: int = 0) -> Tensor:
    return torch.randn(n, 2, sum(har.widths(order, dim)), dtype=torch.float64)


def as_number(part: Tensor) -> Tensor:
    """Components of an order of the plane as complex numbers."""
    return torch.complex(part[..., 0], part[..., 1] if part.size(-1) == 2 else 0 * part[..., 0])


def product(f: Tensor, y: Tensor, orders: tuple[int, int, int], dim: int) -> Tensor:
    """Clebsch-Gordan product by the textbook, with the layer's normalisation."""
    first, by, last = orders
    if dim == 3:
        from e3nn.o3 import wigner_3j

        table = wigner_3j(first, by, last, dtype=torch.float64)
        scale = ((2 * by + 1) * (2 * last + 1)) ** 0.5
        return scale * torch.einsum("ci,j,ijk->ck", f, y, table)
    a, b = as_number(f), as_number(y)
    if last != first + by:
        a, b = (a, b.conj()) if first >= by else (a.conj(), b)
    out = torch.view_as_real(a * b)[..., : 2 if last else 1]
    both_numbers = first > 0 and by > 0  # otherwise nothing is summed
    return out * (2 if by else 1) ** 0.5 / (2 if both_numbers else 1) ** 0.5


def by_definition(conv: SteerableConv, f: Tensor, x: Tensor, edge_index: Tensor) -> Tensor:
    manifold, dim, top = conv.manifold, conv.dim, conv.num_radial - 1
    outs = []
    for i in range(len(x)):
        orders = [x.new_zeros(conv.out_channels, w) for w in har.widths(conv.max_order, dim)]
        neighbours = [j for j, t in edge_index.T.tolist() if t == i]
        for j in neighbours:
            matrix = transport_by_verbs(manifold, x[i], x[j])
            carried = turned(f[j : j + 1], matrix, conv.in_order)[0]
            parts = carried.split(har.widths(conv.in_order, dim), dim=-1)
            v = manifold.rel(x[i], x[j]) / (2 if isinstance(manifold, Lorentz) else 1)
            length = v.norm() / (conv.radius**2 + v.norm() ** 2).sqrt()
            highest = conv.in_order + conv.max_order
            ys = har.harmonics(v / v.norm(), highest, har.steps(highest, dim))
            ys = ys.split(har.widths(highest, dim))
            weights = iter(conv.weight)
            for last, pairs in enumerate(har.paths(conv.in_order, conv.max_order, dim)):
                for first, by in pairs:
                    weight = next(weights)
                    radial = sum(
                        math.comb(top, k) * length ** (2 * k) * (1 - length**2) ** (top - k) * w
                        for k, w in enumerate(weight)
                    )
                    made = product(parts[first], length**by * ys[by], (first, by, last), dim)
                    orders[last] = orders[last] + radial.T @ made / len(neighbours)
        outs.append(torch.cat(orders, dim=-1))
    return torch.stack(outs)


@each_dim
@each_space
@pytest.mark.parametrize("orders", [(2, 0), (1, 2), (0, 1)], ids=str)
@torch.no_grad()
def test_layer_is_its_definition(manifold, dim, orders):
    conv = make_conv(manifold, dim, *orders, radius=0.7)
    x, f, edge_index = points(manifold, 5, dim), features(5, dim, orders[1]), edges(5, 5, 12)
    edge_index = edge_index[:, (edge_index[0] != edge_index[1]) & (edge_index[1] != 3)]
    out = conv(f, x, edge_index)
    assert_near(out, by_definition(conv, f, x, edge_index), 1e-10)
    assert not out[3].any()  # no neighbours


def rotations(manifold: Manifold, phi, x: Tensor, dim: int) -> Tensor:
    """How ``phi`` turns the ``rel`` of every node, ``[N, n, n]``, seen on unit steps."""
    x = x.unsqueeze(1)
    steps = torch.eye(dim, dtype=x.dtype).expand(len(x), dim, dim)
    return manifold.rel(phi(x), phi(manifold.move(x, steps))).mT


@each_dim
@each_space
@pytest.mark.parametrize("length", [0.0, 1.0, 4.0])
def test_isometries_turn_the_output_of_stacked_layers(manifold, dim, length):
    first, second = make_conv(manifold, dim), make_conv(manifold, dim, in_order=2)
    x, f, edge_index = points(manifold, 8, dim), features(8, dim), edges(8, 8, 30)

    def stacked(x: Tensor) -> Tensor:
        return second(first(f, x, edge_index), x, edge_index)

    out = stacked(x)
    signs = set()
    for _ in range(6):
        phi = random_isometry(manifold, dim, length=length)
        matrices = rotations(manifold, phi, x, dim)
        signs.add(round(torch.linalg.det(matrices[0]).item()))
        moved = stacked(phi(x))
        assert_near(moved, turned(out, matrices, 2), 1e-9)
        assert_near(moved[..., 0], out[..., 0], 1e-9)
        assert_near(order_norms(moved, dim=dim), order_norms(out, dim=dim), 1e-9)
        if manifold.c or length == 0.0:
            assert (moved - out).abs().max() > 1e-2  # the components are not invariant
    assert signs == {-1, 1}


@each_dim
@each_space
def test_input_that_does_not_turn_breaks_the_symmetry(manifold, dim):
    conv = make_conv(manifold, dim, in_order=1)
    x, f, edge_index = points(manifold, 8, dim), features(8, dim, 1), edges(8, 8, 30)
    out = conv(f, x, edge_index)
    phi = random_isometry(manifold, dim, length=1.0)
    matrices = rotations(manifold, phi, x, dim)
    assert_near(conv(turned(f, matrices, 1), phi(x), edge_index), turned(out, matrices, 2), 1e-10)
    still = conv(f, phi(x), edge_index)
    assert (order_norms(still, dim=dim) - order_norms(out, dim=dim)).abs().max() > 1e-2


@each_dim
def test_translations_of_flat_space_change_nothing(dim):
    conv = make_conv(Euclidean(), dim, in_order=2)
    x, f, edge_index = points(Euclidean(), 8, dim), features(8, dim, 2), edges(8, 8, 30)
    assert_near(conv(f, x + 3, edge_index), conv(f, x, edge_index))


@each_dim
def test_both_models_give_the_same_numbers_and_their_flat_limit(dim):
    x, f, edge_index = points(PoincareBall(0.7), 8, dim), features(8, dim, 2), edges(8, 8, 30)
    ball = make_conv(PoincareBall(0.7), dim, in_order=2)
    hyperboloid, nearly, flat = (
        make_conv(space, dim, in_order=2)
        for space in (Lorentz(0.7), PoincareBall(1e-10), Euclidean())
    )
    with torch.no_grad():
        for other in (hyperboloid, nearly, flat):
            other.weight.copy_(ball.weight)
    lifted = convert.poincare_to_lorentz(x, c=0.7)
    assert_near(hyperboloid(f, lifted, edge_index), ball(f, x, edge_index))
    assert_near(nearly(f, x, edge_index), flat(f, x, edge_index), 1e-7)
    assert (ball(f, x, edge_index) - flat(f, x, edge_index)).abs().max() > 1e-2


@each_dim
@each_space
def test_coincident_points_have_no_direction(manifold, dim):
    conv = make_conv(manifold, dim)
    x = points(manifold, 1, dim).expand(4, -1).clone().requires_grad_()
    out = conv(features(4, dim), x, edges(4, 4, 10))
    assert not out[..., 1:].any() and out[..., 0].any()
    out.sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()


@each_dim
@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("coincident", [False, True])
def test_gradients_in_features_points_weights_and_curvature(space, dim, coincident):
    manifold = space(0.7, learnable=True)
    conv = SteerableConv(1, 1, 1, 1, dim=dim, manifold=manifold, num_radial=2).double()
    x, edge_index = points(manifold, 3, dim), torch.tensor([[0, 1, 2, 0], [1, 0, 1, 2]])
    f = torch.randn(3, 1, 1 + dim, dtype=torch.float64, requires_grad=True)
    if coincident:
        x = x[:1].expand(3, -1).clone()
    assert check_gradients(of_points(conv, f, edge_index), x) == 3
    assert torch.autograd.gradcheck(lambda f: conv(f, x.detach(), edge_index), f)


def of_points(conv: SteerableConv, f: Tensor, edge_index: Tensor) -> torch.nn.Module:
    """The layer as a function of its points alone."""

    class OfPoints(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(f.detach(), x, edge_index)

    return OfPoints()


@each_dim
@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_finite_from_the_origin_to_beyond_the_boundary(manifold, dim, dtype):
    conv = make_conv(manifold, dim, in_order=1).to(dtype)
    way = torch.randn(8, dim, dtype=dtype)
    f, edge_index = features(8, dim, 1).to(dtype), edges(8, 8, 30)
    for radius in (0.0, 1e-8, 1.0, 5.0, 10.0, 20.0, 40.0):
        for beyond in (1, 2):
            x = (beyond * manifold.exp0(radius * way / way.norm(dim=-1, keepdim=True))).detach()
            x[1] = x[0]
            x.requires_grad_()
            out = conv(f, x, edge_index)
            assert out.dtype == dtype and out.isfinite().all()
            conv.zero_grad()
            out.square().sum().backward()
            assert x.grad.isfinite().all() and conv.weight.grad.isfinite().all()


@each_dim
@each_space
def test_float32_is_close_and_a_layer_made_double_is_exact(manifold, dim):
    conv = SteerableConv(2, 2, in_order=1, dim=dim, manifold=manifold)
    x, f, edge_index = points(manifold, 8, dim), features(8, dim, 1), edges(8, 8, 30)
    out = conv(f.float(), x.float(), edge_index)
    double = copy.deepcopy(conv).float().double()
    assert double.coupling(f).dtype == torch.float64
    assert torch.equal(double.coupling(f), har.joint_coupling(1, 2, dim))
    torch.testing.assert_close(out.double(), double(f, x, edge_index), atol=1e-5, rtol=1e-5)


@each_dim
@each_space
def test_bipartite_reversed_and_renumbered_graphs(manifold, dim):
    conv, back = (
        make_conv(manifold, dim, in_order=1, flow=flow)
        for flow in ("source_to_target", "target_to_source")
    )
    back.load_state_dict(conv.state_dict())
    x, f, edge_index = points(manifold, 9, dim), features(9, dim, 1), edges(6, 3, 15)
    joined = edge_index + torch.tensor([[0], [6]])
    out = conv(f[:6], (x[:6], x[6:]), edge_index)
    assert_near(out, conv(f, x, joined)[6:])
    assert_near(back(f, x, joined.flip(0)), conv(f, x, joined))
    order = torch.randperm(9)
    assert_near(conv(f[order], x[order], order.argsort()[joined]), conv(f, x, joined)[order])
    assert not conv(f, x, joined[:, :0]).any()


@each_dim
def test_order_norms_are_lengths_of_blocks(dim):
    f = features(4, dim, 3)
    parts = f.split(har.widths(3, dim), dim=-1)
    assert_near(order_norms(f, dim=dim), torch.stack([p.norm(dim=-1) for p in parts], dim=-1))
    zero = torch.zeros_like(f, requires_grad=True)
    order_norms(zero, dim=dim).sum().backward()
    assert not zero.grad.any()
    with pytest.raises(ValueError, match=r"'f' must hold all components .*\(got 8\)"):
        order_norms(torch.zeros(8), dim=dim)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same_and_reset_changes_the_weight(duplicate):
    conv = make_conv(Lorentz(0.7, learnable=True), 2, in_order=1)
    case = features(6, 2, 1), points(Lorentz(0.7), 6, 2), edges(6, 6, 15)
    assert_near(duplicate(conv)(*case), conv(*case), 0.0)
    before = conv.weight.clone()
    conv.reset_parameters()
    assert (conv.weight != before).all()


@pytest.mark.slow
@each_dim
def test_compiled_layer_equals_eager_for_any_number_of_nodes(dim):
    manifold = PoincareBall(learnable=True)
    conv = make_conv(manifold, dim, in_order=1)
    cases = [
        (features(n, dim, 1), points(PoincareBall(), n, dim), edges(n, n, 3 * n)) for n in (8, 13)
    ]
    check_compiled(conv, cases, backend="aot_eager", atol=1e-10)


def test_space_without_e3nn_names_the_extra(monkeypatch):
    monkeypatch.setattr(steerable_conv, "WITH_E3NN", False)
    with pytest.raises(ImportError, match=r"'dim' = 3 needs e3nn.*\[harmonics\]"):
        SteerableConv(2, 2, dim=3, manifold=PoincareBall())
    SteerableConv(2, 2, dim=2, manifold=PoincareBall())


def test_repr_and_wrong_arguments():
    ball = PoincareBall()
    conv = SteerableConv(2, 3, 1, dim=2, manifold=ball)
    expected = "SteerableConv(2, 3, max_order=1, in_order=0, dim=2, manifold=PoincareBall(c=1.0))"
    assert str(conv) == expected
    good = {"in_channels": 2, "out_channels": 3, "dim": 2, "manifold": ball}
    bad = [
        ({"manifold": "ball"}, TypeError, r"'manifold' must be"),
        ({"in_channels": 0}, ValueError, r"'in_channels' must be at least 1 \(got 0\)"),
        ({"out_channels": 0}, ValueError, r"'out_channels' must be at least 1 \(got 0\)"),
        ({"num_radial": 0}, ValueError, r"'num_radial' must be at least 1 \(got 0\)"),
        ({"max_order": -1}, ValueError, r"'max_order' must be at least 0 \(got -1\)"),
        ({"in_order": 1.5}, TypeError, r"'in_order' must be an int \(got 1.5\)"),
        ({"radius": 0.0}, ValueError, r"'radius' must be positive and finite \(got 0.0\)"),
        ({"radius": "1"}, TypeError, r"'radius' must be a float \(got '1'\)"),
        ({"dim": 4}, ValueError, r"'dim' must be 2 or 3 \(got 4\)"),
    ]
    for change, error, message in bad:
        with pytest.raises(error, match=message):
            SteerableConv(**{**good, **change})
    f, x, edge_index = torch.zeros(4, 2, 1), torch.zeros(4, 2), edges(4, 4, 6)
    for arguments, error, message in [
        ((f[:3], x), ValueError, r"'f' must have shape \[4, 2, 1\] \(got \(3, 2, 1\)\)"),
        ((f[:, :1], x), ValueError, r"'f' must have shape \[4, 2, 1\] \(got \(4, 1, 1\)\)"),
        ((f.expand(-1, -1, 3), x), ValueError, r"'f' must have last dimension 1 \(got 3\)"),
        ((f.double(), x), TypeError, r"'f' must have the layer's dtype"),
        ((f, x.double()), TypeError, r"'x' must have the layer's dtype"),
        ((f, torch.zeros(4, 3)), ValueError, r"'x' must have last dimension 2 \(got 3\)"),
    ]:
        with pytest.raises(error, match=message):
            conv(*arguments, edge_index)


def test_pairs_of_nodes_take_either_flow():
    ball = PoincareBall()
    x, f = (ball.random(9, 2), ball.random(6, 2)), torch.randn(9, 1, 1)
    edge_index = torch.stack([torch.randint(9, (20,)), torch.randint(6, (20,))])
    forward = SteerableConv(1, 2, dim=2, manifold=ball)
    backward = SteerableConv(1, 2, dim=2, manifold=ball, flow="target_to_source")
    backward.load_state_dict(forward.state_dict())
    expected = forward(f, x, edge_index)
    assert expected.size(0) == 6
    torch.testing.assert_close(backward(f, x, edge_index.flip(0)), expected)


@each_dim
def test_it_may_be_made_without_memory(dim):
    conv = make_conv(PoincareBall(), dim, in_order=1)
    with torch.device("meta"):
        other, given = (make_conv(PoincareBall(), dim, in_order=1) for _ in range(2))
    assert all(tensor.is_meta for tensor in (*other.parameters(), *other.buffers()))
    given.to("meta").load_state_dict(conv.state_dict(), assign=True)
    for buffer in other.to_empty(device="cpu").buffers():
        buffer.fill_(7)
    reset = copy.deepcopy(other)
    other.load_state_dict(conv.state_dict())
    reset.reset_parameters()
    for found in (given, other, reset):
        for buffer, expected in zip(found.buffers(), conv.buffers(), strict=True):
            assert torch.equal(buffer, expected)


def test_weights_start_at_the_scale_of_their_paths():
    conv = SteerableConv(32, 32, max_order=2, in_order=2, dim=2, manifold=PoincareBall())
    paths_of_an_order = conv.weight.size(0) / 3
    assert paths_of_an_order > 2
    expected = (32 * paths_of_an_order) ** -0.5
    assert conv.weight.std().item() == pytest.approx(expected, rel=0.03)
