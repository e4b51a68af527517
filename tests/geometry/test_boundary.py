"""From the origin to far beyond the boundary: everything stays finite and on the manifold."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.geometry.samples import (
    ARGUMENTS,
    DTYPES,
    EVERY_FUNCTION,
    GEOMETRY,
    POINTS,
    as_tuple,
    assert_dtypes,
    directions,
    label,
    learnable,
    manifold_of,
    pick,
    space_part,
    tangent,
)
from torch_geometric_hyperbolic.geometry import lorentz, poincare

RADII = (0.0, 1e-30, 1e-8, 1e-3, 1.0, 5.0, 8.7, 12.0, 17.0, 20.0, 40.0)
#: Lengths of raw vectors, in units of the ball's radius.
RAW = (1.0, 1.5, 1e4, 1e18)

sweep = pytest.mark.parametrize(
    "c,dtype", list(itertools.product([1e-6, 1.0, 1e3], DTYPES)), ids=label
)
every_function = pytest.mark.parametrize("model,function", EVERY_FUNCTION, ids=label)


def spaces(model: str, c: float, dtype: torch.dtype) -> Tensor:
    """Space parts at every radius and raw ones, ``[radius, direction, channels]``."""
    ways = directions(3, 3)
    ways[0] = torch.tensor([1.0, 0.0, 0.0])
    inside = [space_part(model, radius, ways, c) for radius in RADII]
    outside = [ways * (length / c**0.5) for length in RAW]
    return torch.stack(inside + outside).to(dtype)


def with_some_time(model: str, space: Tensor, c: float) -> Tensor:
    """Raw ambient vectors: their time fits nothing."""
    if model == "poincare":
        return space
    return torch.cat([torch.full_like(space[..., :1], 0.3 / c**0.5), space], dim=-1)


def all_arguments(model: str, c: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every radius against every radius: coincident, antipodal and in other directions."""
    space = spaces(model, c, dtype)
    i, j = torch.cartesian_prod(torch.arange(len(space)), torch.arange(len(space))).T
    x = torch.cat([space[i]] * 3).flatten(0, 1)
    y = torch.cat([space[j], -space[j], space[j].roll(1, dims=1)]).flatten(0, 1)
    lengths = torch.tensor([*RADII, 1e4, 1e18], dtype=torch.float64)
    lengths = lengths.repeat(len(x) // len(lengths) + 1)[: len(x), None]
    vectors = {
        "v": directions(len(x), 3) * lengths / c**0.5,
        # ambient unit vectors: at radius 40 the hyperboloid's metric multiplies them by 1e35
        "t": directions(len(x), 3),
        "u": directions(len(x), 4 if model == "lorentz" else 3),
        "w": directions(len(x), 4 if model == "lorentz" else 3),
    }
    return {
        "x": with_some_time(model, x, c),
        "y": with_some_time(model, y, c),
        **{name: vector.to(dtype) for name, vector in vectors.items()},
    }


def run(function: Callable, arguments: dict[str, Tensor], c: float) -> tuple[list, list]:
    """Outputs, and gradients of their sum with respect to all arguments and the curvature."""
    inputs = [a.clone().requires_grad_() for a in pick(arguments, function)]
    curvature = learnable(c)
    outs = as_tuple(function(*inputs, c=curvature))
    gradients = torch.autograd.grad(
        [out.sum() for out in outs], [*inputs, curvature], allow_unused=True
    )
    return [out.detach() for out in outs], [g for g in gradients if g is not None]


@every_function
@sweep
def test_outputs_and_gradients_are_finite(model, function, c, dtype):
    outs, gradients = run(function, all_arguments(model, c, dtype), c)
    assert_dtypes(function, outs, dtype)
    for out in outs:
        assert out.isfinite().all()
    assert gradients
    for gradient in gradients:
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "model,function", [(m, f) for m, f in EVERY_FUNCTION if f in POINTS], ids=label
)
@sweep
def test_points_are_on_the_manifold(model, function, c, dtype):
    point = function(*pick(all_arguments(model, c, dtype), function), c=c)
    ok, reason = POINTS[function](c).check_point(point, explain=True)
    assert ok, reason


@every_function
@sweep
def test_outside_points_give_what_their_projection_gives(model, function, c, dtype):
    arguments = all_arguments(model, c, dtype)
    projected = dict(arguments)
    for name in "xy":
        projected[name] = GEOMETRY[model].projx(arguments[name], c=c)
    outs = as_tuple(function(*pick(arguments, function), c=c))
    expected = as_tuple(function(*pick(projected, function), c=c))
    for out, other in zip(outs, expected, strict=True):
        if model == "poincare":
            assert torch.equal(out, other)
        else:  # a clipped space part is rounded by the projection only
            tolerance = 1e-5 if dtype == torch.float32 else 1e-12
            assert ((out - other).norm(dim=-1) <= tolerance * other.norm(dim=-1)).all()


