"""Charts and exponentials in one pass, against the verbs of the manifold and finite differences."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.geometry.reference import exact, mp, norm, relative_error, scale
from tests.kernels.graphs import (
    assert_compiles,
    assert_same_for_any_number_of_threads,
    each_dtype,
    gradients,
    leaves,
    strided,
)
from torch_geometric_hyperbolic.geometry._numerics import MIN_GAP
from torch_geometric_hyperbolic.kernels import ball_and_log, exp0, radial, set_fused, to_ball
from torch_geometric_hyperbolic.kernels._space import fuses
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="without numba they are the verbs")

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}

#: Distances from the origin; the series ends at 0.03.
RADII = [0.0, 1e-8, 1e-4, 0.03, 0.035, 0.5, 2.0, 8.0, 16.0, 30.0, 44.0]

each_space = pytest.mark.parametrize("space", [PoincareBall, Lorentz], ids=lambda s: s.__name__)
each_curvature = pytest.mark.parametrize("c", [1e-6, 0.3, 1.0, 1e3])
learnable = pytest.mark.parametrize("learnable", [False, True], ids=["fixed", "learnable"])


class Subclass(PoincareBall):
    """Has the right to other verbs."""


def by_verbs_of_ball(x, manifold):
    return (*manifold.to_ball(x), manifold.log0(x))


def vectors(c, radii=RADII, channels=3, dtype=torch.float64):
    """Tangent vectors of the lengths ``radii / sqrt(c)``, two of each; a row less is a NaN's."""
    direction = torch.randn(2 * len(radii), channels, dtype=torch.float64)
    direction = torch.nn.functional.normalize(direction, dim=-1)
    lengths = torch.tensor(radii, dtype=torch.float64).repeat(2)[:, None]
    return (direction * lengths / c**0.5).to(dtype)


def of_log0(space, radii):
    """Lengths of log0, in units of the radius of curvature, of points at these distances."""
    return [r / 2 for r in radii] if space is PoincareBall else radii


def points(manifold, radii=RADII, dtype=torch.float64, channels=3):
    """Points at these distances from the origin, and some that are none."""
    c = torch.as_tensor(manifold.c).item()
    inside = manifold.exp0(vectors(c, of_log0(type(manifold), radii), channels)).detach()
    beyond = inside[-4:] * torch.tensor([[1.0], [1.5], [1e3], [1e6]], dtype=torch.float64)
    return torch.cat([inside, beyond]).to(dtype)


def assert_equal_images(actual, expected, x, manifold):
    """Equal to a few roundings of the dtype, and of the gap, whose smallest values feel one
    rounding of a float64 coordinate.
    """
    eps, c = EPS[x.dtype], torch.as_tensor(manifold.c).item()
    rounding = dict(rtol=4 * eps, atol=0.0)
    for one, other in zip(actual, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    torch.testing.assert_close(actual[0], expected[0], **rounding)
    gap = expected[1]
    moved = (gap <= 3 * MIN_GAP[x.dtype]) & (type(manifold) is PoincareBall)  # was projected
    slack = torch.where(moved & (x.dtype == torch.float64), 0.25, 1e-14) * gap
    if type(manifold) is PoincareBall:
        slack += 4 * EPS[torch.float64]
    assert ((actual[1] - gap).abs() <= slack).all()
    allowed = 4 * eps * expected[2].abs() + slack / gap / c**0.5
    assert ((actual[2] - expected[2]).abs() <= allowed).all()


# Values ----------------------------------------------------------------------------------------


@each_space
@each_dtype
@each_curvature
@learnable
def test_images_and_logarithms_are_those_of_the_verbs(space, dtype, c, learnable):
    manifold = space(c, learnable)
    x = points(manifold, dtype=dtype)
    assert fuses(x, manifold)
    assert_equal_images(ball_and_log(x, manifold), by_verbs_of_ball(x, manifold), x, manifold)


@each_space
@each_dtype
@each_curvature
@learnable
def test_exponentials_are_those_of_the_verb(space, dtype, c, learnable):
    manifold = space(c, learnable)
    v = vectors(c, [*RADII, 43.9, 44.1, 100.0, 1e4], dtype=dtype)
    assert fuses(v, manifold)
    actual, expected = exp0(v, manifold), manifold.exp0(v)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    # sinh(s) feels s roundings of s; at the boundary float64 points stay in the ball
    rtol = 4 * EPS[dtype] + 100 * EPS[torch.float64]
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=0.0)
    if space is PoincareBall:
        assert (manifold.to_ball(actual)[0] == actual).all()  # nothing left to project


