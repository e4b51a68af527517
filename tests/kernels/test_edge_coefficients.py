"""The two scalars of edges, against 60 digits and against a loop in float64."""

import pytest
import torch
from torch.library import opcheck

from tests.geometry.reference import dot, exact, gradient, mp
from tests.kernels.graphs import (
    SIZES,
    Size,
    assert_compiles,
    assert_rounded,
    assert_same_for_any_number_of_threads,
    clouds,
    each_dtype,
    each_size,
    endpoints,
    gradients,
    leaves,
    random_graph,
    strided,
)
from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.kernels import edge_coefficients
from torch_geometric_hyperbolic.kernels.edge_coefficients import edge_coefficients_reference
from torch_geometric_hyperbolic.typing import WITH_NUMBA

DOUBLE = torch.float64

each_operator = pytest.mark.parametrize(
    "operator", [edge_coefficients, edge_coefficients_reference], ids=["fused", "reference"]
)
each_unit = pytest.mark.parametrize("unit", [1.0, 2.0])


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=DOUBLE)


def ball_points(count, channels, c, radius, dtype):
    """Points at distances up to ``radius``, and their gaps."""
    v = torch.nn.functional.normalize(torch.randn(count, channels, dtype=DOUBLE), dim=-1)
    v = v * torch.rand(count, 1, dtype=DOUBLE) * radius / 2
    if c == 0:
        return v.to(dtype), torch.ones(count, 1, dtype=DOUBLE)
    return poincare.with_wide_gap(poincare.exp0(v / c**0.5, c=c).to(dtype), c=c)


def random_inputs(size, c=1.0, radius=3.0, channels=4, dtype=DOUBLE):
    """Points and gaps of targets and sources, and ``c``."""
    ends = [ball_points(count, channels, c, radius, dtype) for count in size[:2]]
    return (*ends[0], *ends[1], number(c))


def definition(points_i, gap_i, points_j, gap_j, c, unit, rowptr, col):
    """``u a(q) / g_j`` and ``u a(q) q`` of every edge, in float64."""
    alpha, beta = [], []
    for _, i, j in endpoints(rowptr, col):
        d = points_j[j].double() - points_i[i].double()
        q = c * d.square().sum() / (gap_i[i, 0] * gap_j[j, 0])
        if q > 0:
            a = unit * torch.asinh(q.sqrt()) / (q * (1 + q)).sqrt()
        else:
            a = unit * (1 - 2 * q / 3)  # to first order
        alpha.append(a / gap_j[j, 0])
        beta.append(a * q)
    if not alpha:
        return c.new_zeros(0), c.new_zeros(0)
    return torch.stack(alpha), torch.stack(beta)


def in_digits(p_i, g_i, p_j, g_j, c, unit):
    """The formula for one pair, of mpmath numbers."""
    d = [y - x for x, y in zip(p_i, p_j, strict=True)]
    q = c * dot(d, d) / (g_i * g_j)
    a = unit * (mp.asinh(mp.sqrt(q)) / mp.sqrt(q * (1 + q)) if q else 1)
    return a / g_j, a * q


def single_edge(q, dtype=DOUBLE):
    """One edge with this ``q``; points 0 and sqrt(q) on a line, gaps 1, and ``c`` 1."""
    point = lambda x: torch.tensor([[x]], dtype=dtype)  # noqa: E731
    one = torch.ones(1, 1, dtype=DOUBLE)
    return point(0.0), one, point(q**0.5), one.clone(), number(1.0)


EDGE = (torch.tensor([0, 1]), torch.tensor([0], dtype=torch.int32))


@each_operator
@each_size
@each_dtype
@each_unit
@pytest.mark.parametrize("c", [0.0, 0.3, 4.0])
def test_scalars_are_those_of_the_formula(operator, size, dtype, unit, c):
    graph = random_graph(size)
    inputs = random_inputs(size, c, channels=1 if unit == 2.0 else 4, dtype=dtype)
    expected = definition(*inputs, unit, *graph)
    for result in (dtype, DOUBLE):
        actual = operator(*inputs, unit, *graph, result)
        for one, other in zip(actual, expected, strict=True):
            assert one.dtype == result
            assert_rounded(one, other)


