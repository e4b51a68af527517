"""Every function against finite differences, learnable curvature included."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from tests.geometry.samples import (
    EVERY_FUNCTION,
    GEOMETRY,
    as_tuple,
    label,
    learnable,
    moderate_arguments,
    pick,
    with_time,
)
from torch_geometric_hyperbolic.geometry import lorentz, poincare


@pytest.mark.parametrize("model,function", EVERY_FUNCTION, ids=label)
def test_gradcheck_including_the_curvature(model, function):
    arguments = moderate_arguments(model, 0.7, torch.float64, num=3, channels=2)
    inputs = [a.requires_grad_() for a in pick(arguments, function)]

    def on_tensors(c: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return as_tuple(function(*tensors, c=c))

    assert gradcheck(on_tensors, (learnable(0.7), *inputs))


def test_gradcheck_of_the_minkowski_product():
    u, v = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lorentz.inner, (u, v))


@pytest.mark.parametrize("module", [poincare, lorentz], ids=lambda m: m.__name__.split(".")[-1])
def test_gradcheck_of_the_coefficients_of_rel(module):
    model = "poincare" if module is poincare else "lorentz"
    arguments = moderate_arguments(model, 0.7, torch.float64, num=3, channels=2)
    chart = poincare.with_gap if model == "poincare" else lorentz.space_and_time

    def coefficients(c: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return module.rel_coefficients(*chart(x, c=c), *chart(y, c=c), c=c)

    points = (arguments[name].requires_grad_() for name in "xy")
    assert gradcheck(coefficients, (learnable(0.7), *points))


@pytest.mark.parametrize("model", GEOMETRY)
@pytest.mark.parametrize("name", ["rel", "logmap"])
def test_gradcheck_where_both_points_are_one(model, name):
    x = moderate_arguments(model, 0.7, torch.float64, num=3, channels=2)["x"]
    function = getattr(GEOMETRY[model], name)
    points = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert gradcheck(lambda c, x, y: function(x, y, c=c), (learnable(0.7), *points))


@pytest.mark.parametrize("model", GEOMETRY)
def test_gradcheck_at_the_origin(model):
    zero = torch.zeros(1, 2, dtype=torch.float64)
    geometry, v = GEOMETRY[model], zero.clone().requires_grad_()
    origin = with_time(model, zero, 0.7).requires_grad_()
    assert gradcheck(lambda c, x: geometry.log0(x, c=c), (learnable(0.7), origin))
    assert gradcheck(lambda c, v: geometry.exp0(v, c=c), (learnable(0.7), v))
    assert gradcheck(lambda c, x, v: geometry.move(x, v, c=c), (learnable(0.7), origin, v))


@pytest.mark.parametrize("model", GEOMETRY)
def test_gradgradcheck_of_exponentials(model):
    v = torch.tensor([[0.6, 0.8], [0.01, -0.03]], dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda c, v: GEOMETRY[model].exp0(v, c=c), (learnable(0.7), v))


@pytest.mark.parametrize("length", [1e-4, 1e-10, 1e-100, 1e-200, 0.0])
@pytest.mark.parametrize("model", GEOMETRY)
def test_second_derivatives_of_exponentials_of_short_vectors(model, length):
    """Of the exact series: exp0 is v + k c |v|^2 v + O(|v|^5), k = -1/3 in the ball, 1/6 else."""
    c, k = 0.7, -1 / 3 if model == "poincare" else 1 / 6
    v = length * torch.tensor([0.6, 0.8], dtype=torch.float64)

    def total(v: Tensor) -> Tensor:
        return GEOMETRY[model].exp0(v, c=c)[..., -2:].sum()

    one, eye = torch.ones_like(v), torch.eye(2, dtype=torch.float64)
    third = torch.outer(one, v) + torch.outer(v, one) + v.sum() * eye
    found = torch.autograd.functional.hessian(total, v)
    torch.testing.assert_close(found, 2 * k * c * third, rtol=1e-7, atol=0)


@pytest.mark.parametrize("model", GEOMETRY)
def test_second_derivatives_of_a_step_do_not_depend_on_how_short_it_is(model):
    """They are continuous at no step at all."""
    geometry, c = GEOMETRY[model], 0.7
    x = moderate_arguments(model, c, torch.float64, num=1, channels=2)["x"][0]

    def along(length: float) -> Tensor:
        v = length * torch.tensor([0.6, 0.8], dtype=torch.float64)
        return torch.autograd.functional.hessian(lambda v: geometry.move(x, v, c=c).sum(), v)

    for length in (1e-9, 1e-12, 1e-30, 1e-160, 0.0):
        torch.testing.assert_close(along(length), along(1e-6), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", GEOMETRY)
def test_the_gradient_of_the_distance_of_coincident_points_is_zero(model):
    x = moderate_arguments(model, 0.7, torch.float32)["x"]
    points = x.clone().requires_grad_(), x.clone().requires_grad_()
    c = learnable(0.7)
    GEOMETRY[model].dist(*points, c=c).sum().backward()
    for gradient in (points[0].grad, points[1].grad, c.grad):
        assert not gradient.any()
