"""Largest values of linear functions of edges, against a loop over windows."""

import sys

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import assert_compiles, assert_same_for_any_number_of_threads, each_dtype
from tests.kernels.test_local_coordinates import compiled, fused, offsets  # noqa: F401
from torch_geometric_hyperbolic.kernels import linear_max
from torch_geometric_hyperbolic.kernels.linear_max import _linear_max
from torch_geometric_hyperbolic.typing import WITH_NUMBA

SIZES = [3, 0, 2, 1, 9, 0, 0, 4]
MODULE = sys.modules["torch_geometric_hyperbolic.kernels.linear_max"]
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.float64: {"atol": 1e-12, "rtol": 1e-12}}


@pytest.fixture(params=[(1, 1), (3, 2), (128, 256)], autouse=True)
def part(request, monkeypatch):
    """Windows of a part and edges of a block: one, a few with a rest, all."""
    for name, value in zip(("PART", "MOST"), request.param, strict=True):
        monkeypatch.setattr(MODULE, name, value)
    monkeypatch.setattr(MODULE, "FEWEST", 1)


def terms(
    sizes: list[int] = SIZES, channels: int = 5, width: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    """A, d, W, the windows' offsets and signs."""
    shapes = (len(sizes), channels), (sum(sizes), width), (channels, width)
    numbers = [torch.randn(shape, dtype=dtype) for shape in shapes]
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(channels)[:channels]
    return *numbers, offsets(sizes), sign


def definition(absolute, given, weight, rowptr, sign):
    chosen, edges = torch.zeros_like(absolute), torch.full(absolute.shape, -1, dtype=torch.int32)
    total, squares = absolute.new_zeros(2, absolute.size(1))
    for i, (start, stop) in enumerate(zip(rowptr.tolist()[:-1], rowptr.tolist()[1:], strict=True)):
        z = absolute[i] + given[start:stop] @ weight.t()
        total, squares = total + z.sum(0), squares + z.square().sum(0)
        if stop > start:
            best = (sign * z).argmax(0)
            chosen = chosen.index_put((torch.tensor(i),), z.gather(0, best[None])[0])
            edges[i] = best + start
    return chosen, edges, total, squares


def gradients(function, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    z, _, total, squares = function(*leaves)
    return torch.autograd.grad(z.sin().sum() + total.cos().sum() + squares.sum(), leaves)


@each_dtype
@pytest.mark.parametrize("width", [1, 3, 6])
def test_results_are_those_of_a_loop_over_windows(fused, dtype, width):  # noqa: F811
    given = terms(width=width, dtype=dtype)
    z, edge, total, squares = linear_max(*given)
    expected = definition(*(t.double() if t.is_floating_point() else t for t in given))
    assert (z.dtype, edge.dtype, total.dtype) == (dtype, torch.int32, torch.float64)
    assert torch.equal(edge, expected[1])
    for actual, exact in zip((z, total, squares), (expected[0], *expected[2:]), strict=True):
        torch.testing.assert_close(actual.double(), exact, **CLOSE[dtype])


@each_dtype
def test_gradients_are_those_of_the_loop(fused, dtype):  # noqa: F811
    *inputs, rowptr, sign = terms(dtype=dtype)
    expected = gradients(lambda *t: definition(*t, rowptr, sign), [t.double() for t in inputs])
    actual = gradients(lambda *t: linear_max(*t, rowptr, sign), inputs)
    for grad, exact in zip(actual, expected, strict=True):
        assert grad.dtype == dtype
        torch.testing.assert_close(grad.double(), exact, rtol=1e-4, atol=1e-4)
        if dtype == torch.float64:
            torch.testing.assert_close(grad, exact, **CLOSE[dtype])


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0]])
def test_without_edges_nothing_is_chosen(fused, sizes):  # noqa: F811
    *inputs, rowptr, sign = terms(sizes)
    z, edge, total, squares = linear_max(*inputs, rowptr, sign)
    assert z.shape == edge.shape == (len(sizes), 5)
    assert not z.any() and (edge == -1).all() and not total.any() and not squares.any()
    for grad in gradients(lambda *t: linear_max(*t, rowptr, sign), inputs):
        assert not grad.any()


