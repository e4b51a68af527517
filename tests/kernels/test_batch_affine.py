"""A batch norm's scale and shift against PyTorch's layer."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import assert_compiles, gradients
from torch_geometric_hyperbolic.kernels import batch_affine
from torch_geometric_hyperbolic.kernels.batch_affine import _batch_affine_backward
from torch_geometric_hyperbolic.typing import WITH_NUMBA

EPS = 1e-5


def inputs(rows: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias = torch.randn(rows, 4), torch.randn(4), torch.randn(4)
    x[:, 3] = 0.5  # without variance
    return x.double(), weight.double(), bias.double()


def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    sums = x.sum(0), x.square().sum(0)
    scale, shift, _, _ = batch_affine(*sums, weight, bias, len(x), EPS)
    return x * scale + shift


def by_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)


def test_values_and_gradients_are_those_of_a_batch_norm():
    given = inputs()
    torch.testing.assert_close(normed(*given), by_layer(*given), rtol=1e-9, atol=1e-9)
    # a channel without variance: rounding of its sums over sqrt(EPS)
    for actual, expected in zip(gradients(normed, given), gradients(by_layer, given), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def test_moments():
    x, weight, bias = inputs()
    sums = x.sum(0), x.square().sum(0)
    _, _, mean, variance = batch_affine(*sums, weight, bias, len(x), EPS)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(variance, x.var(0, correction=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_every_result_may_be_differentiated(which):
    # the last channel's variance would be negative, as by rounding, and is 0 instead
    sums = torch.tensor([3.0, -2.0, 5.0]), torch.tensor([9.0, 7.0, 1.0])
    given = [*sums, *torch.randn(2, 3)]
    given = [t.double().requires_grad_() for t in given]
    assert torch.autograd.gradcheck(lambda *t: batch_affine(*t, 5, 0.1)[which], given)


def test_weights_may_be_in_float32_and_it_compiles():
    total, squares = torch.randn(3).double(), 5 + torch.rand(3).double()
    weight, bias = torch.randn(2, 3)

    def function(total: Tensor, squares: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.stack(batch_affine(total, squares, weight, bias, 7, EPS))

    given = (total, squares, weight, bias)
    wide = function(total, squares, weight.double(), bias.double())
    assert torch.equal(function(*given), wide)
    assert [t.dtype for t in gradients(function, given)] == [t.dtype for t in given]
    assert_compiles(function, given)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_equal_and_extreme_values_are_those_of_plain_pytorch(eps):
    total = torch.tensor([3.0, 0.0, torch.nan, 5.0, 1e200, 0.0], dtype=torch.float64)
    squares = torch.tensor([30.0, 0.0, 1.0, 1.0, 1e300, torch.inf], dtype=torch.float64)
    given = (total, squares, *torch.randn(2, 6, dtype=torch.float64), 10, eps)
    expected = batch_affine._init_fn(*given)
    torch.testing.assert_close(batch_affine(*given), expected, rtol=1e-14, atol=0, equal_nan=True)
    backward, by = _batch_affine_backward, torch.randn(4, 6, dtype=torch.float64).unbind()
    given = (*expected[2:], given[2], *by, 10, eps)
    close = {"rtol": 1e-13, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(backward(*given), backward._init_fn(*given), **close)


def test_second_derivatives_are_refused():
    total = torch.randn(3).double().requires_grad_()
    out = batch_affine(total, 9 * torch.ones_like(total), total, total, 7, EPS)[0]
    with pytest.raises(RuntimeError, match=r"batch_affine .*differentiable once"):
        torch.autograd.grad(out.sum(), total, create_graph=True)


def test_the_operators_are_registered_as_torch_expects():
    plain = [t.double() for t in torch.rand(4, 3)]
    plain[1] += 9
    given = [t.clone().requires_grad_() for t in plain]
    opcheck(torch.ops.tgh.batch_affine.default, (*given, 7, EPS))
    grads = torch.randn(4, 3, dtype=torch.float64)
    opcheck(torch.ops.tgh.batch_affine_backward.default, (*plain[:3], *grads, 7, EPS))
