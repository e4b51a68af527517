"""The fused ball against the manifold's own formula, in float64 and float32."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.nn.conv.helpers import points
from torch_geometric_hyperbolic.kernels.move import ball_move, move
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.testing import assert_on_manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA

compiled = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")


def pairs(ball: PoincareBall, radius: float, length: float) -> tuple[Tensor, Tensor]:
    x = points(ball, 300, 5, radius=radius, dtype=torch.float32)
    v = length * torch.randn(300, 5)
    x[0], v[1] = 0, 0
    x[2], v[2] = 0, 0
    v[3] = -ball.log0(x[3])  # back to the origin
    return x, v


def with_gradients(function, ball, x: Tensor, v: Tensor) -> list[Tensor]:
    x, v = x.detach().requires_grad_(), v.detach().requires_grad_()
    out = function(x, v)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    gap = 1 - ball.c.detach().to(out) * out.detach().square().sum(-1, keepdim=True)
    return [out, *torch.autograd.grad(out, (x, v, ball.log_scale), gap * pull)]


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("radius", "length"), [(0.01, 0.01), (1.0, 0.5), (4.0, 1.0), (8.0, 0.1)])
def test_values_and_gradients_are_those_of_float64(c, radius, length):
    """Within twice the error of the formula in float32, per tensor."""
    ball = PoincareBall(c, learnable=True)
    x, v = pairs(ball, radius, length)
    exact = with_gradients(ball.move, ball, x.double(), v.double())
    plain = with_gradients(ball.move, ball, x, v)
    fused = with_gradients(lambda x, v: move(x, v, ball), ball, x, v)
    for e, p, f in zip(exact, plain, fused, strict=True):
        assert f.dtype == torch.float32
        error, allowed = (f - e).abs().max(), (p - e).abs().max()
        assert error <= 2 * allowed + 2e-7 * e.abs().max()


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_beyond_the_boundary_it_projects_as_the_formula_does(c):
    """Points outside the ball, results that leave it, vectors that are too long."""
    ball = PoincareBall(c, learnable=True)
    x, v = pairs(ball, 8.0, 1.0)
    x[10:20] *= 3
    v[20:40] *= 20
    v[40:50] *= 200
    x[45:55] *= 3
    plain = with_gradients(ball.move, ball, x, v)
    fused = with_gradients(lambda x, v: move(x, v, ball), ball, x, v)
    assert_on_manifold(fused[0], ball)
    for p, f in zip(plain, fused, strict=True):  # row by row: gradients shrink with the gap
        largest = p.abs().amax(-1) if p.dim() else p.abs()
        error = (f - p).abs().amax(-1) if p.dim() else (f - p).abs()
        assert (error <= 1e-4 * largest + 1e-20).all()


@compiled
def test_an_infinite_or_missing_number_stays_visible():
    x, v = pairs(PoincareBall(), 1.0, 1.0)
    x[5, 0], v[6, 1] = float("nan"), float("nan")
    out = move(x, v, PoincareBall())
    assert out[5:7].isnan().any(-1).all()
    assert out[7:].isfinite().all()


@pytest.mark.parametrize("manifold", [Lorentz(), Euclidean(), PoincareBall()], ids=str)
def test_other_spaces_and_float64_take_the_manifolds_formula(manifold):
    x = points(manifold, 2, 4, 3)
    v = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.equal(move(x, v, manifold), manifold.move(x, v))


@compiled
def test_threads_and_strides_do_not_change_the_result():
    ball = PoincareBall(0.7, learnable=True)
    x, v = pairs(ball, 2.0, 1.0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = with_gradients(lambda x, v: move(x, v, ball), ball, x, v)
        torch.set_num_threads(2)
        x, v = x.T.contiguous().T, v.T.contiguous().T
        actual = with_gradients(lambda x, v: move(x, v, ball), ball, x, v)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


@compiled
def test_second_derivatives_are_refused():
    x, v = (t.requires_grad_() for t in pairs(PoincareBall(), 1.0, 1.0))
    with pytest.raises(RuntimeError, match=r"fused move is once differentiable"):
        torch.autograd.grad(move(x, v, PoincareBall()).sum(), x, create_graph=True)


@compiled
def test_the_operators_are_registered_as_torch_expects():
    c = torch.tensor(0.7, dtype=torch.float64)
    x, v = pairs(PoincareBall(0.7), 1.0, 1.0)
    opcheck(torch.ops.tgh.ball_move_backward.default, (torch.randn_like(x), x, v, c))
    opcheck(torch.ops.tgh.ball_move.default, [t.requires_grad_() for t in (x, v, c)])
    assert ball_move(x[:0], v[:0], c).shape == (0, 5)