def test_the_first_of_equals_is_chosen_and_gets_the_gradient(fused):  # noqa: F811
    values = torch.tensor([[1.0], [2.0], [2.0], [5.0], [5.0]], dtype=torch.float64)
    one, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    given = values.requires_grad_()
    z, edge, _, _ = linear_max(none, given, one, offsets([3, 2]), one[0])
    assert edge[:, 0].tolist() == [1, 3]
    (grad,) = torch.autograd.grad(z.sum(), given)
    assert grad[:, 0].tolist() == [0, 1, 0, 1, 0]


def test_infinite_values_are_values(fused):  # noqa: F811
    values = torch.tensor([[1.0], [-torch.inf], [-torch.inf], [-torch.inf]], dtype=torch.float64)
    one, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    z, edge, _, _ = linear_max(none, values, one, offsets([2, 2]), one[0])
    assert z[:, 0].tolist() == [1.0, -torch.inf]
    assert edge[:, 0].tolist() == [0, 2]


def test_nan_stays_visible_where_it_is(fused):  # noqa: F811
    absolute, given, weight, rowptr, sign = terms()
    given[1] = torch.nan
    z, edge, total, _ = linear_max(absolute, given, weight, rowptr, sign)
    assert z[0].isnan().all() and z[1:].isfinite().all()
    assert (edge[0] == 1).all()
    assert total.isnan().all()


def test_memory_layout_does_not_matter(fused):  # noqa: F811
    absolute, given, weight, rowptr, sign = terms()
    apart = [t.t().contiguous().t() for t in (absolute, given, weight)]
    for out, other in zip(
        linear_max(absolute, given, weight, rowptr, sign),
        linear_max(*apart, rowptr, sign),
        strict=True,
    ):
        torch.testing.assert_close(out, other)


@compiled
def test_threads_do_not_change_a_bit():
    *inputs, rowptr, sign = terms([7] * 300)
    function = lambda *t: linear_max(*t, rowptr, sign)  # noqa: E731
    assert_same_for_any_number_of_threads(
        lambda: [*function(*inputs), *gradients(function, inputs)]
    )


@compiled
@pytest.mark.parametrize("parts", [1, 3])
def test_the_gradient_of_the_weight_is_summed_over_all_parts(parts, monkeypatch):
    monkeypatch.setattr(MODULE, "PARTS", parts)
    *inputs, rowptr, sign = terms()
    expected = gradients(lambda *t: definition(*t, rowptr, sign), inputs)
    actual = gradients(lambda *t: linear_max(*t, rowptr, sign), inputs)
    torch.testing.assert_close(actual, expected, **CLOSE[torch.float64])


@compiled
def test_products_are_not_made_in_lower_precision():
    *inputs, rowptr, sign = terms(dtype=torch.float32)
    exact = linear_max(*inputs, rowptr, sign)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for out, other in zip(linear_max(*inputs, rowptr, sign), exact, strict=True):
            assert torch.equal(out, other)


@compiled
@each_dtype
def test_it_is_a_proper_operator(dtype):
    *inputs, rowptr, sign = terms(dtype=dtype)
    opcheck(_linear_max, (*(t.requires_grad_() for t in inputs), rowptr, sign))


@compiled
def test_second_derivatives_are_refused():
    *inputs, rowptr, sign = terms()
    z, *_ = linear_max(inputs[0].requires_grad_(), *inputs[1:], rowptr, sign)
    with pytest.raises(RuntimeError, match="linear_max is differentiable once"):
        torch.autograd.grad(z.sum(), inputs[0], create_graph=True)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_it_compiles():
    *inputs, rowptr, sign = terms()

    def function(*given):
        z, edge, total, squares = linear_max(*given, rowptr, sign)
        return torch.where(edge >= 0, torch.relu(z * (squares - total).cos()), 0.0)

    assert_compiles(function, inputs, "aot_eager")