@each_curvature
def test_logarithms_near_the_boundary_keep_their_digits(c):
    """Against 60 digits; with the gap 1 - c |x|^2 in float64 the last would be wrong by 1e-6."""
    radii = [8.0, 16.0, 20.0, 28.0]
    x = points(PoincareBall(c), radii)[: 2 * len(radii)]
    _, gap, log = ball_and_log(x, PoincareBall(c))
    for row, g, actual in zip(x, gap[:, 0].tolist(), log, strict=True):
        length = mp.sqrt(c) * norm(exact(row))
        expected = scale(mp.atanh(length) / length, exact(row))
        # half of what the gap, see test_to_ball.py, has lost
        assert relative_error(actual, expected) < 4e-16 + 5 * 2.0**-73 / g


@each_space
@each_dtype
def test_exponentials_and_charts_are_inverse(space, dtype):
    manifold = space(0.7)
    v = vectors(0.7, [0.0, 1e-8, 0.01, 0.5, 2.0], dtype=dtype)
    back = ball_and_log(exp0(v, manifold), manifold)[2]
    torch.testing.assert_close(back, v, rtol=100 * EPS[dtype], atol=0.0)


@each_space
@each_dtype
@pytest.mark.parametrize("channels", [1, 2, 17])
def test_any_number_of_channels_and_no_points(space, dtype, channels):
    manifold = space(0.7)
    x = points(manifold, [0.0, 0.5, 3.0, 1.0], dtype, channels)[:-4]
    for few in (x, x[:0]):
        actual, expected = ball_and_log(few, manifold), by_verbs_of_ball(few, manifold)
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=4 * EPS[one.dtype], atol=1e-14)
        v = actual[2]
        torch.testing.assert_close(
            exp0(v, manifold), manifold.exp0(v), rtol=8 * EPS[dtype], atol=0.0
        )
        for function in (ball_and_log, exp0):
            argument = few if function is ball_and_log else v
            (grad,) = gradients(lambda t, f=function: f(t, manifold), [argument])
            assert grad.shape == argument.shape


@each_space
@each_dtype
@pytest.mark.parametrize("huge", ["far", "largest"])
def test_huge_inputs_have_finite_results_and_gradients(space, dtype, huge):
    scale = {torch.float32: 1e30, torch.float64: 1e300}[dtype]
    scale = torch.finfo(dtype).max if huge == "largest" else scale
    manifold = space(0.7, learnable=True)
    x = torch.randn(5, 4, dtype=dtype).sign() * scale
    x[2, 1:] = 0
    for function in (ball_and_log, exp0):
        given = x.clone().requires_grad_()
        out = function(given, manifold)
        outputs = [out] if function is exp0 else list(out)
        assert all(t.isfinite().all() for t in outputs)
        sums = sum(o.sum() for o in outputs)
        by_input, by_c = torch.autograd.grad(sums, [given, manifold.log_scale])
        assert by_input.isfinite().all()
        assert by_c.isfinite()
        along = (by_input * x).sum(dim=1)  # the end of a ray stays where it is
        assert along.abs().max() <= 1e-5 * sum(o.abs().max() for o in outputs)


@each_space
@each_dtype
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_row_stays_one_and_spoils_no_other(space, dtype, bad):
    manifold = space(0.7)
    x = points(manifold, [0.5, 1.0, 3.0], dtype)[:5]
    spoiled = x.clone()
    spoiled[2, 1] = bad
    others = [0, 1, 3, 4]

    def results(function, x):
        """Values, then the gradient."""
        of = lambda t: [exp0(t, manifold)] if function is exp0 else ball_and_log(t, manifold)  # noqa: E731
        return [*of(x), *gradients(of, [x])]

    for function in (ball_and_log, exp0):
        pairs = list(zip(results(function, spoiled), results(function, x), strict=True))
        for actual, expected in pairs:
            assert torch.equal(actual[others], expected[others])
        for value, _ in pairs[:-1]:
            assert value[2].isnan().any()


@each_space
def test_a_curvature_that_is_nan_comes_out_as_nan(space):
    manifold = space(0.7, learnable=True)
    x = points(manifold, [0.5, 1.0], torch.float64)
    torch.nn.init.constant_(manifold.log_scale, torch.nan)
    for function in (ball_and_log, exp0):
        outs = function(x[:, -3:] if function is exp0 else x, manifold)
        for out in outs if isinstance(outs, tuple) else (outs,):
            assert out.isnan().any()


