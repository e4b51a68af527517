"""Largest values of edges and moments of all, against a loop over edges."""

from itertools import combinations

import pytest
import torch
from torch.library import opcheck

from tests.kernels.graphs import (
    SIZES,
    assert_compiles,
    assert_rounded,
    assert_same_for_any_number_of_threads,
    each_dtype,
    each_size,
    gradients,
    leaves,
    random_terms,
    strided,
    values_of_edges,
)
from torch_geometric_hyperbolic.kernels import edge_max
from torch_geometric_hyperbolic.kernels.edge_max import edge_max_reference
from torch_geometric_hyperbolic.typing import WITH_NUMBA

each_operator = pytest.mark.parametrize(
    "operator", [edge_max, edge_max_reference], ids=["fused", "reference"]
)


def random_signs(channels):
    return torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(channels)[:channels]


def definition(*args):
    """The chosen values, the edges they come from, and both moments, in float64."""
    *terms, sign = args
    rowptr = terms[5].tolist()
    z = values_of_edges(*terms)
    targets, channels = terms[0].shape
    chosen = [[z.new_zeros(()) for _ in range(channels)] for _ in range(targets)]
    edge = torch.full((targets, channels), -1, dtype=torch.int32)
    for i in range(targets):
        for k in range(channels):
            for e in range(rowptr[i], rowptr[i + 1]):
                value, best = z[e, k], chosen[i][k]
                if edge[i, k] < 0 or not (best.isnan() or sign[k] * value <= sign[k] * best):
                    chosen[i][k], edge[i, k] = value, e
    chosen = torch.stack([x for row in chosen for x in row]) if targets else z.new_zeros(0)
    return chosen.view(targets, channels), edge, z.sum(0), z.square().sum(0)


def by_hand(z, sign, counts, dtype=torch.float64):
    """The terms of edges that have these values, ``[E, F]``: sources have them, targets 0."""
    z = torch.tensor(z, dtype=torch.float64)
    targets, channels = len(counts), z.size(1)
    zeros = torch.zeros(targets, channels, dtype=torch.float64)
    alpha = torch.ones(len(z), dtype=dtype)
    rowptr = torch.tensor([0, *counts]).cumsum(0)
    col = torch.arange(len(z), dtype=torch.int32)
    signs = torch.full((channels,), float(sign), dtype=torch.float64)
    return zeros.to(dtype), zeros, z, alpha, torch.zeros_like(alpha), rowptr, col, signs


@each_operator
@each_size
@each_dtype
@pytest.mark.parametrize("channels", [1, 4])
def test_results_are_those_of_a_loop_over_edges(operator, size, dtype, channels):
    if size.targets > 100 and channels > 1:
        channels = 2
    args = (*random_terms(size, channels, dtype), random_signs(channels))
    z, edge, total, squares = operator(*args)
    expected = definition(*args)
    assert (z.dtype, edge.dtype, total.dtype) == (dtype, torch.int32, torch.float64)
    assert torch.equal(edge, expected[1])
    assert_rounded(z, expected[0])
    assert_rounded(total, expected[2])
    assert_rounded(squares, expected[3])
    assert not z[edge < 0].any()


@each_operator
@each_dtype
@pytest.mark.parametrize("size", [SIZES["ragged"], SIZES["one edge"]], ids=["ragged", "one edge"])
@pytest.mark.parametrize("results", [4, 1], ids=["with moments", "alone"])
def test_gradients_are_those_of_the_loop(operator, size, results, dtype):
    *inputs, rowptr, col = random_terms(size, 3, dtype)
    fixed = (rowptr, col, random_signs(3))
    exactly = lambda *args: definition(*args, *fixed)[:results]  # noqa: E731
    expected = gradients(exactly, [t.double() for t in inputs])
    actual = gradients(lambda *args: operator(*args, *fixed)[:results], inputs)
    for grad, exact, given in zip(actual, expected, inputs, strict=True):
        assert grad.dtype == given.dtype
        if operator is edge_max and WITH_NUMBA:
            assert_rounded(grad, exact)
        else:
            torch.testing.assert_close(grad.double(), exact, rtol=1e-5, atol=1e-5)


@each_operator
def test_gradients_are_those_of_finite_differences(operator):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2)
    sign = random_signs(2)

    def function(*args):
        z, _, total, squares = operator(*args, rowptr, col, sign)
        return z, total, squares

    assert torch.autograd.gradcheck(function, leaves(inputs))


@each_operator
@pytest.mark.parametrize("used", [0, 1, 2])
def test_results_that_are_not_used_count_for_nothing(operator, used):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 3)

    def results(*args):
        z, _, total, squares = operator(*args, rowptr, col, random_signs(3))
        return z, total, squares

    def beside_all(*args):
        all_of_them = results(*args)
        return all_of_them[used] + 0 * sum(map(sum, all_of_them))

    alone = gradients(lambda *args: results(*args)[used], inputs)
    beside = gradients(beside_all, inputs)
    for actual, expected in zip(alone, beside, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [SIZES[name] for name in ("no edges", "no targets", "nothing")])
