"""Windows of an image against a loop over pivots and pixels in float64."""

import importlib

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.nn.conv.helpers import CURVED, points
from torch_geometric_hyperbolic.kernels.relative_windows import relative_windows
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")

#: 4 windows of 3 pixels over 5 nodes: the pivot among them or not, on padding, a repeated pixel.
TABLE = torch.tensor([[0, 1, 2], [-1, 0, 4], [3, -1, 3], [1, 3, -1]], dtype=torch.int32)
PIVOTS = torch.tensor([1, 0, -1, 4], dtype=torch.int32)

MODULE = importlib.import_module("torch_geometric_hyperbolic.kernels.relative_windows")


each_space = pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)


def image(manifold: Manifold, radius: float = 2.0, batch: int = 2, channels: int = 3) -> Tensor:
    return points(manifold, batch, 5, channels, radius=radius)


def random_weight(channels: int = 3) -> Tensor:
    return torch.randn(4, 3 * channels, dtype=torch.float64)


def by_kernel(manifold: Manifold, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    c = torch.as_tensor(manifold.c, dtype=torch.float64)
    how = (TABLE, PIVOTS, manifold.rel_unit)
    return relative_windows(*manifold.to_ball(x), c, weight, bias, *how)


def by_loop(manifold: Manifold, x: Tensor, weight: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Pivot by pivot and pixel by pixel, the origin for a pivot on padding."""
    channels = weight.size(1) // 3
    origin = manifold.origin(channels, dtype=x.dtype)
    out = []
    for pixels in x:
        for window, i in zip(TABLE.tolist(), PIVOTS.tolist(), strict=True):
            pivot = pixels[i] if i >= 0 else origin
            seen = [
                manifold.rel(pivot, pixels[j]) if j >= 0 else x.new_zeros(channels) for j in window
            ]
            out.append(weight @ torch.cat(seen) + bias)
    return torch.stack(out).view(len(x), len(TABLE), -1)


def inputs(c: float = 0.7, unit: float = 1.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """All arguments of the operator, those with a gradient first."""
    manifold = PoincareBall(c)
    p, gap = manifold.to_ball(image(manifold).to(dtype))
    weights = [random_weight().to(dtype), torch.randn(4, dtype=dtype)]
    own = [p, gap, torch.tensor(c, dtype=torch.float64), *weights]
    return [*(t.requires_grad_() for t in own), TABLE, PIVOTS, unit]


@each_space
@pytest.mark.parametrize("radius", [1e-6, 0.1, 2.0, 6.0])
def test_it_is_a_loop_over_windows(manifold, radius):
    x, weight = image(manifold, radius), random_weight()
    expected = by_loop(manifold, x, weight)
    actual = by_kernel(manifold, x, weight)
    torch.testing.assert_close(actual, expected, atol=1e-12 * radius, rtol=1e-10)


@each_space
def test_a_bias_is_added_once(manifold):
    x, weight, bias = image(manifold), random_weight(), torch.randn(4, dtype=torch.float64)
    expected = by_loop(manifold, x, weight, bias)
    torch.testing.assert_close(by_kernel(manifold, x, weight, bias), expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("radius", [0.01, 2.0, 6.0])
def test_gradients_are_those_of_the_loop(space, radius):
    """By points, weight, bias and curvature."""
    manifold = space(0.7, learnable=True)
    x = image(manifold, radius).detach().requires_grad_()
    weight = random_weight().requires_grad_()
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    leaves = [x, weight, bias, manifold.log_scale]
    pull = torch.randn(2, len(TABLE), 4, dtype=torch.float64)
    expected = torch.autograd.grad(by_loop(manifold, x, weight, bias), leaves, pull)
    actual = torch.autograd.grad(by_kernel(manifold, x, weight, bias), leaves, pull)
    for a, e in zip(actual, expected, strict=True):
        scale = float(e.abs().max())
        torch.testing.assert_close(a.double(), e.double(), atol=2e-7 * scale, rtol=1e-6)


@pytest.mark.parametrize("c", [0.0, 0.7])
@pytest.mark.parametrize("unit", [1.0, 2.0])
def test_gradients_are_differences_of_values(c, unit):
    own = inputs(0.7, unit)
    own[2] = torch.tensor(c, dtype=torch.float64, requires_grad=c > 0)
    assert torch.autograd.gradcheck(relative_windows, own)


def test_gradients_have_the_exact_derivative_of_the_series():
    """Neighbours at q of 1e-12 to 1e-2, on both sides of where the series ends."""
    c = torch.tensor(1.0, dtype=torch.float64)
    for q in torch.logspace(-12, -2, 21, dtype=torch.float64):
        p = torch.tensor([[[0.0], [0.0]]], dtype=torch.float64)
        p[0, 1, 0] = q.sqrt()
        gap = torch.ones(1, 2, 1, dtype=torch.float64, requires_grad=True)
        table = torch.tensor([[0, 1]], dtype=torch.int32)
        weight = torch.ones(1, 2, dtype=torch.float64)
        pivots = torch.zeros(1, dtype=torch.int32)
        relative_windows(p, gap, c, weight, None, table, pivots, 1.0).sum().backward()
        # with g_j = 1 the vector is a(q) sqrt(q), and q is linear in 1 / g_i
        slope = -2 / 3 + 16 * q / 15 - 48 * q**2 / 35 + 512 * q**3 / 315
        torch.testing.assert_close(gap.grad[0, 0, 0], -slope * q**1.5, rtol=1e-7, atol=0)


def test_flat_windows_have_no_lengths_that_could_overflow():
    """Squares of these coordinates, and their products with gradients, are beyond float32."""
    manifold = Euclidean()
    x = (1e20 * image(manifold).detach()).float().requires_grad_()
    weight, pull = 1e17 * torch.eye(4, 9), torch.full((2, len(TABLE), 4), 1000.0)
    actual, expected = (by(manifold, x, weight) for by in (by_kernel, by_loop))
    torch.testing.assert_close(actual, expected)
    (grad,), (by_definition,) = (torch.autograd.grad(out, x, pull) for out in (actual, expected))
    torch.testing.assert_close(grad, by_definition)


def test_padding_and_the_pivot_itself_contribute_the_zero_vector():
    manifold = PoincareBall()
    x, weight = image(manifold), random_weight()
    expected = by_kernel(manifold, x, weight)
    poisoned = x.clone()
    poisoned[:, 4] = float("nan")  # in the second window, and the pivot of the last
    actual = by_kernel(manifold, poisoned, weight)
    assert actual[:, [1, 3]].isnan().all()
    assert torch.equal(actual[:, [0, 2]], expected[:, [0, 2]])
    own = weight.clone()
    own[:, 3:6] = 1e300  # meets the pivot itself in the first two windows, padding in the third
    assert torch.equal(by_kernel(manifold, x, own)[:, :3], expected[:, :3])


@pytest.mark.parametrize("manifold", [PoincareBall(), Lorentz(), Euclidean()], ids=str)
@pytest.mark.parametrize("radius", [0.1, 2.0, 8.0])
def test_float32_is_as_close_to_float64_as_the_formula_in_torch(manifold, radius):
    x, weight = image(manifold, radius, batch=16, channels=16).float(), torch.eye(48)
    exact = by_loop(manifold, x.double(), weight.double())
    actual = by_kernel(manifold, x, weight)
    assert actual.dtype == torch.float32
    worst = (by_loop(manifold, x, weight) - exact).abs().max()
    assert (actual - exact).abs().max() <= 2 * worst


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_and_blocks_do_not_change_the_result(dtype, monkeypatch):
    own = inputs(dtype=dtype)
    own[0] = own[0].detach().repeat(8, 1, 1).requires_grad_()
    own[1] = own[1].detach().repeat(8, 1, 1).requires_grad_()
    pull = torch.randn(16, len(TABLE), 4, dtype=dtype)

    def everything() -> list[Tensor]:
        out = relative_windows(*own)
        return [out, *torch.autograd.grad(out, own[:5], pull)]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = everything()
        torch.set_num_threads(2)
        for actual, one in zip(everything(), expected, strict=True):
            assert torch.equal(actual, one)
    finally:
        torch.set_num_threads(threads)
    # 5 windows at a time, more than there are (one channel of the result at a time), one part
    for sizes in ({"FEWEST": 5, "MOST": 5}, {"FEWEST": 2**15}, {"PARTS": 1}):
        for name, value in sizes.items():
            monkeypatch.setattr(MODULE, name, value)
        for actual, one in zip(everything(), expected, strict=True):
            # sums of at most 64 products in another order
            bound = 64 * torch.finfo(dtype).eps * one.abs().max()
            assert (actual - one).abs().max() <= bound


def test_a_large_weight_is_met_part_by_part():
    """16 windows times 384 numbers leave room for 42 of the 50 channels of the result."""
    manifold = PoincareBall()
    x = image(manifold, channels=128).detach().requires_grad_()
    weight = torch.randn(50, 3 * 128, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(50, dtype=torch.float64, requires_grad=True)
    expected, actual = (by(manifold, x, weight, bias) for by in (by_loop, by_kernel))
    torch.testing.assert_close(actual, expected, atol=1e-11, rtol=0)
    pull = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, weight, bias], pull)
    grads = torch.autograd.grad(actual, [x, weight, bias], pull)
    torch.testing.assert_close(grads, wanted, atol=1e-9, rtol=0)


def test_without_images_the_gradients_are_zero():
    own = inputs()
    own[0], own[1] = (t.detach()[:0].requires_grad_() for t in own[:2])
    out = relative_windows(*own)
    assert out.shape == (0, len(TABLE), 4)
    grads = torch.autograd.grad(out.sum(), own[:5])
    assert [g.shape for g in grads] == [t.shape for t in own[:5]]
    assert not any(grad.any() for grad in grads[2:])


def test_windows_without_pixels_are_the_bias():
    *own, _, pivots, unit = inputs()
    own[3] = own[3].detach()[:, :0].requires_grad_()
    out = relative_windows(*own, TABLE[:, :0], pivots, unit)
    assert torch.equal(out, own[4].expand(2, len(TABLE), 4))
    grads = torch.autograd.grad(out.sum(), own)
    assert not any(grad.any() for grad in grads[:4])


def test_arguments_may_be_strided_and_are_left_alone():
    own = inputs()
    before = [t.clone() for t in own[:7]]
    strided = own[0].detach().mT.contiguous().mT.requires_grad_()
    out, usual = relative_windows(strided, *own[1:]), relative_windows(*own)
    assert torch.equal(out, usual)
    pull = torch.randn(4, 4, 2, dtype=torch.float64).permute(2, 1, 0)
    (grad,) = torch.autograd.grad(out, strided, pull)
    assert torch.equal(grad, *torch.autograd.grad(usual, own[0], pull.contiguous()))
    assert all(torch.equal(t, b) for t, b in zip(own[:7], before, strict=True))


def test_second_derivatives_are_refused():
    own = inputs()
    (grad,) = torch.autograd.grad(relative_windows(*own).sum(), own[0], create_graph=False)
    assert grad.isfinite().all()
    with pytest.raises(RuntimeError, match=r"relative windows .*differentiable once"):
        torch.autograd.grad(relative_windows(*own).sum(), own[0], create_graph=True)


def test_the_operators_are_registered_as_torch_expects():
    own = inputs()
    opcheck(torch.ops.tgh.relative_windows.default, own)
    *plain, _, table, pivots, unit = (t.detach() if isinstance(t, Tensor) else t for t in own)
    grad = torch.randn(2, len(TABLE), 4, dtype=torch.float64)
    opcheck(torch.ops.tgh.relative_windows_backward.default, (grad, *plain, table, pivots, unit))
    plain[3] = plain[3].t().contiguous().t()
    opcheck(torch.ops.tgh.relative_windows_backward.default, (grad, *plain, table, pivots, unit))
