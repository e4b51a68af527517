"""Mean squares of the rows of Gram matrices, one product at a time."""

import pytest
import torch
from torch.library import opcheck

from tests.kernels.test_local_coordinates import compiled, fused, windows  # noqa: F401
from torch_geometric_hyperbolic.kernels import gram_squares
from torch_geometric_hyperbolic.kernels.gram_squares import _gram_squares


@pytest.mark.parametrize("n", [1, 3, 6])
def test_it_is_the_mean_square_of_products_within_the_window(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    expected = []
    for start, stop in zip(rowptr.tolist()[:-1], rowptr.tolist()[1:], strict=True):
        for j in range(start, stop):
            squares = [float(v[j] @ v[k]) ** 2 for k in range(start, stop)]
            expected.append(sum(squares) / len(squares))
    torch.testing.assert_close(gram_squares(v, rowptr), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 3])
def test_gradients_are_those_of_finite_differences(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    assert torch.autograd.gradcheck(lambda v: gram_squares(v, rowptr), v.requires_grad_())


def test_nothing_in_nothing_out(fused):  # noqa: F811
    v, rowptr = windows(3, [0, 0])
    assert gram_squares(v, rowptr).shape == (0,)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_proper_operator(dtype):
    v, rowptr = windows(3)
    opcheck(_gram_squares, (v.to(dtype).requires_grad_(), rowptr))


@compiled
def test_second_derivatives_are_refused():
    v, rowptr = windows(3)
    out = gram_squares(v.requires_grad_(), rowptr)
    with pytest.raises(RuntimeError, match="gram_squares is once differentiable"):
        torch.autograd.grad(out.sum(), v, create_graph=True)
