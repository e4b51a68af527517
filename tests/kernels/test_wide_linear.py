"""A product in float64, its gradients, blocks, threads and limits."""

import importlib

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from torch_geometric_hyperbolic.kernels import set_fused, wide_linear
from torch_geometric_hyperbolic.typing import WITH_NUMBA

MODULE = importlib.import_module("torch_geometric_hyperbolic.kernels.wide_linear")
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def inputs(rows: int, channels: int, out: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    x, weight = torch.randn(rows, channels), torch.randn(out, channels)
    return [t.to(dtype).requires_grad_() for t in (x, weight)]


@each_dtype
@pytest.mark.parametrize(
    "shape", [(7, 3, 5), (0, 3, 5), (1, 1, 1), (3000, 16, 16), (50, 200, 300), (40, 128, 128)]
)
def test_it_is_the_product_in_float64(shape, dtype):
    """The weight of the last but one is larger than a block may take."""
    x, weight = inputs(*shape, dtype)
    out = wide_linear(x, weight)
    assert out.dtype == torch.float64
    exact = x.double() @ weight.double().t()
    # sums of n products in any order
    bound = shape[1] * 2**-52 * (x.double().abs() @ weight.double().abs().t())
    assert ((out - exact).abs() <= bound).all()

    pull = torch.randn_like(out)
    d_x, d_weight = torch.autograd.grad(out, (x, weight), pull)
    assert d_x.dtype == d_weight.dtype == dtype
    for actual, left, right in (
        (d_x, pull, weight.double()),
        (d_weight, pull.t(), x.double()),
    ):
        eps = torch.finfo(dtype).eps  # rounded once to the dtype, if that is float32
        size = left.abs() @ right.abs()
        terms = left.size(1) * 2**-52 * size
        assert ((actual.double() - left @ right).abs() <= terms + eps * size).all()


def test_gradients_are_differences_of_values():
    assert torch.autograd.gradcheck(wide_linear, inputs(9, 4, 3, torch.float64))


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
@each_dtype
def test_threads_do_not_change_the_result_and_blocks_hardly(dtype, monkeypatch):
    given = inputs(2100, 8, 6, dtype)
    pull = torch.randn(2100, 6, dtype=torch.float64)

    def everything() -> list[Tensor]:
        out = wide_linear(*given)
        return [out, *torch.autograd.grad(out, given, pull)]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = everything()
        torch.set_num_threads(2)
        assert all(map(torch.equal, everything(), expected))
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(MODULE, "MOST", 13)
    x, weight = (t.detach().double().abs() for t in given)
    sizes = (x @ weight.t(), pull.abs() @ weight, pull.abs().t() @ x)
    for actual, one, size in zip(everything(), expected, sizes, strict=True):
        # sums of at most 2100 products in another order, then rounded to the dtype
        bound = 2100 * 2**-52 * size + torch.finfo(one.dtype).eps * one.detach().abs()
        assert ((actual - one).abs() <= bound).all()


def test_without_an_engine_it_is_the_same():
    x, weight = inputs(20, 5, 4)
    fused = wide_linear(x, weight)
    set_fused(False)
    try:
        plain = wide_linear(x, weight)
    finally:
        set_fused(True)
    torch.testing.assert_close(fused, plain, atol=1e-14, rtol=0)


def test_arguments_may_be_strided_and_are_left_alone():
    x, weight = torch.randn(5, 9).t(), torch.randn(12, 5)[::2]
    before = x.clone(), weight.clone()
    expected = x.double() @ weight.double().t()
    torch.testing.assert_close(wide_linear(x, weight), expected, atol=1e-14, rtol=0)
    assert torch.equal(x, before[0])
    assert torch.equal(weight, before[1])


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_second_derivatives_are_refused():
    given = inputs(9, 4, 3)
    with pytest.raises(RuntimeError, match=r"wide_linear .*differentiable once"):
        torch.autograd.grad(wide_linear(*given).sum(), given, create_graph=True)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_the_operators_are_registered_as_torch_expects():
    given = inputs(9, 4, 3)
    opcheck(torch.ops.tgh.wide_linear.default, given)
    plain = [t.detach() for t in given]
    grad = torch.randn(9, 3, dtype=torch.float64)
    opcheck(torch.ops.tgh.wide_linear_backward.default, (*plain, grad))
