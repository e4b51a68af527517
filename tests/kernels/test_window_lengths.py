"""Lengths of windows and of their vectors, one product at a time."""

import pytest
import torch
from torch.library import opcheck

from tests.kernels.test_local_coordinates import compiled, fused, turn, windows  # noqa: F401
from torch_geometric_hyperbolic.kernels import EdgeVectors, window_lengths
from torch_geometric_hyperbolic.kernels.window_lengths import _window_lengths


@pytest.mark.parametrize("n", [1, 3, 6])
def test_they_are_made_of_the_products_within_the_window(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    of_windows, of_vectors = window_lengths(v, rowptr)
    for i, (start, stop) in enumerate(zip(rowptr.tolist()[:-1], rowptr.tolist()[1:], strict=True)):
        inside, size = v[start:stop], stop - start
        if size == 0:
            assert not of_windows[i].any()
            continue
        s = (sum(float(a @ a) for a in inside) / size) ** 0.5
        mean = sum(inside) / size
        expected = torch.tensor([s, float(mean @ mean) ** 0.5], dtype=torch.float64)
        torch.testing.assert_close(of_windows[i], expected)
        for a, lengths in zip(inside, of_vectors[start:stop], strict=True):
            row = [float(a @ b) / s for b in inside]
            square = sum(p**2 for p in row) / size
            expected = [float(a @ a) ** 0.5, sum(row) / size, square**0.5]
            torch.testing.assert_close(lengths, torch.tensor(expected, dtype=torch.float64))


def test_rotations_and_reflections_change_nothing(fused):  # noqa: F811
    v, rowptr = windows(4)
    for out, turned in zip(
        window_lengths(v, rowptr), window_lengths(v @ turn(4), rowptr), strict=True
    ):
        torch.testing.assert_close(turned, out)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_gradients_are_those_of_finite_differences(fused, n):  # noqa: F811
    v, rowptr = windows(n)
    assert torch.autograd.gradcheck(lambda v: window_lengths(v, rowptr), v.requires_grad_())


@pytest.mark.parametrize("sizes", [[], [0], [0, 0]])
def test_nothing_in_nothing_out(fused, sizes):  # noqa: F811
    v, rowptr = windows(3, sizes)
    of_windows, of_vectors = window_lengths(v.requires_grad_(), rowptr)
    assert of_windows.shape == (len(sizes), 2) and not of_windows.any()
    assert of_vectors.shape == (0, 3)
    (of_windows.sum() + of_vectors.sum()).backward()


def test_zero_vectors_have_zero_lengths_and_gradients(fused):  # noqa: F811
    v, rowptr = windows(3)
    v[:5] = 0  # a whole window
    v[7] = 0  # one of one
    v[9] = 0  # one of several
    of_windows, of_vectors = window_lengths(v.requires_grad_(), rowptr)
    assert not of_windows[0].any() and not of_vectors[[0, 4, 7, 9]].any()
    (grad,) = torch.autograd.grad(of_windows.sum() + of_vectors.sin().sum(), v)
    assert grad.isfinite().all() and not grad[:5].any() and not grad[7].any()
    assert grad[8].any()


def test_vectors_that_cancel_have_a_finite_gradient(fused):  # noqa: F811
    """Their mean is 0, up to rounding on either side of it."""
    v, rowptr = windows(3, [3] * 50)
    v[2::3] = -v[::3] - v[1::3]
    of_windows, of_vectors = window_lengths(v.requires_grad_(), rowptr)
    assert (of_windows[:, 1] < 1e-7).all()
    (grad,) = torch.autograd.grad(of_windows[:, 0].sum() + of_vectors.sum(), v)
    assert grad.isfinite().all()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_mean_of_symmetric_windows_is_zero_and_so_is_its_gradient(fused, count):  # noqa: F811
    half = torch.randn(count, 3).double()  # so that sums are exact
    v = torch.cat([half, -half]).requires_grad_()
    of_windows, _ = window_lengths(v, torch.tensor([0, 2 * count]))
    (grad,) = torch.autograd.grad(of_windows[0, 1], v)
    assert of_windows[0, 1] == 0 and not grad.any()


@pytest.mark.parametrize("scale", [1e-10, 1e10])
def test_long_and_short_vectors_of_float32_stay_in_range(fused, scale):  # noqa: F811
    v, rowptr = windows(3)
    scaled = (scale * v).float().requires_grad_()
    outputs = window_lengths(scaled, rowptr)
    for out, exact in zip(outputs, window_lengths(scaled.detach().double(), rowptr), strict=True):
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), exact, rtol=1e-6, atol=0)
    (grad,) = torch.autograd.grad(sum(out.sum() for out in outputs), scaled)
    assert grad.isfinite().all() and grad.abs().max() < 100


def test_nan_stays_in_its_window(fused):  # noqa: F811
    v, rowptr = windows(3)
    v[6] = torch.nan  # the third window
    of_windows, of_vectors = window_lengths(v, rowptr)
    assert of_windows.isnan().any(1).nonzero().flatten().tolist() == [2]
    assert of_vectors.isnan().any(1).nonzero().flatten().tolist() == [5, 6]


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_proper_operator(dtype):
    v, rowptr = windows(3)
    opcheck(_window_lengths, (*EdgeVectors.stored(v.to(dtype).requires_grad_(), rowptr), rowptr))


@compiled
def test_second_derivatives_are_refused():
    v, rowptr = windows(3)
    out, _ = window_lengths(v.requires_grad_(), rowptr)
    with pytest.raises(RuntimeError, match="window_lengths is differentiable once"):
        torch.autograd.grad(out.sum(), v, create_graph=True)


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9, 1e-12])
def test_the_mean_of_vectors_that_nearly_cancel_keeps_its_digits(fused, apart):  # noqa: F811
    """To rounding of the vectors over its length, as a sum of them does."""
    half = torch.randn(3, 3, dtype=torch.float64)
    v = torch.cat([half, apart * torch.randn(3, 3, dtype=torch.float64) - half]).requires_grad_()
    of_windows, _ = window_lengths(v, torch.tensor([0, 6]))
    (grad,) = torch.autograd.grad(of_windows[0, 1], v)
    mean = v.detach().mean(0)
    loss = 1e-15 / mean.norm().item()
    torch.testing.assert_close(of_windows[0, 1].detach(), mean.norm(), rtol=loss, atol=0)
    expected = (mean / mean.norm() / 6).expand(6, 3)
    torch.testing.assert_close(grad, expected, rtol=0, atol=loss)
