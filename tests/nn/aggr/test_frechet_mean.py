import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from tests.nn.aggr.definitions import (
    DENSE_INDEX,
    HYPERBOLIC,
    INDEX,
    SIZE,
    C,
    curvature,
    distance,
    force,
    norm,
    on_a_line,
    random_points,
    random_weight,
    to_ball,
    to_model,
)
from torch_geometric_hyperbolic.kernels import fused_engine, set_fused
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import FrechetMeanAggregation, MidpointAggregation
from torch_geometric_hyperbolic.testing import (
    assert_close,
    assert_isometry_equivariant,
    assert_on_manifold,
    random_isometry,
)

each_hyperbolic = pytest.mark.parametrize("manifold", HYPERBOLIC, ids=repr)
each_model = pytest.mark.parametrize("model", [PoincareBall, Lorentz])


def mean_in_ball(x: Tensor, manifold: Manifold, *args, **kwargs) -> Tensor:
    """The mean of points of the ball, computed on ``manifold``."""
    out = FrechetMeanAggregation(manifold=manifold)(to_model(x, manifold), *args, **kwargs)
    assert_on_manifold(out, manifold)
    return to_ball(out, manifold)


def cost(mean: Tensor, x: Tensor, weight: Tensor, c: float) -> Tensor:
    """The definition: what the mean minimises, for each of several candidates."""
    return (weight * distance(mean[:, None], x, c) ** 2).sum(dim=1)


@each_model
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_the_gradient_of_the_squared_distances_vanishes(model, c, channels):
    x, weight = random_points(channels=channels, c=c), random_weight()
    out = mean_in_ball(x, model(c), INDEX, dim_size=SIZE, weight=weight)
    for group in (0, 2, 4):
        own = group == INDEX
        assert force(out[group], x[own], weight[own], c) < 1e-12
        assert force(out[group] * 1.001, x[own], weight[own], c) > 1e-6  # it would be seen


@each_hyperbolic
def test_no_other_point_is_better(manifold: Manifold):
    x, weight, c = random_points(), random_weight(), curvature(manifold)
    out = mean_in_ball(x, manifold, weight=weight)
    best = cost(out, x, weight, c)
    noise = random_points(300, seed=2)
    others = out + torch.logspace(-5, -1, 300, dtype=torch.float64)[:, None] * noise
    assert (cost(others, x, weight, c) > best).all()
    assert (cost(x, x, weight, c) > best).all()


@each_hyperbolic
def test_a_general_minimiser_finds_the_same_point(manifold: Manifold):
    x, weight, c = random_points(radius=5.0), random_weight(), curvature(manifold)

    def value_and_gradient(point):
        m = torch.tensor(point, requires_grad=True)
        value = cost(m[None], x, weight, c)[0]
        return value.item(), torch.autograd.grad(value, m)[0].numpy()

    found = minimize(value_and_gradient, [0.0, 0.0, 0.0], jac=True, tol=1e-12).x
    out = mean_in_ball(x, manifold, weight=weight)[0]
    torch.testing.assert_close(out, torch.tensor(found), atol=1e-6, rtol=0)


@each_hyperbolic
@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_on_a_line_it_is_the_mean_position(manifold: Manifold, radius):
    position = radius * torch.tensor([-1.0, -0.9, 0.3, 1.0], dtype=torch.float64) / C**0.5
    weight = torch.tensor([2.0, 0.1, 1.0, 0.5], dtype=torch.float64)
    direction = torch.tensor([0.48, -0.6, 0.64], dtype=torch.float64)
    out = mean_in_ball(on_a_line(position, direction, C), manifold, weight=weight)
    expected = on_a_line((weight @ position / weight.sum())[None], direction, C)
    torch.testing.assert_close(out, expected, atol=1e-11, rtol=0)  # exp(8) roundings


