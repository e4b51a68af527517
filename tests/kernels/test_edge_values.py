"""Values of edges against their formula, one edge at a time."""

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
from torch_geometric_hyperbolic.kernels import edge_values
from torch_geometric_hyperbolic.kernels._autograd import sum_in_order
from torch_geometric_hyperbolic.kernels.edge_values import edge_values_reference


@each_size
@each_dtype
@pytest.mark.parametrize("channels", [1, 5])
def test_values_are_those_of_the_formula(size, dtype, channels):
    terms = random_terms(size, channels, dtype)
    out = edge_values(*terms)
    expected = values_of_edges(*terms)
    assert out.dtype == dtype
    assert_rounded(out, expected)
    assert_rounded(edge_values_reference(*terms)[1], expected)


def test_the_reference_also_tells_the_targets():
    *_, rowptr, col = terms = random_terms(SIZES["ragged"])
    expected = [i for _, i, _ in endpoints(rowptr, col)]
    assert edge_values_reference(*terms)[0].tolist() == expected


@each_size
@each_dtype
def test_gradients_are_those_of_the_formula(size, dtype):
    *inputs, rowptr, col = random_terms(size, 3, dtype)
    if not size.edges:
        grads = gradients(lambda *args: edge_values(*args, rowptr, col), inputs)
        assert not any(grad.any() for grad in grads)
        return
    expected = gradients(
        lambda *args: values_of_edges(*args, rowptr, col), [t.double() for t in inputs]
    )
    actual = gradients(lambda *args: edge_values(*args, rowptr, col), inputs)
    for grad, exact, given in zip(actual, expected, inputs, strict=True):
        assert grad.dtype == given.dtype
        assert_rounded(grad, exact)


def test_gradients_are_those_of_finite_differences():
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2)
    assert torch.autograd.gradcheck(lambda *args: edge_values(*args, rowptr, col), leaves(inputs))


@each_dtype
def test_memory_layout_does_not_matter(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], dtype=dtype)
    function = lambda *args: edge_values(*args, rowptr, col)  # noqa: E731
    apart = lambda *args: edge_values(  # noqa: E731
        *map(strided, args), strided(rowptr), strided(col)
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


def test_threads_do_not_change_a_bit():
    *inputs, rowptr, col = random_terms(SIZES["several blocks"], dtype=torch.float32)
    function = lambda *args: edge_values(*args, rowptr, col)  # noqa: E731
    assert_same_for_any_number_of_threads(lambda: [function(*inputs), *gradients(function, inputs)])


def test_gradients_are_not_differentiable_again():
    *inputs, rowptr, col = random_terms(SIZES["ragged"])
    given = leaves(inputs)
    out = edge_values(*given, rowptr, col).sum()
    message = r"^edge_values is differentiable once \(got create_graph=True\); "
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(out, given, create_graph=True)


def test_the_inputs_are_left_alone():
    terms = random_terms(SIZES["ragged"])
    before = [t.clone() for t in terms]
    gradients(lambda *args: edge_values(*args, *terms[5:]), terms[:5])
    assert all(torch.equal(t, b) for t, b in zip(terms, before, strict=True))


@each_dtype
def test_the_operator_is_registered_as_torch_expects(dtype):
    *inputs, rowptr, col = random_terms(SIZES["ragged"], 2, dtype)
    opcheck(torch.ops.tgh.edge_values.default, (*leaves(inputs), rowptr, col))


def test_it_compiles():
    *inputs, rowptr, col = random_terms(SIZES["ragged"])
    assert_compiles(lambda *args: edge_values(*args, rowptr, col).tanh().sum(0), inputs)


@pytest.mark.filterwarnings("error")
def test_sums_overflow_without_a_warning():
    """As PyTorch's do: the numbers tell."""
    parts = torch.tensor([[3e38, torch.inf], [3e38, -torch.inf]])
    total = sum_in_order(parts)
    assert total[0] == torch.inf
    assert total[1].isnan()
