"""Rows of Gram matrices, one product at a time."""

import pytest
import torch
from torch.library import opcheck

from tests.kernels.test_local_coordinates import compiled, fused, windows  # noqa: F401
from torch_geometric_hyperbolic.kernels import EdgeVectors, gram_rows
from torch_geometric_hyperbolic.kernels.gram_rows import _gram_rows


@pytest.mark.parametrize("n", [1, 3, 6])
def test_it_is_the_products_within_the_window(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    expected = []
    for start, stop in zip(rowptr.tolist()[:-1], rowptr.tolist()[1:], strict=True):
        for j in range(start, stop):
            row = [float(v[j] @ v[k]) for k in range(start, stop)]
            mean, square = sum(row) / len(row), sum(p**2 for p in row) / len(row)
            expected.append([row[j - start], mean, square])
    torch.testing.assert_close(gram_rows(v, rowptr), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 3])
def test_gradients_are_those_of_finite_differences(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    assert torch.autograd.gradcheck(lambda v: gram_rows(v, rowptr), v.requires_grad_())


def test_nothing_in_nothing_out(fused):  # noqa: F811
    v, rowptr = windows(3, [0, 0])
    assert gram_rows(v, rowptr).shape == (0, 3)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_proper_operator(dtype):
    v, rowptr = windows(3)
    opcheck(_gram_rows, (*EdgeVectors.stored(v.to(dtype).requires_grad_(), rowptr), rowptr))


@compiled
def test_second_derivatives_are_refused():
    v, rowptr = windows(3)
    out = gram_rows(v.requires_grad_(), rowptr)
    with pytest.raises(RuntimeError, match="gram_rows is once differentiable"):
        torch.autograd.grad(out.sum(), v, create_graph=True)


def test_long_vectors_of_float32_do_not_overflow(fused):  # noqa: F811
    v, rowptr = windows(3)
    long = (1e10 * v).float().requires_grad_()
    out = gram_rows(long, rowptr)
    assert out.dtype == torch.float64
    (grad,) = torch.autograd.grad(out.abs().sqrt().sum(), long)
    assert out.isfinite().all() and grad.isfinite().all()