# Gradients -------------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("function", [ball_and_log, exp0], ids=lambda f: f.__name__)
@pytest.mark.parametrize("radius", [0.02, 0.5, 3.0])
def test_gradients_are_those_of_finite_differences(space, function, radius):
    """In points and ``c``, on both sides of the threshold under which a series is used."""
    manifold = space(0.7)
    operator = radial._ball_and_log if function is ball_and_log else radial._exp0
    hyperboloid = space is Lorentz
    v = vectors(0.7, of_log0(space, [0.0, radius, 0.7 * radius]))
    given = manifold.exp0(v) if function is ball_and_log else v
    c = torch.tensor(0.7, dtype=torch.float64)

    def differentiable(given, c):
        return operator(given, c, hyperboloid)

    if function is ball_and_log and hyperboloid:  # the time does not count
        space_part = given[:, 1:].clone()
        assert torch.autograd.gradcheck(
            lambda s, c: differentiable(torch.cat([given[:, :1], s], dim=1), c),
            leaves([space_part, c]),
        )
    assert torch.autograd.gradcheck(differentiable, leaves([given, c]))


def by_input_and_curvature(function, given, manifold):
    """Gradients of a random combination of results by the rows and by the curvature; the sum of
    that combination's absolute terms, whose roundings the second feels.
    """
    given = given.detach().requires_grad_()
    out = function(given, manifold)
    outputs = [out] if isinstance(out, torch.Tensor) else list(out)
    generator = torch.Generator().manual_seed(7)
    weights = [
        torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs
    ]
    grads = torch.autograd.grad(outputs, [given, manifold.log_scale], weights)
    terms = [(w * o).abs().sum().item() for w, o in zip(weights, outputs, strict=True)]
    return *grads, sum(terms)


@each_space
@pytest.mark.parametrize("c", [1e-6, 0.3, 1e3])
@pytest.mark.parametrize("radius", [0.0, 1e-8, 0.02, 0.1, 1.0, 6.0])
def test_gradients_are_those_of_the_verbs(space, c, radius):
    manifold = space(c, learnable=True).double()
    v = vectors(c, of_log0(space, [radius]))
    cases = [
        (ball_and_log, by_verbs_of_ball, manifold.exp0(v).detach()),
        (exp0, lambda v, m: m.exp0(v), v),
    ]
    for fused, verb, given in cases:
        by_input, by_c, terms = by_input_and_curvature(verb, given, manifold)
        actual = by_input_and_curvature(fused, given, manifold)
        scale = by_input.abs().max().item()
        torch.testing.assert_close(actual[0], by_input, rtol=1e-8, atol=1e-9 * scale)
        torch.testing.assert_close(actual[1], by_c, rtol=1e-8, atol=1e-12 * terms)
        single = by_input_and_curvature(fused, given.float(), manifold)
        exact = by_input_and_curvature(fused, given.float().double(), manifold)
        scale = exact[0].abs().max().item()
        assert single[0].dtype == torch.float32
        torch.testing.assert_close(single[0].double(), exact[0], rtol=2e-6, atol=1e-6 * scale)


def ends_of_rays(x, c, outputs, start):
    """The same numbers as functions of the direction of ``x`` and of ``c`` (``start`` before)."""
    direction = torch.nn.functional.normalize(x / x.detach().abs().max(), dim=-1)
    unit = (start / c).sqrt()
    for name, out in outputs.items():
        if name == "gap":
            yield 0 * c + out
        elif name == "time":
            yield out * unit
        else:
            yield direction * out.double().norm(dim=1, keepdim=True) * unit


@each_space
@each_dtype
def test_gradients_of_what_is_shortened_do_not_look_along_the_ray(space, dtype):
    """Any longer vector has the same end, which follows the curvature."""
    c = torch.tensor(0.3, dtype=torch.float64)
    hyperboloid = space is Lorentz
    long = torch.randn(3, 3, dtype=dtype) * 1e21

    def by_ball_and_log(x, c):
        x = torch.cat([x[:, :1], x], 1) if hyperboloid else x
        return dict(
            zip(("point", "gap", "log"), radial._ball_and_log(x, c, hyperboloid), strict=True)
        )

    def by_exp0(v, c):
        x = radial._exp0(v, c, hyperboloid)
        return {"space": x[:, 1:], "time": x[:, :1]} if hyperboloid else {"space": x}

    for function in (by_ball_and_log, by_exp0):
        outputs = function(long, c)
        actual = gradients(lambda *args, f=function: [*f(*args).values()], [long, c])
        expected = gradients(
            lambda *args, o=outputs: [*ends_of_rays(*args, o, 0.3)], [long.double(), c]
        )
        rtol = 2e-6 if dtype == torch.float32 else 1e-12
        for grad, other in zip(actual, expected, strict=True):
            scale = other.abs().max().item()
            torch.testing.assert_close(grad.double(), other, rtol=rtol, atol=rtol * scale)


