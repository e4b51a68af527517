"""Points of the ball and their gaps against the manifold's own formula."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.nn.conv.helpers import points
from torch_geometric_hyperbolic.kernels.to_ball import project, to_ball
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

compiled = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")


def some_points(ball: PoincareBall) -> Tensor:
    """Inside, at the origin, and outside the ball."""
    x = points(ball, 300, 5, radius=8.0, dtype=torch.float32)
    x[0] = 0
    x[10:150] *= 3
    return x


def with_gradients(function, ball: PoincareBall, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = function(x)
    seed = torch.Generator().manual_seed(1)
    pull = [torch.randn(t.shape, generator=seed).to(t) for t in out]
    return [*out, *torch.autograd.grad(out, (x, ball.log_scale), pull)]


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_it_is_the_manifolds_formula_inside_and_outside(c):
    ball = PoincareBall(c, learnable=True)
    x = some_points(ball)
    plain = with_gradients(ball.to_ball, ball, x)
    fused = with_gradients(lambda x: to_ball(x, ball), ball, x)
    assert [t.dtype for t in fused] == [t.dtype for t in plain]
    for p, f in zip(plain, fused, strict=True):
        scale = float(p.detach().abs().max())
        torch.testing.assert_close(f, p, rtol=1e-6, atol=1e-6 * scale)
    torch.testing.assert_close(fused[1], 1 - c * fused[0].double().square().sum(-1, keepdim=True))
    assert fused[1].min() > 0


@pytest.mark.parametrize("manifold", [Lorentz(), Euclidean(), PoincareBall()], ids=str)
def test_other_spaces_and_float64_take_the_manifolds_formula(manifold):
    x = points(manifold, 2, 4, 3)
    for actual, expected in zip(to_ball(x, manifold), manifold.to_ball(x), strict=True):
        assert torch.equal(actual, expected)


@compiled
def test_second_derivatives_are_refused():
    x = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"fused ball is once differentiable"):
        torch.autograd.grad(to_ball(x, PoincareBall())[1].sum(), x, create_graph=True)


@compiled
def test_the_operators_are_registered_as_torch_expects():
    c = torch.tensor(0.7, dtype=torch.float64)
    x = some_points(PoincareBall(0.7))[:8]
    grads = torch.randn_like(x), torch.randn(8, 1, dtype=torch.float64)
    opcheck(torch.ops.tgh.project_backward.default, (*grads, x, c))
    opcheck(torch.ops.tgh.project.default, [t.requires_grad_() for t in (x, c)])
    assert [t.shape for t in project(x[:0], c)] == [(0, 5), (0, 1)]
