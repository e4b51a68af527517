"""Functions of the ball one by one: values known by heart, the definition, geoopt's opinion."""

import math

import geoopt
import pytest
import torch

from tests.geometry.reference import Ball, exact, mp, relative_error
from tests.geometry.samples import assert_close, label, moderate_arguments, pick
from torch_geometric_hyperbolic.geometry import lorentz, poincare

BY_DEFINITION = {
    poincare.mobius_add: Ball.mobius_add,
    poincare.move: Ball.move,
    poincare.rel: Ball.rel,
    poincare.gyration: Ball.gyration,
    poincare.transp0: Ball.transp0,
    poincare.transp: Ball.transp,
}

GEOOPT = {
    poincare.projx: "projx",
    poincare.dist: "dist",
    poincare.log0: "logmap0",
    poincare.exp0: "expmap0",
    poincare.mobius_add: "mobius_add",
    poincare.transp0back: "transp0back",
    poincare.expmap: "expmap",
    poincare.logmap: "logmap",
    poincare.gyration: "gyration",
    poincare.transp: "transp",
    poincare.transp0: "transp0",
    poincare.egrad2rgrad: "egrad2rgrad",
}

curvatures = pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 1e3])
curvatures_of_geoopt = pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 20.0])  # 1e3 overflows there


def test_values_on_a_line_are_the_hyperbolic_functions():
    x, y = torch.tensor([0.5, 0.0]), torch.tensor([-0.25, 0.0])
    assert poincare.dist(x, y, c=1.0).item() == pytest.approx(
        2 * (math.atanh(0.5) + math.atanh(0.25)), rel=1e-6
    )
    assert poincare.log0(x, c=1.0).tolist() == pytest.approx([math.atanh(0.5), 0])
    assert poincare.exp0(x, c=1.0).tolist() == pytest.approx([math.tanh(0.5), 0])
    assert poincare.mobius_add(x, y, c=1.0).tolist() == pytest.approx([0.25 / 0.875, 0])
    assert poincare.transp0(x, y, c=1.0).tolist() == pytest.approx([-0.25 * 0.75, 0])
    assert poincare.inner(x, y, y, c=1.0).tolist() == pytest.approx([(0.25 * 2 / 0.75) ** 2])
    assert poincare.egrad2rgrad(x, y, c=1.0).tolist() == pytest.approx([-0.25 * 0.375**2, 0])


@curvatures
@pytest.mark.parametrize("function", BY_DEFINITION, ids=label)
def test_functions_follow_their_definition(function, c):
    arguments = list(pick(moderate_arguments("poincare", c, torch.float64), function))
    out = function(*arguments, c=c)
    for i in range(len(out)):
        expected = BY_DEFINITION[function](*(exact(a[i]) for a in arguments), mp.mpf(c))
        assert relative_error(out[i], expected) < 1e-11


@curvatures_of_geoopt
@pytest.mark.parametrize("function", GEOOPT, ids=label)
def test_functions_agree_with_geoopt(function, c):
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    arguments = list(pick(moderate_arguments("poincare", c, torch.float64), function))
    expected = getattr(ball, GEOOPT[function])(*arguments)
    tolerance = 1e-9  # geoopt goes through softplus and back to find c
    assert_close(function(*arguments, c=c), expected.detach(), tolerance)


@curvatures_of_geoopt
def test_the_inner_product_agrees_with_geoopt(c):
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    arguments = list(pick(moderate_arguments("poincare", c, torch.float64), poincare.inner))
    expected = ball.inner(*arguments, keepdim=True)  # without keepdim it would broadcast
    assert_close(poincare.inner(*arguments, c=c), expected.detach(), 1e-9)


@curvatures_of_geoopt
def test_rel_agrees_with_geoopt(c):
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    x, y = pick(moderate_arguments("poincare", c, torch.float64), poincare.rel)
    expected = ball.logmap0(ball.mobius_add(-x, y)).detach()
    assert_close(poincare.rel(x, y, c=c), expected, 1e-9)
    assert_close(poincare.logmap(x, y, c=c), ball.logmap(x, y).detach(), 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=label)
@pytest.mark.parametrize("function", [poincare.with_gap, poincare.with_wide_gap], ids=label)
def test_points_with_their_gaps(function, dtype):
    x = torch.tensor([[0.6, 0.0], [3.0, 4.0]], dtype=dtype)
    point, gap = function(x, c=1.0)
    assert_close(point, torch.tensor([[0.6, 0.0], [0.6, 0.8]], dtype=dtype), 1e-6)
    assert gap.shape == (2, 1)
    assert gap[0].item() == pytest.approx(0.64)
    assert 0 < gap[1].item() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=label)
def test_rel_coefficients_are_the_scalars_of_rel(dtype):
    x, y = pick(moderate_arguments("poincare", 0.7, dtype), poincare.rel)
    (x, gap_x), (y, gap_y) = poincare.with_gap(x, c=0.7), poincare.with_gap(y, c=0.7)
    alpha, beta = poincare.rel_coefficients(x, gap_x, y, gap_y, c=0.7)
    assert alpha.shape == beta.shape == (5, 1)
    assert alpha.dtype == beta.dtype == dtype
    for i in range(len(x)):
        expected = Ball.rel(exact(x[i]), exact(y[i]), mp.mpf(0.7))
        assert relative_error(alpha[i] * (y[i] - x[i]) - beta[i] * x[i], expected) < 1e-6


@pytest.mark.parametrize("inside", [True, False])
def test_a_point_has_an_image_for_each_of_several_curvatures(inside):
    x = torch.tensor([[0.1, 0.2] if inside else [30.0, 40.0]])
    c = torch.tensor([[0.5], [1.0], [2.0]])
    for model, width in ((poincare, 2), (lorentz, 3)):
        point = x if model is poincare else torch.cat([x[:, :1], x], dim=1)
        assert model.projx(point, c=c).shape == (3, width)
        assert model.exp0(x, c=c).shape == (3, width)