@each_hyperbolic
def test_it_is_not_the_midpoint(manifold: Manifold):
    x = to_model(random_points(radius=5.0), manifold)
    aggregations = (FrechetMeanAggregation, MidpointAggregation)
    mean, midpoint = (aggr(manifold=manifold)(x) for aggr in aggregations)
    assert manifold.dist(mean, midpoint) > 0.1


def sphere(radius: float, num: int = 20) -> Tensor:
    x = random_points(num)
    return x / norm(x) * torch.tanh(torch.tensor(radius / 2)) / C**0.5


@each_hyperbolic
@pytest.mark.parametrize("radius", [4.0, 6.0, 8.0, 12.0])
@pytest.mark.parametrize("num", [3, 20])
def test_widely_spread_points_converge_in_float64(manifold: Manifold, radius, num):
    x = sphere(radius, num)
    assert force(mean_in_ball(x, manifold), x, torch.ones(num), C) < 1e-9


@each_hyperbolic
def test_one_far_cluster_and_one_far_point_converge(manifold: Manifold):
    x = sphere(8.0)
    x[1:] = -x[0] + 1e-4 * x[1:]
    weight = torch.ones(20, dtype=torch.float64)
    weight[0] = 19.0
    out = mean_in_ball(x, manifold, weight=weight)
    assert norm(out) < 0.1
    assert force(out, x, weight, C) < 1e-9


@each_hyperbolic
def test_widely_spread_points_converge_in_float32(manifold: Manifold):
    points = to_model(sphere(5.0), manifold).float()
    out = FrechetMeanAggregation(manifold=manifold)(points)
    if isinstance(manifold, Lorentz):  # the space part is the point
        points = manifold.projx(points.double())
    x = to_ball(points.double(), manifold)
    assert out.dtype == torch.float32
    assert force(to_ball(out.double(), manifold), x, torch.ones(20), C) < 2e-7


@each_hyperbolic
def test_it_moves_with_every_isometry(manifold: Manifold):
    aggr, weight = FrechetMeanAggregation(manifold=manifold), random_weight()
    x = to_model(random_points(), manifold)
    mirror = torch.ones(x.size(1), dtype=x.dtype)
    mirror[-1] = -1
    assert_isometry_equivariant(
        lambda x: aggr(x, DENSE_INDEX, weight=weight), x, manifold, length=2.0, factor=10
    )
    assert_close(aggr(x * mirror), aggr(x) * mirror)


@each_hyperbolic
def test_far_from_the_origin_it_is_as_exact(manifold: Manifold):
    aggr, weight = FrechetMeanAggregation(manifold=manifold), random_weight()
    x = to_model(random_points(radius=4.0), manifold)
    near = aggr(x, DENSE_INDEX, weight=weight)
    phi = random_isometry(manifold, 3, length=8.0, generator=torch.Generator().manual_seed(0))
    far = aggr(phi(x), DENSE_INDEX, weight=weight)
    assert manifold.dist(near, phi(near)).min() > 5  # it did move
    assert manifold.dist(far, phi(near)).max() < 1e-9  # exp(12) roundings


def geodesic(x: Tensor, y: Tensor, weight: Tensor, manifold: Manifold) -> Tensor:
    """The mean of two points in closed form."""
    return manifold.move(x, weight[1] / weight.sum() * manifold.rel(x, y))


@each_model
@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_gradients_of_two_points_are_those_of_the_geodesic(model, radius):
    manifold = model(C, learnable=True).double()
    aggr, x = FrechetMeanAggregation(manifold=manifold), to_model(sphere(radius, 2), manifold)
    weight = torch.tensor([2.0, 0.7], dtype=torch.float64)
    inputs = [x.requires_grad_(), weight.requires_grad_(), manifold.log_scale]
    mean, expected = aggr(x, weight=weight)[0], geodesic(*x, weight, manifold)
    torch.testing.assert_close(mean, expected, atol=1e-10, rtol=1e-10)
    for coordinate in range(x.size(1)):
        actual_grads = torch.autograd.grad(mean[coordinate], inputs, retain_graph=True)
        expected_grads = torch.autograd.grad(expected[coordinate], inputs, retain_graph=True)
        for actual, wanted in zip(actual_grads, expected_grads, strict=True):
            scale = max(1.0, wanted.abs().max().item())
            torch.testing.assert_close(actual, wanted, atol=1e-6 * scale, rtol=0)


