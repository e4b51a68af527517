import math

import mpmath
import pytest
import torch

from tests.nn.aggr.definitions import (
    DENSE_INDEX,
    HYPERBOLIC,
    INDEX,
    SIZE,
    C,
    curvature,
    distance,
    einstein_midpoint,
    gyromidpoint,
    lorentz_centroid,
    on_a_line,
    per_group,
    random_points,
    random_weight,
    to_ball,
    to_model,
)
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import MidpointAggregation
from torch_geometric_hyperbolic.testing import (
    assert_close,
    assert_isometry_equivariant,
    assert_on_manifold,
    random_isometry,
)

each_hyperbolic = pytest.mark.parametrize("manifold", HYPERBOLIC, ids=repr)
each_model = pytest.mark.parametrize("model", [PoincareBall, Lorentz])


@each_model
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("channels", [1, 3, 64])
@pytest.mark.parametrize("formula", [lorentz_centroid, einstein_midpoint, gyromidpoint])
def test_three_formulas_are_one_point(model, c, channels, formula):
    manifold, weight = model(c), random_weight()
    x = random_points(channels=channels, c=c)
    aggr, points = MidpointAggregation(manifold=manifold), to_model(x, manifold)
    for given in (None, weight):
        out = aggr(points, INDEX, dim_size=SIZE, weight=given)
        assert_on_manifold(out, manifold)
        used = torch.ones_like(weight) if given is None else weight
        expected = per_group(lambda x, w: formula(x, w, c), x, used, INDEX, SIZE)
        assert_close(to_ball(out, manifold) * c**0.5, expected * c**0.5, factor=10)


@each_hyperbolic
def test_the_midpoint_of_two_points_halves_their_distance(manifold: Manifold):
    x, c = random_points(20, radius=5.0), curvature(manifold)
    pair = torch.arange(20) // 2
    out = to_ball(MidpointAggregation(manifold=manifold)(to_model(x, manifold), pair), manifold)
    first, second = x[::2], x[1::2]
    half = distance(first, second, c) / 2
    torch.testing.assert_close(distance(out, first, c), half, rtol=1e-10, atol=0)
    torch.testing.assert_close(distance(out, second, c), half, rtol=1e-10, atol=0)


@each_hyperbolic
@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_on_a_line_its_position_is_a_ratio_of_sinh_and_cosh(manifold: Manifold, radius):
    position = radius * torch.tensor([-1.0, -0.9, 0.3, 1.0], dtype=torch.float64) / C**0.5
    weight = torch.tensor([2.0, 0.1, 1.0, 0.5], dtype=torch.float64)
    direction = torch.tensor([0.48, -0.6, 0.64], dtype=torch.float64)
    x = to_model(on_a_line(position, direction, C), manifold)
    s = C**0.5 * position
    expected = torch.atanh((weight * s.sinh()).sum() / (weight * s.cosh()).sum()) / C**0.5
    out = to_ball(MidpointAggregation(manifold=manifold)(x, weight=weight), manifold)
    # the ball's own coordinates hold a point at this radius to exp(8) roundings
    expected = on_a_line(expected[None], direction, C)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@each_hyperbolic
def test_it_moves_with_every_isometry(manifold: Manifold):
    aggr, weight = MidpointAggregation(manifold=manifold), random_weight()
    x = to_model(random_points(), manifold)
    assert_isometry_equivariant(
        lambda x: aggr(x, DENSE_INDEX, weight=weight), x, manifold, length=2.0, factor=10
    )
    mirror = torch.ones(x.size(1), dtype=x.dtype)
    mirror[-1] = -1
    assert_close(aggr(x * mirror), aggr(x) * mirror)


@each_hyperbolic
def test_far_from_the_origin_it_is_as_exact(manifold: Manifold):
    aggr, weight = MidpointAggregation(manifold=manifold), random_weight()
    x = to_model(random_points(radius=4.0), manifold)
    near = aggr(x, DENSE_INDEX, weight=weight)
    phi = random_isometry(manifold, 3, length=8.0, generator=torch.Generator().manual_seed(0))
    far = aggr(phi(x), DENSE_INDEX, weight=weight)
    assert manifold.dist(near, phi(near)).min() > 5  # it did move
    assert manifold.dist(far, phi(near)).max() < 1e-9  # exp(12) roundings


