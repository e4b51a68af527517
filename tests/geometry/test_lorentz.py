"""Functions of the hyperboloid one by one: known values, the definition, geoopt's opinion."""

import math

import geoopt
import pytest
import torch

from tests.geometry.reference import Hyperboloid, exact, mp, relative_error
from tests.geometry.samples import DTYPES, assert_close, label, moderate_arguments, pick
from torch_geometric_hyperbolic.geometry import lorentz

curvatures = pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 1e3])

GEOOPT = {
    lorentz.projx: "projx",
    lorentz.dist: "dist",
    lorentz.expmap: "expmap",
    lorentz.logmap: "logmap",
    lorentz.transp: "transp",
    lorentz.proju: "proju",
    lorentz.egrad2rgrad: "egrad2rgrad",
}


def geoopt_lorentz(c: float) -> geoopt.Lorentz:
    return geoopt.Lorentz(k=torch.tensor(1 / c, dtype=torch.float64))


def test_values_on_a_line_are_the_hyperbolic_functions():
    x, y = (torch.tensor([math.cosh(r), math.sinh(r), 0.0]) for r in (1.0, -0.5))
    assert lorentz.dist(x, y, c=1.0).item() == pytest.approx(1.5, rel=1e-6)
    assert lorentz.rel(x, y, c=1.0).tolist() == pytest.approx([-1.5, 0], rel=1e-6)
    assert lorentz.log0(x, c=1.0).tolist() == pytest.approx([1, 0], rel=1e-6)
    assert lorentz.exp0(torch.tensor([1.0, 0]), c=1.0).tolist() == pytest.approx(x.tolist())
    moved = lorentz.move(x, torch.tensor([-1.5, 0.0]), c=1.0)
    assert moved.tolist() == pytest.approx(y.tolist(), rel=1e-6)
    assert lorentz.inner(x, y).tolist() == pytest.approx([-math.cosh(1.5)], rel=1e-6)


@curvatures
@pytest.mark.parametrize("name", ["move", "transp0", "transp"])
def test_functions_follow_their_definition(name, c):
    function, definition = getattr(lorentz, name), getattr(Hyperboloid, name)
    arguments = list(pick(moderate_arguments("lorentz", c, torch.float64), function))
    out = function(*arguments, c=c)
    if name == "transp":
        spaces = [a[:, 1:] for a in arguments[:2]] + arguments[2:]
    else:
        spaces = [arguments[0][:, 1:], arguments[1]]
    for i in range(len(out)):
        expected = definition(*(exact(a[i]) for a in spaces), mp.mpf(c))
        assert relative_error(out[i, 1:] if name == "move" else out[i], expected) < 1e-11


@curvatures
@pytest.mark.parametrize("function", GEOOPT, ids=label)
def test_functions_agree_with_geoopt(function, c):
    arguments = list(pick(moderate_arguments("lorentz", c, torch.float64), function))
    # geoopt's egrad2rgrad edits its argument
    expected = getattr(geoopt_lorentz(c), GEOOPT[function])(*(a.clone() for a in arguments))
    assert_close(function(*arguments, c=c), expected.detach(), 1e-8)


@curvatures
def test_functions_at_the_origin_agree_with_geoopt_but_leave_out_the_zero_time(c):
    arguments = moderate_arguments("lorentz", c, torch.float64)
    x, v, u = arguments["x"], arguments["v"], arguments["u"]
    theirs = geoopt_lorentz(c)
    with_zero = torch.cat([torch.zeros_like(v[:, :1]), v], dim=-1)
    for ours, geoopts in [
        (lorentz.log0(x, c=c), theirs.logmap0(x)[:, 1:]),
        (lorentz.transp0back(x, u, c=c), theirs.transp0back(x, u)[:, 1:]),
        (lorentz.exp0(v, c=c), theirs.expmap0(with_zero)),
        (lorentz.transp0(x, v, c=c), theirs.transp0(x, with_zero)),
    ]:
        assert_close(ours, geoopts.detach(), 1e-8)


def test_the_inner_product_agrees_with_geoopt():
    arguments = moderate_arguments("lorentz", 1.0, torch.float64)
    u, w = arguments["u"], arguments["w"]
    expected = geoopt.Lorentz().inner(arguments["x"], u, w, keepdim=True)
    assert_close(lorentz.inner(u, w), expected.detach(), 1e-12)


