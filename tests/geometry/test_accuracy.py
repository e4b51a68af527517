"""Both models against 60 digits, out to the radius the package promises."""

import functools
import itertools

import pytest
import torch
from torch import Tensor

from tests.geometry.reference import (
    MODELS,
    Vector,
    dot,
    exact,
    gradient,
    mp,
    relative_error,
    scale,
)
from tests.geometry.samples import (
    DTYPES,
    GEOMETRY,
    directions,
    label,
    learnable,
    moderate_arguments,
    space_part,
    with_time,
)

RADII = (0, 1, 3, 6, 8, 10, 12)
VALUE = {torch.float32: 2e-6, torch.float64: 1e-10}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-8}

both_models = pytest.mark.parametrize("model", MODELS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=label)
curvatures = pytest.mark.parametrize("c", [1.0, 0.13, 2.7])


@functools.cache
def pairs(model: str, c: float, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pivots at every radius, with near, middling and far neighbours: sideways, outward, inward.

    Rounded to ``dtype``; from then on they are exact. For the hyperboloid, space parts.
    """
    reference, root = MODELS[model], mp.sqrt(c)
    pivots, neighbours = [], []
    for radius, distance, way in itertools.product(RADII, (0.1, 1, 4), ("random", "out", "in")):
        outward, anywhere = map(exact, directions(2, channels))
        towards = {"random": anywhere, "out": outward, "in": scale(-1, outward)}[way]
        unit = reference.length_of_unit / root
        x = reference.exp0(scale(radius * unit, outward), c)
        y = reference.move(x, scale(distance * unit, towards), c)
        pivots.append([float(entry) for entry in x])
        neighbours.append([float(entry) for entry in y])
    return torch.tensor(pivots, dtype=dtype), torch.tensor(neighbours, dtype=dtype)


def with_wrong_time(model: str, space: Tensor) -> Tensor:
    """Points with a time that does not fit: the space part is the point."""
    return space if model == "poincare" else torch.cat([space[..., :1] + 7, space], dim=-1)


@both_models
@both_dtypes
@curvatures
@pytest.mark.parametrize("channels", [2, 4, 32])
def test_rel_and_dist_have_the_promised_accuracy(model, dtype, c, channels):
    x, y = pairs(model, c, channels, dtype)
    points = with_wrong_time(model, x), with_wrong_time(model, y)
    rel, dist = (getattr(GEOMETRY[model], name)(*points, c=c) for name in ("rel", "dist"))
    reference = MODELS[model]
    for i in range(len(x)):
        pair = exact(x[i]), exact(y[i]), mp.mpf(c)
        assert relative_error(rel[i], reference.rel(*pair)) < VALUE[dtype]
        assert relative_error(dist[i : i + 1], [reference.dist(*pair)]) < VALUE[dtype]


@both_models
@both_dtypes
@curvatures
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("name", ["rel", "dist"])
def test_gradients_have_the_promised_accuracy(name, model, dtype, c, channels):
    x, y = pairs(model, c, channels, dtype)
    weight = directions(channels).to(dtype)
    function, reference = getattr(GEOMETRY[model], name), getattr(MODELS[model], name)

    def number(p: Vector, q: Vector, curvature):
        value = reference(p, q, curvature)
        return dot(exact(weight), value) if name == "rel" else value

    for i in range(0, len(x), 2):
        point, other, curvature = x[i].clone(), y[i].clone(), learnable(c)
        point.requires_grad_(), other.requires_grad_()
        out = function(with_wrong_time(model, point), with_wrong_time(model, other), c=curvature)
        (dot_product(out, weight) if name == "rel" else out).backward()
        p, q, k = exact(x[i]), exact(y[i]), mp.mpf(c)
        expected = gradient(lambda z, q=q, k=k: number(z, q, k), p)
        assert relative_error(point.grad, expected) < GRADIENT[dtype]
        expected = gradient(lambda z, p=p, k=k: number(p, z, k), q)
        assert relative_error(other.grad, expected) < GRADIENT[dtype]
        expected = gradient(lambda z, p=p, q=q: number(p, q, z[0]), [k])
        assert relative_error(curvature.grad[None], expected) < GRADIENT[dtype]


def dot_product(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum()


@both_models
@both_dtypes
@curvatures
@pytest.mark.parametrize("name", ["log0", "exp0"])
def test_log0_and_exp0_have_the_promised_accuracy(name, model, dtype, c):
    reference = getattr(MODELS[model], name)
    x, _ = pairs(model, c, 4, dtype)
    if name == "exp0":
        x = directions(50, 4) * torch.logspace(-30, 0.8, 50, dtype=torch.float64)[:, None] / c**0.5
        x = x.to(dtype)
        out = GEOMETRY[model].exp0(x, c=c)[:, -4:]
    else:
        out = GEOMETRY[model].log0(with_wrong_time(model, x), c=c)
    for i in range(len(x)):
        expected = reference(exact(x[i]), mp.mpf(c))
        if any(expected):
            assert relative_error(out[i], expected) < VALUE[dtype]


@both_models
@pytest.mark.parametrize("radius", [0.0, 1e-30, 1e-8, 1e-3, 1.0, 12.0])
def test_coincident_points_are_exactly_together(model, radius):
    for dtype in DTYPES:
        x = with_time(model, space_part(model, radius, directions(6, 4), 1.0), 1.0).to(dtype)
        assert torch.equal(GEOMETRY[model].dist(x, x, c=1.0), torch.zeros(6, dtype=dtype))
        assert torch.equal(GEOMETRY[model].rel(x, x, c=1.0), torch.zeros(6, 4, dtype=dtype))


@both_models
@both_dtypes
def test_distances_of_neighbours_a_few_roundings_apart_are_accurate(model, dtype):
    x = directions(4, 3).to(dtype) / 2
    y = x * (1 + 4 * torch.finfo(dtype).eps)
    dist = GEOMETRY[model].dist(with_wrong_time(model, x), with_wrong_time(model, y), c=1.0)
    for i in range(len(x)):
        expected = MODELS[model].dist(exact(x[i]), exact(y[i]), mp.mpf(1))
        assert relative_error(dist[i : i + 1], [expected]) < 2e-6


@both_models
@curvatures
def test_the_gradient_of_rel_at_coincident_points_is_the_identity_of_the_frame(model, c):
    arguments = moderate_arguments(model, c, torch.float64)
    x = arguments["x"]
    y = x.clone().requires_grad_()
    u = arguments["u"]
    rel, pulled = torch.autograd.functional.jvp(
        lambda p: GEOMETRY[model].rel(x, p, c=c), y, u, create_graph=False
    )
    assert not rel.any()
    expected = GEOMETRY[model].transp0back(x, u, c=c)
    torch.testing.assert_close(pulled, expected, rtol=1e-12, atol=1e-12)


def far_apart(model: str, c: float, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 points at a radius, others near and far from them, and vectors; all in 3 dimensions.

    For the hyperboloid with their times.
    """
    reference, root = MODELS[model], mp.sqrt(c)
    x, y = [], []
    for distance in (0.1, 1, 4):
        outward, anywhere = map(exact, directions(2, 3))
        unit = reference.length_of_unit / root
        x.append(reference.exp0(scale(radius * unit, outward), c))
        y.append(reference.move(x[-1], scale(distance * unit, anywhere), c))
    rows = [[[float(entry) for entry in p] for p in group] for group in (x, y)]
    points = torch.tensor(rows, dtype=torch.float64)
    v = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return *(with_time(model, p, c) for p in points), v


@curvatures
@pytest.mark.parametrize("radius", [8, 20, 30])
def test_transport_in_the_ball_is_accurate_up_to_the_boundary(c, radius):
    x, y, v = far_apart("poincare", c, radius)
    moved = GEOMETRY["poincare"].transp(x, y, v, c=c)
    turned = GEOMETRY["poincare"].gyration(y, -x, v, c=c)
    for i in range(len(x)):
        given = exact(y[i]), scale(-1, exact(x[i])), exact(v[i]), mp.mpf(c)
        assert relative_error(turned[i], MODELS["poincare"].gyration(*given)) < 1e-8
        given = exact(x[i]), exact(y[i]), exact(v[i]), mp.mpf(c)
        assert relative_error(moved[i], MODELS["poincare"].transp(*given)) < 1e-8


@curvatures
@pytest.mark.parametrize("radius", [8, 14, 20])
def test_transport_on_the_hyperboloid_loses_the_radius_once(c, radius):
    """The ambient coordinates of a tangent vector are its length times the exponential of the
    radius, and lose as many digits: not two or three times as many.
    """
    x, y, v = far_apart("lorentz", c, radius)
    geometry = GEOMETRY["lorentz"]
    u = geometry.transp0(x, v, c=c)
    seen = geometry.transp0back(y, geometry.transp(x, y, u, c=c), c=c)
    bound = 100 * torch.finfo(torch.float64).eps * torch.tensor(radius).exp().item()
    for i in range(len(x)):
        # the images of exact points in the ball, where transport between tangent spaces is a turn
        space = [exact(p[i, 1:]) for p in (x, y)]
        ball_x, ball_y = (
            scale(1 / (1 + mp.sqrt(c) * MODELS["lorentz"].time(p, c)), p) for p in space
        )
        turned = MODELS["poincare"].gyration(ball_y, scale(-1, ball_x), exact(v[i]), mp.mpf(c))
        expected = torch.tensor([float(entry) for entry in turned], dtype=torch.float64)
        torch.testing.assert_close(seen[i], expected, rtol=0, atol=bound)
