"""Sums of activated values of edges, against a loop over edges."""

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
    endpoints,
    gradients,
    leaves,
    random_terms,
    strided,
    values_of_edges,
)
from torch_geometric_hyperbolic.kernels import edge_sum
from torch_geometric_hyperbolic.kernels.edge_sum import edge_sum_reference
from torch_geometric_hyperbolic.typing import WITH_NUMBA

each_operator = pytest.mark.parametrize(
    "operator", [edge_sum, edge_sum_reference], ids=["fused", "reference"]
)
each_slope = pytest.mark.parametrize("slope", [1.0, 0.0, 0.2, -0.5])


def definition(*args):
    """``z`` where positive, ``slope z`` elsewhere, added to its target, in float64."""
    *terms, slope = args
    z = values_of_edges(*terms)
    out = [z.new_zeros(terms[0].size(1)) for _ in range(len(terms[0]))]
    for e, i, _ in endpoints(*terms[5:]):
        out[i] = out[i] + torch.where(z[e] > 0, z[e], slope * z[e])
    return torch.stack(out) if out else z.new_zeros(terms[0].shape)


@each_operator
@each_size
@each_dtype
@each_slope
def test_sums_are_those_of_a_loop_over_edges(operator, size, dtype, slope):
    terms = random_terms(size, 1 if slope == 0.2 else 5, dtype)
    out = operator(*terms, slope)
    assert out.dtype == dtype
    assert_rounded(out, definition(*terms, slope))
    assert not out[terms[5].diff() == 0].any()


@each_operator
@each_dtype
@each_slope
def test_gradients_are_those_of_the_loop(operator, dtype, slope):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 3, dtype)
    fixed = (rowptr, col, slope)
    expected = gradients(lambda *args: definition(*args, *fixed), [t.double() for t in inputs])
    actual = gradients(lambda *args: operator(*args, *fixed), inputs)
    for grad, exact, given in zip(actual, expected, inputs, strict=True):
        assert grad.dtype == given.dtype
        if operator is edge_sum and WITH_NUMBA:
            assert_rounded(grad, exact)
        else:
            torch.testing.assert_close(grad.double(), exact, rtol=1e-5, atol=1e-5)


@each_slope
def test_gradients_are_those_of_finite_differences(slope):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2)
    assert torch.autograd.gradcheck(
        lambda *args: edge_sum(*args, rowptr, col, slope), leaves(inputs)
    )


@pytest.mark.parametrize("size", [SIZES[name] for name in ("no edges", "no targets", "nothing")])
def test_without_edges_gradients_are_zero(size):
    *inputs, rowptr, col = random_terms(size, 3)
    grads = gradients(lambda *args: edge_sum(*args, rowptr, col, 0.0), inputs)
    for grad, given in zip(grads, inputs, strict=True):
        assert grad.shape == given.shape
        assert not grad.any()


@each_operator
def test_nan_stays_in_its_target_and_channel(operator):
    terms = random_terms(SIZES["ragged"])
    target = len(terms[0]) - 2
    terms[0][target, 2] = torch.nan
    out = operator(*terms, 0.0)
    assert out.isnan().nonzero().tolist() == [[target, 2]]


@each_dtype
def test_memory_layout_does_not_matter(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], dtype=dtype)
    function = lambda *args: edge_sum(*args, rowptr, col, 0.2)  # noqa: E731
    apart = lambda *args: edge_sum(  # noqa: E731
        *map(strided, args), strided(rowptr), strided(col), 0.2
    )
    assert torch.equal(function(*inputs), apart(*inputs))
    for grad, other in zip(gradients(function, inputs), gradients(apart, inputs), strict=True):
        assert torch.equal(grad, other)
    given = leaves(inputs)
    expanded = torch.autograd.grad(function(*given).sum(), given)  # the gradient has no strides
    ones = torch.ones_like(function(*given))
    for grad, other in zip(
        expanded, torch.autograd.grad(function(*given), given, ones), strict=True
    ):
        assert torch.equal(grad, other)


@each_dtype
def test_threads_do_not_change_a_bit(dtype):
    *inputs, rowptr, col = random_terms(SIZES["several blocks"], dtype=dtype)
    function = lambda *args: edge_sum(*args, rowptr, col, 0.2)  # noqa: E731
    assert_same_for_any_number_of_threads(lambda: [function(*inputs), *gradients(function, inputs)])


def test_gradients_are_not_differentiable_again():
    *inputs, rowptr, col = random_terms(SIZES["ragged"])
    given = leaves(inputs)
    out = edge_sum(*given, rowptr, col, 0.0).sum()
    message = r"^edge_sum is differentiable once \(got create_graph=True\); "
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(out, given, create_graph=True)


@each_dtype
def test_the_operator_is_registered_as_torch_expects(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2, dtype)
    opcheck(torch.ops.tgh.edge_sum.default, (*leaves(inputs), rowptr, col, 0.2))


def test_it_compiles():
    *inputs, rowptr, col = random_terms(SIZES["ragged"])
    assert_compiles(lambda *args: edge_sum(*args, rowptr, col, 0.2).tanh(), inputs)