@each_hyperbolic
@pytest.mark.parametrize("radius", [4.0, 8.0])
def test_in_float32_it_loses_no_more_than_the_rounding_of_its_coordinates(manifold, radius):
    aggr = MidpointAggregation(manifold=manifold)
    x = to_model(random_points(radius=0.5), manifold)
    x = random_isometry(manifold, 3, length=radius)(x).float()
    leaf, wide = (x.to(dtype).requires_grad_() for dtype in (torch.float32, torch.float64))
    found, exact = aggr(leaf, DENSE_INDEX), aggr(wide, DENSE_INDEX)
    rounded = manifold.dist(exact.float().double(), exact).max()
    assert manifold.dist(found.double(), exact).max() <= 1.01 * rounded
    pull = torch.randn_like(exact)
    (grad,) = torch.autograd.grad((found * pull.float()).sum(), leaf)
    (expected,) = torch.autograd.grad((exact * pull.float()).sum(), wide)
    assert (grad - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [20.0, 34.0, 36.0, 43.0])
def test_midpoints_of_the_hyperboloid_reach_as_far_as_its_points(radius, dtype):
    space = Lorentz()
    x = space.exp0(torch.tensor([[0.0, 0.0], [radius, 0.0]], dtype=dtype))
    aggr, eps = MidpointAggregation(manifold=space), torch.finfo(dtype).eps
    for given, expected in ((x[1:], radius), (x, radius / 2)):
        out = space.dist0(aggr(given, dim_size=1, index=torch.zeros(len(given)).long()))
        torch.testing.assert_close(out, out.new_tensor([expected]), rtol=4 * eps, atol=0)


@each_model
@pytest.mark.parametrize("radius", [2.0, 12.0, 20.0])
def test_the_midpoint_of_one_point_has_its_gradient(model, radius):
    """The identity's, in tangent vectors; the ball's coordinates round gaps of ``exp(-radius)``."""
    manifold = model(1.0)
    direction = torch.nn.functional.normalize(torch.randn(5, 16, dtype=torch.float64), dim=-1)
    unit = 2 if model is PoincareBall else 1
    v = (direction * radius / unit).requires_grad_()
    out = MidpointAggregation(manifold=manifold)(manifold.exp0(v), torch.arange(5))
    weight = torch.randn(5, 16, dtype=torch.float64)
    (manifold.log0(out) * weight).sum().backward()
    rounding = 2.0**-52 * (math.exp(radius) if model is PoincareBall else 1)
    torch.testing.assert_close(v.grad, weight, rtol=0, atol=64 * rounding)


@each_model
@pytest.mark.parametrize("radius", [2.0, 12.0, 20.0])
def test_the_midpoint_of_equal_points_stays_where_they_are(model, radius):
    """A third of the identity's gradient by each, and none by the curvature, in tangent vectors."""
    manifold = model(1.0, learnable=True).double()
    unit = 2 if model is PoincareBall else 1
    direction = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)
    v = (direction * radius / unit).repeat(3, 1).requires_grad_()
    out = MidpointAggregation(manifold=manifold)(manifold.exp0(v), torch.zeros(3).long())
    weight = torch.tensor([0.3, -0.7, 0.5], dtype=torch.float64)
    (manifold.log0(out) @ weight).sum().backward()
    rounding = 64 * 2.0**-52 * (math.exp(radius) if model is PoincareBall else 1)
    torch.testing.assert_close(v.grad, (weight / 3).expand(3, 3), rtol=0, atol=rounding)
    assert abs(manifold.log_scale.grad) < radius * rounding


@pytest.mark.parametrize("radius", [2.0, 8.0, 12.0])
def test_the_curvature_moves_a_midpoint_as_the_formula_says(radius):
    """Of the hyperboloid's fixed coordinates; the formula is differentiated in 60 digits."""
    manifold = Lorentz(1.0, learnable=True).double()
    directions = torch.tensor([[0.36, 0.48, 0.8], [0.6, 0.8, 0.0]], dtype=torch.float64)
    first = manifold.exp0(radius * directions[0])
    x = torch.stack([first, manifold.move(first, 8 * directions[1])]).detach()
    weight = torch.tensor([1.0, 2.0], dtype=torch.float64)
    out = MidpointAggregation(manifold=manifold)(x, torch.zeros(2).long(), weight=weight)
    out[0, 1:].sum().backward()

    def coordinates(log_c):
        c = mpmath.exp(log_c)
        space = [[mpmath.mpf(float(t)) for t in row[1:]] for row in x]
        time = [mpmath.sqrt(1 / c + mpmath.fdot(row, row)) for row in space]
        total = [a + 2 * b for a, b in zip(*space, strict=True)]
        square = (time[0] + 2 * time[1]) ** 2 - mpmath.fdot(total, total)
        return mpmath.fsum(total) / mpmath.sqrt(c * square)

    with mpmath.workdps(60):
        expected = float(mpmath.diff(coordinates, 0))
    error = abs(float(manifold.log_scale.grad) - expected)
    assert error < 64 * 2.0**-52 * math.exp(radius) * abs(expected)
