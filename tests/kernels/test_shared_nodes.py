"""Targets that are the sources: one tensor in both places gets the sum of both gradients."""

import pytest
import torch
from torch.library import opcheck

from tests.kernels.graphs import (
    Size,
    assert_compiles,
    assert_same_for_any_number_of_threads,
    clouds,
    each_dtype,
    leaves,
    random_graph,
    random_terms,
)
from torch_geometric_hyperbolic.kernels import edge_coefficients, edge_max, edge_sum, edge_values
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu.graphs import cloud_cuts

DOUBLE = torch.float64


GRAPHS = {
    "ragged": lambda: random_graph(Size(9, 9, 40)),
    "without edges": lambda: random_graph(Size(3, 3, 0)),
    "empty": lambda: random_graph(Size(0, 0, 0)),
    "clouds": lambda: clouds(5, 8, 3),
    "sources are targets of the next cloud": lambda: clouds(5, 8, 3, shift=4),
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def of_edges(operator):
    """A, R, alpha and beta and a function of them and R again, on a graph."""

    def case(rowptr, col, dtype):
        nodes, edges = len(rowptr) - 1, len(col)
        absolute, _, relative, alpha, beta, *_ = random_terms(Size(nodes, nodes, edges), 5, dtype)

        def function(relative_i, relative_j, *others):
            absolute, alpha, beta = others
            out = operator(absolute, relative_i, relative_j, alpha, beta, rowptr, col)
            return out.double().square().sum() + out.sum()

        return function, [relative], [absolute, alpha, beta]

    return case


def scalars(rowptr, col, dtype):
    """Points and their gaps, c, and a function of them and of points and gaps again."""
    points = torch.rand(len(rowptr) - 1, 3, dtype=dtype) / 2
    gap = 1 - points.double().square().sum(1, keepdim=True)

    def function(points_i, gap_i, points_j, gap_j, c):
        given = (points_i, gap_i, points_j, gap_j, c, 2.0, rowptr, col, dtype)
        alpha, beta = edge_coefficients(*given)
        return alpha.double().square().sum() + beta.sum()

    return function, [points, gap], [torch.tensor(0.7, dtype=DOUBLE)]


def all_that_max_returns(*terms):
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=DOUBLE)
    z, _, total, squares = edge_max(*terms, sign)
    return torch.cat([z.flatten().double(), total, squares / 10])


CASES = {
    "max": of_edges(all_that_max_returns),
    "max alone": of_edges(lambda *terms: all_that_max_returns(*terms)[:-10]),
    "sum": of_edges(lambda *terms: edge_sum(*terms, 0.2)),
    "values": of_edges(edge_values),
    "coefficients": scalars,
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def shared(function, count):
    """The function where its first ``count`` tensors are those of targets and of sources."""
    return lambda *given: function(*given[:count], *given)


def gradients_of_shared(function, nodes, others):
    given = leaves([*nodes, *others])
    return torch.autograd.grad(shared(function, len(nodes))(*given), given)


@each_case
@each_graph
@each_dtype
def test_the_gradient_is_the_sum_of_both(case, graph, dtype):
    function, nodes, others = case(*graph(), dtype)
    actual = gradients_of_shared(function, nodes, others)
    ends = [*leaves(nodes), *leaves(nodes), *leaves(others)]
    apart = torch.autograd.grad(function(*ends), ends)
    count = len(nodes)
    of_targets, of_sources, rest = apart[:count], apart[count : 2 * count], apart[2 * count :]
    both = [a + b for a, b in zip(of_targets, of_sources, strict=True)]
    for grad, expected in zip(actual, [*both, *rest], strict=True):
        assert grad.dtype == expected.dtype and grad.shape == expected.shape
        # float32 is rounded for both summands, for their sum and for the whole, of up to twice
        # their size: by (1 + 1 + 2 + 2) eps / 2; float64 is summed in another order
        tolerance = 3 * torch.finfo(torch.float32).eps if grad.dtype == torch.float32 else 1e-13
        scale = max(t.abs().max().item() for t in apart if t.numel()) if expected.numel() else 1
        torch.testing.assert_close(grad, expected, rtol=0, atol=tolerance * scale)


@each_case
def test_a_detached_tensor_gets_none_of_it(case):
    function, nodes, others = case(*GRAPHS["clouds"](), DOUBLE)
    ends = [*leaves(nodes), *leaves(nodes)]
    expected = torch.autograd.grad(function(*ends, *others), ends[: len(nodes)])
    nodes = leaves(nodes)
    detached = [t.detach() for t in nodes]
    actual = torch.autograd.grad(function(*nodes, *detached, *others), nodes)
    for grad, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-13, atol=1e-13)


@each_case
def test_gradients_are_those_of_finite_differences(case):
    function, nodes, others = case(*GRAPHS["ragged"](), DOUBLE)
    given = leaves([*nodes, *others])
    assert torch.autograd.gradcheck(shared(function, len(nodes)), given)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
@each_case
@pytest.mark.parametrize("shift", [0, 100])
def test_threads_do_not_change_a_bit(case, shift):
    function, nodes, others = case(*clouds(8, 200, 30, shift), torch.float32)
    assert_same_for_any_number_of_threads(lambda: gradients_of_shared(function, nodes, others))


@each_case
def test_it_compiles(case):
    function, nodes, others = case(*GRAPHS["clouds"](), DOUBLE)
    assert_compiles(shared(function, len(nodes)), [*nodes, *others])


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
@pytest.mark.parametrize("same", [True, False], ids=["shared", "apart"])
@each_dtype
def test_backward_operators_describe_what_they_return(same, dtype):
    absolute, relative, _, alpha, beta, rowptr, col = random_terms(Size(9, 9, 40), 5, dtype)
    terms = (absolute, relative, relative, alpha, beta, rowptr, col)
    grad, moment = torch.randn_like(absolute), torch.randn(5, dtype=DOUBLE)
    edge = torch.zeros(9, 5, dtype=torch.int32)
    operators = torch.ops.tgh
    for moments in (True, False):
        of_max = (*terms, edge, grad, moment, moment, same, moments)
        opcheck(operators.edge_max_backward.default, of_max)
    opcheck(operators.edge_sum_backward.default, (*terms, 0.2, grad, same))
    of_values = torch.randn(40, 5, dtype=dtype)
    opcheck(operators.edge_values_backward.default, (*terms, of_values, same))
    nodes = (absolute / 9, (absolute[:, :1].double() / 9).exp())
    c, kept = torch.ones((), dtype=DOUBLE), torch.rand(3, 40, dtype=DOUBLE)
    given = (*nodes, *nodes, c, 2.0, rowptr, col, kept, alpha, beta, same)
    opcheck(operators.edge_coefficients_backward.default, given)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_graphs_are_cut_where_no_thread_writes_the_rows_of_another():
    rowptr, col = clouds(5, 8, 30)
    cuts = lambda col, shared: cloud_cuts(rowptr.numpy(), col.numpy(), 40, shared).tolist()  # noqa: E731
    assert cuts(col, True) == cuts(col, False) == [0, 8, 16, 24, 32, 40]
    _, further = clouds(5, 8, 30, shift=4)
    assert cuts(further, False) == [0, 8, 16, 24, 32, 40]
    assert cuts(further, True) == [0, 40]
    before = (col - 4).clamp(min=0)
    assert cuts(before, False) == [0, 8, 16, 24, 32, 40]
    assert cuts(before, True) == [0, 40]
