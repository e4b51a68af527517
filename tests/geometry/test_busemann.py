"""The Busemann function against its definitions: a limit of distances, 60 digits, isometries."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.geometry.reference import MODELS, combine, dot, exact, gradient, mp, norm, scale
from tests.geometry.samples import (
    DTYPES,
    GEOMETRY,
    assert_close,
    directions,
    label,
    learnable,
    manifold_of,
    moderate_arguments,
    space_part,
    with_time,
)
from torch_geometric_hyperbolic.geometry import convert
from torch_geometric_hyperbolic.manifolds import Euclidean
from torch_geometric_hyperbolic.testing import random_isometry

RADII = (0.0, 1e-8, 1e-3, 1.0, 3.0, 6.0, 8.0, 10.0, 12.0)
#: Double precision holds an ideal point to 1e-16, and radius 12 sees it e^12 times as large.
VALUE = {torch.float32: 2e-6, torch.float64: 1e-10}
GRADIENT = {torch.float32: 2e-6, torch.float64: 1e-9}

both_models = pytest.mark.parametrize("model", GEOMETRY)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=label)


def by_definition(model: str, x: list, direction: list, c) -> mp.mpf:
    """The textbook formula, in 60 digits; ``x`` is a space part."""
    omega = scale(1 / norm(direction), direction)
    if model == "poincare":
        away = combine(1, omega, -mp.sqrt(c), x)
        return mp.log((1 - c * dot(x, x)) / dot(away, away)) / mp.sqrt(c)
    time = MODELS["lorentz"].time(x, c)
    return -mp.log(mp.sqrt(c) * (time - dot(x, omega))) / mp.sqrt(c)


def cases(model: str, c: float, dtype: torch.dtype) -> list[tuple[float, Tensor, Tensor]]:
    """Radii, space parts at them, and ideal points: ahead, nearly ahead, aside, behind."""
    found = []
    for radius, blur in itertools.product(RADII, (0.0, 1e-4, 1.0, None)):
        omega = directions(3)
        way = -omega if blur is None else omega + blur * directions(3)
        x = space_part(model, radius, way / way.norm(), c)
        found.append((radius, x.to(dtype), (2 * omega).to(dtype)))
    return found


@both_models
@both_dtypes
@pytest.mark.parametrize("c", [1.0, 0.13, 2.7])
def test_values_and_gradients_to_60_digits(model, dtype, c):
    for radius, x, omega in cases(model, c, dtype):
        leaves = [x.clone().requires_grad_(), omega.clone().requires_grad_(), learnable(c)]
        point = leaves[0] if model == "poincare" else torch.cat([leaves[0][:1] + 7, leaves[0]])
        out = GEOMETRY[model].busemann(point, leaves[1], c=leaves[2])
        assert out.dtype == dtype and out.shape == ()
        args = [exact(x), exact(omega), mp.mpf(c)]
        # relative near the origin, absolute beyond a radius of 1: it is 0 on a whole horosphere
        error = abs(mp.mpf(out.item()) - by_definition(model, *args)) * mp.sqrt(c)
        assert error <= VALUE[dtype] * max(min(radius, 1), mp.mpf(10) ** -20)
        out.backward()
        for i, leaf in enumerate(leaves):

            def number(z, i=i, args=args):
                value = z if i < 2 else z[0]
                return by_definition(model, *args[:i], value, *args[i + 1 :])

            expected = gradient(number, args[i] if i < 2 else [args[i]])
            actual = [mp.mpf(entry) for entry in leaf.grad.reshape(-1).tolist()]
            # turning the ideal point, or bending the space, moves the number by up to e^radius
            size = max(norm(expected), 1 if i == 0 else math.exp(radius))
            assert norm(combine(1, actual, -1, expected)) <= GRADIENT[dtype] * size


@both_models
@pytest.mark.parametrize("c", [1.0, 0.3])
def test_it_is_the_limit_of_the_way_left_along_a_ray(model, c):
    """At t = 15 the rest, of order e^-2t, is below rounding."""
    manifold = manifold_of(model, c)
    x = moderate_arguments(model, c, torch.float64)["x"]
    omega = directions(5, 3)
    unit = manifold.dist0(manifold.exp0(omega)).unsqueeze(-1)
    length = 15 / c**0.5
    ray = manifold.exp0(omega * length / unit)
    assert_close(manifold.busemann(x, omega), length - manifold.dist(x, ray), 1e-8)


def ideal_image(phi, omega: Tensor, manifold) -> Tensor:
    """Where an isometry takes ideal points: the directions of far points."""
    unit = manifold.dist0(manifold.exp0(omega)).unsqueeze(-1)
    return manifold.log0(phi(manifold.exp0(omega * 18 / unit)))


@both_models
@pytest.mark.parametrize("length", [0.0, 1.0, 3.0])
def test_isometries_move_it_by_a_cocycle(model, length):
    manifold = manifold_of(model, 1.0)
    x, omega = manifold.random(6, 3, dtype=torch.float64), directions(6, 3)
    origin = manifold.origin(6, 3, dtype=torch.float64)
    for _ in range(3):
        phi = random_isometry(manifold, 3, length=length)
        image = ideal_image(phi, omega, manifold)
        both = manifold.busemann(x, omega) + manifold.busemann(phi(origin), image)
        assert_close(manifold.busemann(phi(x), image), both, 1e-6)
        assert (manifold.busemann(phi(x), omega) - manifold.busemann(x, omega)).abs().max() > 0.1


@pytest.mark.parametrize(
    "manifold", [manifold_of("poincare", 0.7), manifold_of("lorentz", 0.7), Euclidean()], ids=str
)
def test_the_gradient_has_length_one_and_the_origin_value_zero(manifold):
    x = manifold.random(8, 3, dtype=torch.float64).requires_grad_()
    omega = directions(8, 3)
    (grad,) = torch.autograd.grad(manifold.busemann(x, omega).sum(), x)
    u = manifold.egrad2rgrad(x, grad)
    assert_close(manifold.inner(x, u), torch.ones(8, dtype=torch.float64), 1e-12)
    origin = manifold.origin(8, 3, dtype=torch.float64)
    assert torch.equal(manifold.busemann(origin, omega), torch.zeros(8, dtype=torch.float64))


@both_models
def test_gradcheck(model):
    x = moderate_arguments(model, 0.7, torch.float64, num=3, channels=2)["x"].requires_grad_()
    omega = directions(3, 2).requires_grad_()
    busemann = GEOMETRY[model].busemann
    assert torch.autograd.gradcheck(
        lambda c, x, omega: busemann(x, omega, c=c), (learnable(0.7), x, omega)
    )


def test_both_models_give_the_same_number():
    x = moderate_arguments("poincare", 0.7, torch.float64)["x"]
    omega = directions(5, 3)
    lifted = convert.poincare_to_lorentz(x, c=0.7)
    ball, hyperboloid = (GEOMETRY[m].busemann for m in ("poincare", "lorentz"))
    assert_close(hyperboloid(lifted, omega, c=0.7), ball(x, omega, c=0.7), 1e-13)


def test_flat_space_is_half_the_limit_of_the_ball():
    x, omega = torch.randn(5, 3, dtype=torch.float64), directions(5, 3)
    flat = Euclidean().busemann(x, 3 * omega)
    assert_close(flat, (x * omega).sum(-1), 1e-14)
    assert_close(manifold_of("poincare", 1e-14).busemann(x, omega), 2 * flat, 1e-6)
    assert_close(
        manifold_of("lorentz", 1e-14).busemann(torch.cat([x[:, :1], x], dim=1), omega), flat, 1e-6
    )


@pytest.mark.parametrize(
    "manifold", [manifold_of("poincare", 0.7), manifold_of("lorentz", 0.7), Euclidean()], ids=str
)
def test_points_and_directions_broadcast(manifold):
    x, omega = manifold.random(4, 1, 3), torch.randn(5, 3)
    out = manifold.busemann(x, omega)
    assert out.shape == (4, 5)
    torch.testing.assert_close(out[2, 3], manifold.busemann(x[2, 0], omega[3]))


@pytest.mark.parametrize("model", [*GEOMETRY, "flat"])
@both_dtypes
@pytest.mark.parametrize("c", [1e-6, 1.0, 1e3])
def test_everything_is_finite_from_the_origin_to_beyond_the_boundary(model, dtype, c):
    manifold = Euclidean() if model == "flat" else manifold_of(model, c)
    way = directions(1, 3).expand(1, 3)
    radii = torch.tensor([0, 1e-30, 1e-8, 1, 12, 17, 40, 1e4], dtype=torch.float64)
    points = [manifold.exp0((way * radii[:, None] / c**0.5).to(dtype))]
    points.append(points[0] * 3)
    for omega in (way, -way, way.roll(1, dims=1), 1e-20 * way, 0 * way):
        for x in points:
            leaves = [x.clone().requires_grad_(), omega.to(dtype).requires_grad_()]
            out = manifold.busemann(*leaves)
            assert out.isfinite().all()
            for leaf, grad in zip(leaves, torch.autograd.grad(out.sum(), leaves), strict=True):
                assert grad.isfinite().all() and grad.shape == leaf.shape


@both_models
def test_far_out_along_the_ray_it_is_the_radius(model):
    """Where the coordinates of the image are those of the ideal point itself."""
    omega = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for radius in (12.0, 20.0, 30.0, *([43.0] if model == "lorentz" else [])):
        x = with_time(model, space_part(model, radius, omega, 1.0), 1.0)
        blur = 1e-12 if model == "lorentz" else 1e-15 * math.exp(radius)
        for sign in (1, -1):
            out = GEOMETRY[model].busemann(x, sign * omega, c=1.0)
            assert abs(out.item() - sign * radius) < max(blur, 1e-12)
