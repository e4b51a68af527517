"""Vectors on edges: what is made of them does not depend on whether they are stored."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.kernels.graphs import (
    SIZES,
    assert_same_for_any_number_of_threads,
    each_dtype,
    random_terms,
    values_of_edges,
)
from tests.kernels.test_local_coordinates import compiled, fused  # noqa: F401
from torch_geometric_hyperbolic.kernels import EdgeVectors, local_coordinates, window_lengths

OPERATORS = {
    "window_lengths": lambda v, rowptr: torch.cat([t.flatten() for t in window_lengths(v, rowptr)]),
    "local_coordinates": local_coordinates,
    "two axes": lambda v, rowptr: local_coordinates(v, rowptr, 2),
}
each_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def ragged(dtype: torch.dtype = torch.float64, channels: int = 5) -> tuple[EdgeVectors, Tensor]:
    """One graph without clouds: some nodes without edges, some edges twice."""
    _, *terms, rowptr, col = random_terms(SIZES["ragged"], channels, dtype)
    return EdgeVectors(*terms, col), rowptr


def clouds(dtype: torch.dtype = torch.float64) -> tuple[EdgeVectors, Tensor]:
    """Five graphs that share no nodes, the second without edges."""
    sizes, nodes = [3, 0, 2, 3, 1], torch.arange(25).view(5, 5)
    double = {"dtype": torch.float64}
    col, counts = [], []
    for cloud, size in zip(nodes, sizes, strict=True):
        for _ in cloud:
            col.append(cloud[torch.randint(0, 5, (size,))])
            counts.append(size)
    edges = sum(counts)
    terms = (torch.randn(25, 4, **double), torch.randn(25, 4, **double))
    scalars = (torch.rand(edges, dtype=dtype) + 0.5, torch.rand(edges, dtype=dtype))
    rowptr = torch.tensor([0, *counts]).cumsum(0)
    return EdgeVectors(*terms, *scalars, torch.cat(col).int()), rowptr


GRAPHS = {"one graph": ragged, "clouds": clouds}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def gradients(function: Callable[..., Tensor], v: EdgeVectors) -> tuple[Tensor, ...]:
    leaves = [term.clone().requires_grad_() for term in v[:4]]
    return torch.autograd.grad(function(*leaves).sin().sum(), leaves)


def stored(terms: tuple[Tensor, ...], v: EdgeVectors, rowptr: Tensor) -> Tensor:
    """Each vector by its definition, in float64."""
    none = torch.zeros_like(terms[0])
    return values_of_edges(none, *(term.double() for term in terms), rowptr, v.col)


@each_graph
def test_values_are_those_of_the_definition(graph):
    v, rowptr = graph()
    torch.testing.assert_close(v.values(rowptr), stored(v[:4], v, rowptr))


def test_stored_vectors_are_themselves():
    v, rowptr = torch.randn(5, 3), torch.tensor([0, 2, 2, 5])
    assert torch.equal(EdgeVectors.stored(v, rowptr).values(rowptr).float(), v)


@each_operator
@each_graph
@each_dtype
def test_operators_do_not_ask_whether_they_are_stored(fused, operator, graph, dtype):  # noqa: F811
    v, rowptr = graph(dtype)
    out = operator(v, rowptr).double()
    expected = operator(stored(v[:4], v, rowptr), rowptr)
    close = {"atol": 1e-12, "rtol": 1e-12} if dtype == torch.float64 else {}
    torch.testing.assert_close(out, expected.to(dtype).double(), **close)


@each_operator
@each_graph
def test_gradients_reach_what_they_are_made_of(fused, operator, graph):  # noqa: F811
    v, rowptr = graph()
    actual = gradients(lambda *t: operator(EdgeVectors(*t, v.col), rowptr), v)
    expected = gradients(lambda *t: operator(stored(t, v, rowptr), rowptr), v)
    for grad, exact in zip(actual, expected, strict=True):
        torch.testing.assert_close(grad, exact, atol=1e-10, rtol=1e-10)


@compiled
@each_operator
@each_graph
def test_threads_do_not_change_a_bit(operator, graph):
    v, rowptr = graph()
    assert_same_for_any_number_of_threads(
        lambda: [
            operator(v, rowptr),
            *gradients(lambda *t: operator(EdgeVectors(*t, v.col), rowptr), v),
        ]
    )
