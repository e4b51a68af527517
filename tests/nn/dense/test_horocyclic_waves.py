"""Horocyclic waves are the eigenfunctions they claim to be."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from tests.nn.conv.helpers import SPACES, assert_near, check_gradients, points
from torch_geometric_hyperbolic.geometry import convert
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn.dense import HorocyclicWaves
from torch_geometric_hyperbolic.testing import random_isometry

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def make_waves(manifold: Manifold, channels: int = 3, num_waves: int = 5) -> HorocyclicWaves:
    return HorocyclicWaves(channels, num_waves, manifold=manifold).double()


def laplacian_in_the_ball(function, x: Tensor, c: float) -> Tensor:
    """Laplace-Beltrami of the outputs of a function at one point, from the conformal metric.

    The metric is (2 / g)^2 times the Euclidean one, and a conformal factor of n dimensions gives
    (g / 2)^2 (Laplacian + (n - 2) <grad log(2 / g), grad>).
    """
    gradient = torch.autograd.functional.jacobian(function, x)  # [K, n]
    hessian = torch.autograd.functional.jacobian(
        lambda y: torch.autograd.functional.jacobian(function, y, create_graph=True), x
    )
    gap = 1 - c * (x @ x)
    flat = hessian.diagonal(dim1=1, dim2=2).sum(-1)
    return (gap / 2) ** 2 * (flat + (len(x) - 2) * gradient @ (2 * c * x / gap))


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("c", [1.0, 0.4])
def test_waves_are_eigenfunctions_of_the_laplacian(channels, c):
    ball = PoincareBall(c)
    waves = make_waves(ball, channels)
    rho = (channels - 1) / 2
    eigenvalue = -(waves.frequency.detach().repeat(2) ** 2 + c * rho**2)
    for x in points(ball, 4, channels, radius=2.0):
        expected = eigenvalue * waves(x).detach()
        assert_near(
            laplacian_in_the_ball(waves, x, c), expected, 1e-9 * expected.abs().max().item()
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_on_flat_space_they_are_plane_waves(channels):
    waves = make_waves(Euclidean(), channels)
    x = torch.randn(6, channels, dtype=torch.float64)
    omega = waves.direction / waves.direction.norm(dim=-1, keepdim=True)
    phase = (x @ omega.T) * waves.frequency
    assert_near(waves(x), torch.cat([phase.cos(), phase.sin()], dim=-1))


def test_on_the_line_curvature_changes_nothing():
    line, flat = make_waves(Lorentz(0.7), 1), make_waves(Euclidean(), 1)
    flat.load_state_dict({k: v for k, v in line.state_dict().items() if "manifold" not in k})
    v = torch.randn(6, 1, dtype=torch.float64)
    assert_near(line(Lorentz(0.7).exp0(v)), flat(v))


@pytest.mark.parametrize("c", [1.0, 0.4])
def test_the_hyperboloid_gives_the_same_numbers(c):
    ball, hyperboloid = make_waves(PoincareBall(c)), make_waves(Lorentz(c))
    hyperboloid.load_state_dict(ball.state_dict())
    x = points(PoincareBall(c), 6, 3, radius=3.0)
    assert_near(hyperboloid(convert.poincare_to_lorentz(x, c=c)), ball(x))


def test_the_flat_limit_of_the_ball_has_twice_the_length():
    flat, ball = make_waves(Euclidean()), make_waves(PoincareBall(1e-14))
    with torch.no_grad():
        ball.direction.copy_(flat.direction)
        ball.frequency.copy_(flat.frequency / 2)
    x = torch.randn(6, 3, dtype=torch.float64)
    assert_near(ball(x), flat(x), 1e-5)


@each_space
def test_what_isometries_do(manifold):
    waves, x = make_waves(manifold), points(manifold, 6, 3)
    turned = copy.deepcopy(waves)
    for length in (0.0, 2.0):
        phi = random_isometry(manifold, 3, length=length)
        far = manifold.exp0(18 * waves.direction / waves.direction.norm(dim=-1, keepdim=True) / 2)
        with torch.no_grad():
            turned.direction.copy_(
                manifold.log0(phi(far)) if manifold.c else phi(far) - phi(0 * far)
            )
        assert (waves(phi(x)) - waves(x)).abs().max() > 0.1  # not invariant
        before, after = (torch.complex(*out.chunk(2, dim=-1)) for out in (waves(x), turned(phi(x))))
        factor = after / before  # one per wave, whatever the point
        assert (factor - factor[:1]).abs().max() < 1e-5
        if length == 0.0:
            assert (factor - 1).abs().max() < 1e-5


@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [2, 64])
def test_everything_is_finite_from_the_origin_to_beyond_the_boundary(manifold, dtype, channels):
    waves = make_waves(manifold, channels).to(dtype)
    way = waves.direction.detach() / waves.direction.detach().norm(dim=-1, keepdim=True)
    for radius in (0.0, 1e-8, 1.0, 10.0, 20.0, 40.0):
        for sign in (1, -1):
            for beyond in (1, 2):
                x = (beyond * manifold.exp0(sign * radius * way)).requires_grad_()
                out = waves(x)
                assert out.dtype == dtype and out.isfinite().all()
                assert out.square().sum().isfinite()
                waves.zero_grad()
                out.sum().backward()
                assert all(p.grad.isfinite().all() for p in (x, *waves.parameters()))


def test_a_direction_that_is_zero_gives_no_nan():
    waves = make_waves(PoincareBall())
    torch.nn.init.zeros_(waves.direction)
    waves(points(PoincareBall(), 4, 3)).sum().backward()
    assert waves.direction.grad.isfinite().all()


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_gradients_in_points_parameters_and_curvature(space):
    manifold = space(0.7, learnable=True)
    assert check_gradients(make_waves(manifold, 2, 2), points(manifold, 3, 2)) == 4


@each_space
def test_shapes_dtypes_copies_and_reset(manifold):
    waves = HorocyclicWaves(3, 5, manifold=manifold)
    x = points(manifold, 2, 4, 3, dtype=torch.float32)
    out = waves(x)
    assert out.shape == (2, 4, 10) and out.dtype == torch.float32
    assert torch.equal(pickle.loads(pickle.dumps(waves))(x), out)
    waves.reset_parameters()
    assert (waves(x) != out).all()
    assert str(waves) == f"HorocyclicWaves(3, num_waves=5, manifold={manifold})"


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"'manifold' must be"):
        HorocyclicWaves(3, 5, manifold="ball")
    with pytest.raises(ValueError, match=r"'in_channels' must be at least 1 \(got 0\)"):
        HorocyclicWaves(0, 5, manifold=PoincareBall())
    with pytest.raises(ValueError, match=r"'num_waves' must be at least 1 \(got 0\)"):
        HorocyclicWaves(3, 0, manifold=PoincareBall())
    waves = HorocyclicWaves(3, 5, manifold=Lorentz())
    with pytest.raises(ValueError, match=r"'x' must have last dimension 4 \(got 3\)"):
        waves(torch.zeros(2, 3))
    with pytest.raises(TypeError, match=r"'x' must have the layer's dtype"):
        waves(torch.zeros(2, 4, dtype=torch.float64))