# The operators ---------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("function", [ball_and_log, exp0, to_ball], ids=lambda f: f.__name__)
def test_the_gradient_by_the_curvature_of_many_rows_does_not_depend_on_threads(space, function):
    """PyTorch splits a sum of more than 32,768 numbers among its threads."""
    manifold = space(0.7, learnable=True)
    x = manifold.exp0(torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))).detach()

    def gradient():
        out = function(x[:, -2:] if function is exp0 else x, manifold)
        out = out if isinstance(out, Tensor) else sum(o.sum() for o in out)
        return torch.autograd.grad(out.double().square().sum(), manifold.log_scale)

    assert_same_for_any_number_of_threads(gradient)


@each_space
@each_dtype
@pytest.mark.parametrize("function", [ball_and_log, exp0], ids=lambda f: f.__name__)
def test_memory_layout_and_threads_do_not_change_a_bit(space, dtype, function):
    manifold = space(0.7)
    x = points(manifold, torch.linspace(0.0, 8.0, 40).tolist(), dtype)

    def results(x):
        out = function(x, manifold)
        return [out] if function is exp0 else list(out)

    everything = lambda: [*results(x), *gradients(results, [x])]  # noqa: E731
    assert_same_for_any_number_of_threads(everything)
    apart = [*results(strided(x)), *gradients(lambda t: results(strided(t)), [x])]
    for actual, expected in zip(apart, everything(), strict=True):
        assert torch.equal(actual, expected)


@each_space
@pytest.mark.parametrize("function", [ball_and_log, exp0], ids=lambda f: f.__name__)
def test_gradients_are_not_differentiable_again(space, function):
    manifold = space(0.7)
    x = points(manifold, [0.5, 1.0]).requires_grad_()
    out = function(x, manifold)
    out = out if function is exp0 else out[2]
    message = rf"^{function.__name__} is differentiable once \(got create_graph=True\); "
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(out.sum(), x, create_graph=True)


@each_space
@each_dtype
def test_the_operators_are_registered_as_torch_expects(space, dtype):
    manifold = space(0.7)
    hyperboloid = space is Lorentz
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = points(manifold, [0.5, 1.0], dtype)[:4].requires_grad_()
    v = vectors(0.7, [0.5, 1.0], dtype=dtype).requires_grad_()
    opcheck(torch.ops.tgh.ball_and_log.default, (x, c, hyperboloid))
    opcheck(torch.ops.tgh.exp0.default, (v, c, hyperboloid))


@each_space
def test_they_compile(space):
    manifold = space(0.7)

    def function(v):
        point, gap, log = ball_and_log(exp0(v, manifold), manifold)
        return (point * gap).sum() + log.tanh()

    assert_compiles(function, [vectors(0.7, [0.5, 1.0])])


# What is left to the verbs ---------------------------------------------------------------------


def refuse(*args):
    raise AssertionError("the operator was called")


@pytest.mark.parametrize(
    "manifold",
    [Euclidean(), Subclass(0.7), Subclass(0.7, learnable=True)],
    ids=["Euclidean", "subclass", "learnable subclass"],
)
def test_other_manifolds_use_their_verbs(monkeypatch, manifold):
    monkeypatch.setattr(radial, "_ball_and_log", refuse)
    monkeypatch.setattr(radial, "_exp0", refuse)
    x = torch.rand(4, 3)
    for actual, expected in zip(
        ball_and_log(x, manifold), by_verbs_of_ball(x, manifold), strict=True
    ):
        assert torch.equal(actual, expected)
    assert torch.equal(exp0(x, manifold), manifold.exp0(x))


@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 0, 3), (1, 1, 2, 3)])
def test_points_may_have_any_leading_dimensions(shape):
    ball, x = PoincareBall(), torch.rand(shape) / 2
    for actual, expected in zip(ball_and_log(x, ball), by_verbs_of_ball(x, ball), strict=True):
        torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(exp0(x, ball), ball.exp0(x))


def test_single_points_and_switched_off_operators_use_the_verbs(monkeypatch):
    ball, x = PoincareBall(), torch.rand(4, 3) / 2
    monkeypatch.setattr(radial, "_ball_and_log", refuse)
    monkeypatch.setattr(radial, "_exp0", refuse)
    assert torch.equal(ball_and_log(x[0], ball)[2], ball.log0(x[0]))
    assert torch.equal(exp0(x[0], ball), ball.exp0(x[0]))
    with pytest.raises(AssertionError, match="the operator was called"):
        ball_and_log(x, ball)
    set_fused(False)
    try:
        assert torch.equal(ball_and_log(x, ball)[2], ball.log0(x))
    finally:
        set_fused(True)