def test_without_edges_gradients_are_zero(size):
    *inputs, rowptr, col = random_terms(size, 3)
    grads = gradients(lambda *args: edge_max(*args, rowptr, col, random_signs(3)), inputs)
    for grad, given in zip(grads, inputs, strict=True):
        assert grad.shape == given.shape
        assert not grad.any()


@each_operator
@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_of_equals_is_chosen_and_gets_the_gradient(operator, sign):
    values = [[0.0], [2.0], [-2.0], [2.0], [-2.0], [1.0], [1.0]]
    args = list(by_hand(values, sign, [5, 0, 2]))
    args[2].requires_grad_()
    z, edge, _, _ = operator(*args)
    assert z[:, 0].tolist() == [2.0 * sign, 0.0, 1.0]
    assert edge[:, 0].tolist() == [1 if sign > 0 else 2, -1, 5]
    (grad,) = torch.autograd.grad(z.sum(), args[2])
    assert grad.nonzero()[:, 0].tolist() == [edge[0, 0], 5]


@each_operator
@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_of_equals_is_chosen_wherever_they_are(operator, sign):
    """A column for every pair of places."""
    pairs = list(combinations(range(9), 2))
    values = [[2.0 * sign if e in pair else e % 2 - 1.0 for pair in pairs] for e in range(9)]
    _, edge, _, _ = operator(*by_hand(values, sign, [9]))
    assert edge[0].tolist() == [first for first, _ in pairs]


@each_operator
@each_dtype
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("place", [0, 1, 3, 4, 7, 8, 10])
def test_nan_stays_visible_where_it_is(operator, dtype, sign, place):
    values = torch.randn(12, 2).tolist()
    values[place][1] = torch.nan
    z, edge, total, squares = operator(*by_hand(values, sign, [11, 1], dtype))
    assert z.isnan().tolist() == [[False, True], [False, False]]
    assert edge[0, 1] == place
    assert total.isnan().tolist() == squares.isnan().tolist() == [False, True]
    others = [sign * row[0] for row in values]
    best = torch.tensor([sign * max(others[:11]), sign * others[11]], dtype=dtype)
    assert torch.equal(z[:, 0], best)


@each_operator
@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_nan_is_chosen(operator, sign):
    values = [[1.0], [torch.nan], [5.0], [torch.nan]]
    z, edge, _, _ = operator(*by_hand(values, sign, [4]))
    assert z.isnan().all()
    assert edge.item() == 1


@each_operator
@pytest.mark.parametrize("sign", [1, -1])
def test_infinite_values_are_values(operator, sign):
    worst = -sign * torch.inf
    values = [[worst], [worst], [1.0], [worst], [worst], [worst]]
    z, edge, _, _ = operator(*by_hand(values, sign, [2, 2, 2]))
    assert z[:, 0].tolist() == [worst, 1.0, worst]
    assert edge[:, 0].tolist() == [0, 2, 4]  # edges of their own, which get the gradients


@each_dtype
def test_memory_layout_does_not_matter(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 4, dtype)
    sign = random_signs(4)
    function = lambda *args: edge_max(*args, rowptr, col, sign)  # noqa: E731
    apart = lambda *args: edge_max(  # noqa: E731
        *map(strided, args), strided(rowptr), strided(col), strided(sign)
    )
    for out, other in zip(function(*inputs), apart(*inputs), strict=True):
        assert torch.equal(out, other)
    for grad, other in zip(gradients(function, inputs), gradients(apart, inputs), strict=True):
        assert torch.equal(grad, other)


@each_dtype
def test_threads_do_not_change_a_bit(dtype):
    *inputs, rowptr, col = random_terms(SIZES["several blocks"], dtype=dtype)
    function = lambda *args: edge_max(*args, rowptr, col, random_signs(5))  # noqa: E731
    alone = lambda *args: function(*args)[:1]  # noqa: E731
    assert_same_for_any_number_of_threads(
        lambda: [*function(*inputs), *gradients(function, inputs), *gradients(alone, inputs)]
    )


def test_gradients_are_not_differentiable_again():
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 4)
    given = leaves(inputs)
    out = edge_max(*given, rowptr, col, random_signs(4))[0].sum()
    message = r"^edge_max is differentiable once \(got create_graph=True\); "
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(out, given, create_graph=True)


@each_dtype
def test_the_operator_is_registered_as_torch_expects(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2, dtype)
    opcheck(torch.ops.tgh.edge_max.default, (*leaves(inputs), rowptr, col, random_signs(2)))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_it_compiles(backend):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 4)

    def function(*args):
        z, edge, total, squares = edge_max(*args, rowptr, col, random_signs(4))
        scale = (squares / len(col) - (total / len(col)).square()).rsqrt()
        return torch.where(edge >= 0, torch.relu(z * scale), 0.0)

    assert_compiles(function, inputs, backend)