@each_model
def test_gradient_by_the_curvature_far_from_the_origin(model):
    """What it gets inside the ball and on the way out of it is exp(radius) times the sum."""
    space = model(1.0)
    far = space.exp0(torch.tensor([6.0 * space.rel_unit, 0, 0], dtype=torch.float64))
    v = 0.5 * torch.randn(8, 3, dtype=torch.float64)
    x, grads = space.move(far.expand(8, -1), v).float(), []
    weight = torch.randn(3, dtype=torch.float64)
    for dtype in (torch.float32, torch.float64):
        manifold = model(1.0, learnable=True).to(dtype)
        mean = FrechetMeanAggregation(manifold)(x.to(dtype), torch.zeros(8, dtype=torch.long))
        (mean[:, -3:].double() @ weight).sum().backward()
        grads.append(manifold.log_scale.grad.double())
    assert (grads[0] - grads[1]).abs() < 1e-6 * grads[1].abs()


@each_model
def test_compiled_steps_have_the_gradients_of_plain_ones(model):
    """The cost alone finds means to the root of rounding, and gradients there no better."""
    manifold, found = model(C, learnable=True), []
    for fused in (False, True):
        set_fused(fused)
        x = to_model(random_points(12), model(C)).requires_grad_()
        mean = FrechetMeanAggregation(manifold=manifold)(x)
        found.append(torch.autograd.grad(mean.sin().sum(), (x, manifold.log_scale)))
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-11, atol=1e-12)


@each_model
def test_implicit_gradients_are_central_differences_of_the_forward(model):
    manifold = model(C)
    aggr, x = FrechetMeanAggregation(manifold=manifold), to_model(random_points(), manifold)
    weight, step = random_weight(), 1e-5
    x.requires_grad_()
    (grad,) = torch.autograd.grad(aggr(x, weight=weight)[0, -1], x)
    for row, column in ((0, -1), (5, -2), (11, -3)):
        shift = torch.zeros_like(x)
        shift[row, column] = step
        with torch.no_grad():
            ahead, behind = (aggr(x + s, weight=weight)[0, -1] for s in (shift, -shift))
        expected = (ahead - behind) / (2 * step)
        assert abs(grad[row, column] - expected) < 1e-9 + 1e-7 * abs(expected)


@pytest.mark.parametrize("manifold", [PoincareBall(0.7), Lorentz(0.7)], ids=str)
def test_unfused_it_is_twice_differentiable(manifold):
    """Gradients of gradients are differences of gradients, in points and weights."""
    aggr = FrechetMeanAggregation(manifold=manifold)
    index = torch.tensor([0, 0, 0, 1, 1, 1])
    v = 0.4 * torch.randn(6, 2, dtype=torch.float64)
    weight = torch.rand(6, dtype=torch.float64) + 0.1

    def mean(v: Tensor, weight: Tensor) -> Tensor:
        return aggr(manifold.exp0(v), index, weight=weight)

    inputs = (v.requires_grad_(), weight.requires_grad_())
    set_fused(False)
    try:
        assert torch.autograd.gradgradcheck(mean, inputs)
    finally:
        set_fused(True)
    if fused_engine(v) is not None:
        with pytest.raises(RuntimeError, match="differentiable once"):
            torch.autograd.gradgradcheck(mean, inputs)


def test_only_tables_of_points_are_accepted():
    aggr = FrechetMeanAggregation(manifold=PoincareBall())
    with pytest.raises(ValueError, match="two-dimensional"):
        aggr(torch.zeros(2, 4, 3), torch.zeros(4, dtype=torch.long))