def test_the_arguments_are_not_edited():
    for function in GEOOPT:
        arguments = list(pick(moderate_arguments("lorentz", 1.0, torch.float64), function))
        before = [a.clone() for a in arguments]
        function(*arguments, c=1.0)
        assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=label)
def test_the_given_time_is_ignored(dtype):
    arguments = moderate_arguments("lorentz", 0.7, dtype)
    wrong = dict(arguments)
    for name in "xy":
        wrong[name] = torch.cat([torch.full_like(wrong[name][:, :1], -3), wrong[name][:, 1:]], 1)
    for function in (lorentz.dist, lorentz.rel, lorentz.log0, lorentz.move, lorentz.projx):
        out = function(*pick(wrong, function), c=0.7)
        assert torch.equal(out, function(*pick(arguments, function), c=0.7))
    point = wrong["x"].clone().requires_grad_()
    lorentz.dist(point, wrong["y"], c=0.7).sum().backward()
    assert not point.grad[:, 0].any()
    assert point.grad[:, 1:].any()


@curvatures
def test_proju_projects_to_the_tangent_space_along_the_normal(c):
    x = moderate_arguments("lorentz", c, torch.float64)["x"]
    u = torch.randn_like(x)
    projected = lorentz.proju(x, u, c=c)
    scale = x.norm() * u.norm()
    assert lorentz.inner(x, projected).abs().max() < 1e-11 * scale
    assert_close(lorentz.proju(x, projected, c=c), projected, 1e-10)
    # what was removed points along x, the normal
    removed = u - projected
    along = (removed * x).sum(-1, keepdim=True) / (x * x).sum(-1, keepdim=True) * x
    assert_close(removed, along, 1e-10)


@pytest.mark.parametrize("dtype", DTYPES, ids=label)
def test_points_satisfy_the_equation_of_the_hyperboloid(dtype):
    arguments = moderate_arguments("lorentz", 0.7, dtype)
    x, v = arguments["x"], arguments["v"]
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for point in (lorentz.projx(x * 3, c=0.7), lorentz.exp0(v, c=0.7), lorentz.move(x, v, c=0.7)):
        assert (point[:, 0] > 0).all()
        equation = lorentz.inner(point, point)
        assert ((equation + 1 / 0.7).abs() < tolerance * point[:, :1] ** 2).all()


def test_space_and_time_come_in_double_and_fit():
    x = moderate_arguments("lorentz", 0.13, torch.float32)["x"]
    space, time = lorentz.space_and_time(x, c=0.13)
    assert space.dtype == time.dtype == torch.float64
    assert torch.equal(space, x[:, 1:].double())
    for i in range(len(x)):
        expected = [Hyperboloid.time(exact(x[i, 1:]), mp.mpf(0.13))]
        assert relative_error(time[i], expected) < 1e-15


@pytest.mark.parametrize("c", [0.13, 1.0])
def test_rel_coefficients_are_the_scalars_of_rel(c):
    x, y = pick(moderate_arguments("lorentz", c, torch.float64), lorentz.rel)
    (p, s), (q, t) = lorentz.space_and_time(x, c=c), lorentz.space_and_time(y, c=c)
    alpha, beta = lorentz.rel_coefficients(p, s, q, t, c=c)
    assert alpha.shape == beta.shape == (5, 1)
    for i in range(len(x)):
        expected = Hyperboloid.rel(exact(p[i]), exact(q[i]), mp.mpf(c))
        assert relative_error(alpha[i] * (q[i] - p[i]) - beta[i] * p[i], expected) < 1e-12


def test_a_step_may_cross_the_space():
    x = lorentz.exp0(torch.tensor([30.0, 0.0]).double(), c=1.0)
    back = lorentz.transp0(x, torch.tensor([-60.0, 0.0]).double(), c=1.0)
    found = lorentz.log0(lorentz.expmap(x, back, c=1.0), c=1.0)
    expected = torch.tensor([-30.0, 0.0]).double()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_the_projection_of_a_tangent_vector_has_the_derivative_of_the_projection():
    """Its value is the vector itself, up to rounding, but not its derivative."""
    x = lorentz.exp0(torch.tensor([[0.3, -0.8]], dtype=torch.float64), c=0.7).requires_grad_()
    v = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    u = lorentz.transp0(x.detach(), v, c=0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: lorentz.proju(x.detach(), u, c=0.7), u)
    assert torch.autograd.gradcheck(
        lambda x: lorentz.proju(lorentz.projx(x, c=0.7), u.detach(), c=0.7), x
    )