@pytest.mark.parametrize("model", GEOMETRY)
@sweep
def test_projecting_twice_is_projecting_once_bit_for_bit(model, c, dtype):
    once = GEOMETRY[model].projx(all_arguments(model, c, dtype)["x"], c=c)
    assert torch.equal(GEOMETRY[model].projx(once, c=c), once)


@sweep
def test_points_inside_the_ball_are_left_as_they_are(c, dtype):
    farthest = 17 if dtype == torch.float32 else 35
    radii = [r for r in (*RADII, 34.0) if r < farthest]
    x = torch.stack([space_part("poincare", r, directions(20, 3), c) for r in radii]).to(dtype)
    assert torch.equal(poincare.projx(x, c=c), x)


@sweep
@pytest.mark.parametrize("n", [1, 3, 4, 64])
def test_points_beyond_the_ball_end_up_at_its_end(n, c, dtype):
    """Between the radii of the numerics page: at twice the smallest gap, which a few roundings of
    coordinates move, each of them the gap by at most 2 eps.
    """
    least, most = (16.2, 17.4) if dtype == torch.float32 else (34.4, 35.4)
    x = poincare.projx((5 / c**0.5 * directions(500, n)).to(dtype), c=c).double()
    radius = c**0.5 * poincare.dist(torch.zeros_like(x), x, c=c)
    assert (radius > least).all() and (radius < most).all()


@sweep
def test_the_space_part_is_the_point_of_the_hyperboloid(c, dtype):
    space = torch.stack([space_part("lorentz", r, directions(20, 3), c) for r in RADII]).to(dtype)
    out = lorentz.projx(with_some_time("lorentz", space, c), c=c)
    assert torch.equal(out[..., 1:], space)


@sweep
@pytest.mark.parametrize("model", GEOMETRY)
def test_exponentials_reach_the_radius_until_the_dtype_ends(model, c, dtype):
    units = 2 if model == "poincare" else 1
    ends = {("poincare", torch.float32): 16.6, ("poincare", torch.float64): 34.6}
    geometry = GEOMETRY[model]
    for radius in (1e-3, 1.0, 8.7, 12.0, 16.0, 20.0, 40.0, 60.0, 1e6):
        v = (directions(10, 3) * radius / units / c**0.5).to(dtype)
        reached = geometry.log0(geometry.exp0(v, c=c), c=c).norm(dim=-1) * units * c**0.5
        end = ends.get((model, dtype), 44.0)
        if radius < end - 0.5:
            # coordinates of the ball resolve the radius to eps e^r / 4
            blur = torch.finfo(dtype).eps * (10 + math.exp(radius) / 2)
            limit = blur if model == "poincare" else 1e-5
            assert ((reached - radius).abs() < max(limit, 1e-5 * radius)).all()
        else:  # rounding the last coordinates of the ball may halve or double the gap
            assert ((reached - end).abs() < (0.7 if model == "poincare" else 1e-5)).all()


@pytest.mark.parametrize("model", GEOMETRY)
def test_vectors_whose_squares_overflow_still_end_up_along_their_ray(model):
    ray = torch.tensor([[3e200, 4e200, 0.0]], dtype=torch.float64)
    geometry = GEOMETRY[model]
    far = with_some_time(model, ray, 1.0).requires_grad_()
    points = geometry.projx(far, c=1.0), geometry.exp0(ray, c=1.0)
    for point in points:
        assert manifold_of(model, 1.0).check_point(point.detach())
        space = point[0, -3:].detach()
        direction = space / space.norm().clamp(min=1e-300)
        assert direction.tolist() == pytest.approx([0.6, 0.8, 0.0])
    points[0].sum().backward()
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("model", GEOMETRY)
@sweep
def test_exponentials_of_vectors_near_overflow_go_as_far_as_points_can(model, c, dtype):
    geometry, ways = GEOMETRY[model], directions(20, 3)
    x = space_part(model, 5.0, directions(20, 3).flip(0), c).to(dtype)
    x = geometry.projx(with_some_time(model, x, c), c=c).requires_grad_()
    u = tangent(model, x.detach(), (ways * 1e3 / c**0.5).to(dtype))
    expected = geometry.expmap(x.detach(), u, c=c)
    u = (u * (0.9 * torch.finfo(dtype).max / u.abs().max())).requires_grad_()
    out = geometry.expmap(x, u, c=c)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    assert ((out - expected).norm(dim=-1) <= tolerance * expected.norm(dim=-1)).all()
    for gradient in torch.autograd.grad(out.sum(), [x, u]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("model", GEOMETRY)
@pytest.mark.parametrize("dtype", DTYPES, ids=label)
def test_empty_tensors_pass_through(model, dtype):
    channels = 4 if model == "lorentz" else 3
    x = torch.zeros(0, channels, dtype=dtype)
    arguments = {"x": x, "y": x, "u": x, "w": x, "v": x[:, :3], "t": x[:, :3]}
    for function in ARGUMENTS[model]:
        for out in as_tuple(function(*pick(arguments, function), c=1.0)):
            assert out.size(0) == 0
    assert tangent(model, x, x[:, :3]).shape == x.shape