@each_operator
@each_dtype
@pytest.mark.parametrize("radius", [0.1, 3.0, 12.0])
def test_every_scalar_is_right_to_the_last_digits(operator, dtype, radius):
    """Against 60 digits, relative to each scalar itself."""
    size = SIZES["ragged"]
    graph, c = random_graph(size), 0.7
    inputs = random_inputs(size, c, radius, dtype=dtype)
    actual = operator(*inputs, 2.0, *graph, dtype)
    p_i, g_i, p_j, g_j, _ = inputs
    for e, i, j in endpoints(*graph):
        pair = (exact(p_i[i]), exact(g_i[i])[0], exact(p_j[j]), exact(g_j[j])[0])
        for scalar, expected in zip(actual, in_digits(*pair, mp.mpf(c), 2), strict=True):
            error = abs(mp.mpf(scalar[e].item()) / expected - 1)
            assert error < (2.0**-24 * 1.001 if dtype == torch.float32 else 2e-14)


@each_operator
@pytest.mark.parametrize("q", [1e-30, 1e-8, 0.99e-3, 1.01e-3, 0.1, 1.0, 1e3, 1e10])
def test_close_and_far_points_are_as_exact(operator, q):
    """Also on both sides of the threshold under which a series is used."""
    inputs = single_edge(q)
    p_i, g_i, p_j, g_j, c = ([exact(t.flatten())[0]] for t in inputs)

    def scalars(x):
        return in_digits(p_i, x[0], [x[1]], x[2], x[3], 1)

    place = [*g_i, *p_j, *g_j, *c]
    actual = operator(*inputs, 1.0, *EDGE, DOUBLE)
    for k in range(2):
        assert abs(mp.mpf(actual[k].item()) / scalars(place)[k] - 1) < 2e-14
        given = leaves(inputs)
        out = operator(*given, 1.0, *EDGE, DOUBLE)[k].sum()
        grads = torch.autograd.grad(out, given[1:])
        expected = gradient(lambda x, k=k: scalars(x)[k], place)
        for grad, derivative in zip(grads, expected, strict=True):
            assert abs(mp.mpf(grad.item()) - derivative) <= 1e-10 * abs(derivative)


@each_operator
@each_dtype
def test_coincident_points_have_plain_scalars_and_gradients(operator, dtype):
    point, gap = torch.full((1, 3), 0.3, dtype=dtype), torch.full((1, 1), 0.73, dtype=DOUBLE)
    given = leaves((point, gap, point, gap, number(1.0)))
    alpha, beta = operator(*given, 1.0, *EDGE, dtype)
    assert alpha.item() == pytest.approx(1 / 0.73, rel=1e-7)
    assert beta.item() == 0
    grads = torch.autograd.grad([alpha, beta], given, [torch.ones_like(alpha)] * 2)
    expected = [0, 0, 0, -1 / 0.73**2, 0]
    for grad, value in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, torch.full_like(grad, value), rtol=1e-7, atol=0)


@each_operator
@each_dtype
@each_unit
def test_gradients_are_those_of_the_loop(operator, dtype, unit):
    size = SIZES["ragged"]
    graph, inputs = random_graph(size), random_inputs(size, 0.7, dtype=dtype)
    expected = gradients(
        lambda *args: definition(*args, unit, *graph), [t.double() for t in inputs]
    )
    actual = gradients(lambda *args: operator(*args, unit, *graph, dtype), inputs)
    for grad, other, given in zip(actual, expected, inputs, strict=True):
        assert grad.dtype == given.dtype
        if operator is edge_coefficients and WITH_NUMBA:
            scale = 1e-11 * other.abs().max()  # the loop's own closed form is not exact
            rtol = 2.0**-24 * 1.001 if grad.dtype == torch.float32 else 0
            torch.testing.assert_close(grad.double(), other, rtol=rtol, atol=scale.item())
        else:
            torch.testing.assert_close(grad.double(), other, rtol=1e-5, atol=1e-5)


@each_operator
@each_unit
def test_gradients_are_those_of_finite_differences(operator, unit):
    size = SIZES["ragged"]
    graph, inputs = random_graph(size), random_inputs(size, 0.7, channels=2)
    assert torch.autograd.gradcheck(
        lambda *args: operator(*args, unit, *graph, DOUBLE), leaves(inputs)
    )


@each_operator
@each_unit
@pytest.mark.parametrize("apart", [False, True], ids=["one graph", "clouds"])
def test_gradients_in_flat_space_are_those_of_finite_differences(operator, unit, apart):
    size = Size(12, 12, 24) if apart else SIZES["ragged"]
    graph = clouds(4, 3, 2) if apart else random_graph(size)
    inputs = list(random_inputs(size, 0.0, channels=2))
    inputs[1], inputs[3] = (1 + torch.rand(count, 1, dtype=DOUBLE) for count in size[:2])
    *inputs, zero = inputs
    assert torch.autograd.gradcheck(
        lambda *args: operator(*args, zero, unit, *graph, DOUBLE), leaves(inputs)
    )
    grads = gradients(lambda *args: operator(*args, unit, *graph, DOUBLE), [*inputs, zero])
    assert grads[-1] == 0  # flat space stays flat


def test_in_flat_space_scalars_do_not_look_at_points():
    """Even where a squared distance overflows."""
    far = torch.tensor([[1e200], [torch.inf]], dtype=DOUBLE)
    one = torch.ones(2, 1, dtype=DOUBLE)
    graph = (torch.tensor([0, 2, 4]), torch.tensor([0, 1, 0, 1], dtype=torch.int32))
    scalars = lambda p, q: edge_coefficients(p, one, q, one, number(0.0), 1.0, *graph, DOUBLE)  # noqa: E731
    alpha, beta = scalars(far, -far)
    assert alpha.tolist() == [1.0] * 4
    assert beta.tolist() == [0.0] * 4
    assert not any(grad.any() for grad in gradients(scalars, [far, -far]))


@pytest.mark.parametrize("size", [SIZES[name] for name in ("no edges", "no targets", "nothing")])
def test_without_edges_gradients_are_zero(size):
    graph, inputs = random_graph(size), random_inputs(size)
    grads = gradients(lambda *args: edge_coefficients(*args, 1.0, *graph, DOUBLE), inputs)
    for grad, given in zip(grads, inputs, strict=True):
        assert grad.shape == given.shape
        assert not grad.any()


@each_operator
@pytest.mark.parametrize("used", [0, 1])
def test_a_scalar_that_is_not_used_counts_for_nothing(operator, used):
    inputs, graph = random_inputs(SIZES["ragged"]), random_graph(SIZES["ragged"])
    scalars = lambda *args: operator(*args, 1.0, *graph, DOUBLE)  # noqa: E731

    def beside_both(*args):
        both = scalars(*args)
        return both[used] + 0 * sum(both)

    alone = gradients(lambda *args: scalars(*args)[used], inputs)
    beside = gradients(beside_both, inputs)
    for actual, expected in zip(alone, beside, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@each_dtype
def test_memory_layout_does_not_matter(dtype):
    size = SIZES["ragged"]
    (rowptr, col), inputs = random_graph(size), random_inputs(size, dtype=dtype)
    function = lambda *args: edge_coefficients(*args, 1.0, rowptr, col, dtype)  # noqa: E731
    apart = lambda *args: edge_coefficients(  # noqa: E731
        *map(strided, args), 1.0, strided(rowptr), strided(col), dtype
    )
    for out, other in zip(function(*inputs), apart(*inputs), strict=True):
        assert torch.equal(out, other)
    for grad, other in zip(gradients(function, inputs), gradients(apart, inputs), strict=True):
        assert torch.equal(grad, other)


@each_dtype
def test_threads_do_not_change_a_bit(dtype):
    size = SIZES["several blocks"]
    graph, inputs = random_graph(size), random_inputs(size, dtype=dtype)
    function = lambda *args: edge_coefficients(*args, 1.0, *graph, dtype)  # noqa: E731
    assert_same_for_any_number_of_threads(
        lambda: [*function(*inputs), *gradients(function, inputs)]
    )


def test_gradients_are_not_differentiable_again():
    size = SIZES["ragged"]
    given = leaves(random_inputs(size))
    out = edge_coefficients(*given, 1.0, *random_graph(size), DOUBLE)[0].sum()
    message = r"^edge_coefficients is differentiable once \(got create_graph=True\); "
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(out, given, create_graph=True)


@each_dtype
def test_the_operator_is_registered_as_torch_expects(dtype):
    size = SIZES["ragged"]
    given = leaves(random_inputs(size, dtype=dtype))
    opcheck(torch.ops.tgh.edge_coefficients.default, (*given, 1.0, *random_graph(size), dtype))


def test_it_compiles():
    size = SIZES["ragged"]
    graph = random_graph(size)

    def function(*args):
        alpha, beta = edge_coefficients(*args, 1.0, *graph, DOUBLE)
        return alpha.tanh() + beta

    assert_compiles(function, random_inputs(size))


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_gradients_of_transposed_points_are_described_as_they_are():
    points = torch.rand(3, 20).t() / 2
    gap = 1 - points.double().square().sum(1, keepdim=True)
    rowptr, col = random_graph(Size(20, 20, 60))
    kept, grads = torch.rand(3, 60, dtype=torch.float64), torch.rand(2, 60)
    c = torch.ones((), dtype=torch.float64)
    given = (points, gap, points.clone(memory_format=torch.preserve_format), gap, c, 1.0)
    given = (*given, rowptr, col, kept, *grads, False)
    opcheck(torch.ops.tgh.edge_coefficients_backward.default, given)
