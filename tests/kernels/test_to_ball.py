"""Points of the ball and their gaps against the manifold's own formula."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.geometry.reference import dot, exact, mp
from tests.kernels.graphs import assert_compiles
from tests.nn.conv.helpers import points
from torch_geometric_hyperbolic.kernels.to_ball import _to_ball, to_ball
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

compiled = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")


each_space = pytest.mark.parametrize("space", [PoincareBall, Lorentz], ids=lambda s: s.__name__)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def some_points(manifold: Manifold, dtype: torch.dtype = torch.float32) -> Tensor:
    """Inside, at the origin, and outside the ball or beyond the end of the hyperboloid."""
    x = points(manifold, 300, 5, radius=8.0, dtype=dtype).detach()
    x[0] = manifold.origin(5)
    x[10:150] *= 3 if isinstance(manifold, PoincareBall) else 1e18
    return x


def with_gradients(function, manifold: Manifold, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = function(x)
    seed = torch.Generator().manual_seed(1)
    pull = [torch.randn(t.shape, generator=seed).to(t) for t in out]
    return [*out, *torch.autograd.grad(out, (x, manifold.log_scale), pull)]


@each_space
@each_dtype
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_it_is_the_manifolds_formula_inside_and_outside(space, dtype, c):
    manifold = space(c, learnable=True)
    x = some_points(manifold, dtype)
    plain = with_gradients(manifold.to_ball, manifold, x)
    fused = with_gradients(lambda x: to_ball(x, manifold), manifold, x)
    assert [t.dtype for t in fused] == [t.dtype for t in plain]
    for p, f in zip(plain, fused, strict=True):
        scale = float(p.detach().abs().max())
        torch.testing.assert_close(f, p, rtol=1e-6, atol=1e-6 * scale)
    if dtype == torch.float32 and space is PoincareBall:
        square = fused[0].double().square().sum(-1, keepdim=True)
        torch.testing.assert_close(fused[1], 1 - c * square)
    assert fused[1].min() > 0


@pytest.mark.parametrize("c", [0.3, 1.0, 40.0])
@pytest.mark.parametrize("radius", [2.0, 10.0, 20.0, 28.0])
def test_gaps_near_the_boundary_keep_their_digits(c, radius):
    """Against 60 digits. In float64 1 - c |x|^2 has an error of 2^-53 or more, whatever it is."""
    manifold = PoincareBall(c)
    direction = torch.nn.functional.normalize(torch.randn(40, 5, dtype=torch.float64), dim=-1)
    x = manifold.exp0(direction * radius / 2 / c**0.5)
    _, gap = to_ball(x, manifold)
    for row, own in zip(x, gap[:, 0].tolist(), strict=True):
        expected = 1 - mp.mpf(c) * dot(exact(row), exact(row))
        assert abs(mp.mpf(own) / expected - 1) < 2.0**-52 + 5 * 2.0**-72 / own


@compiled
@each_space
def test_gradients_are_those_of_finite_differences(space):
    x = points(space(0.7), 6, 5, radius=2.0).detach()
    c, hyperboloid = torch.tensor(0.7, dtype=torch.float64), space is Lorentz
    time = x[:, :1] if hyperboloid else x[:, :0]  # does not count
    own = [t.clone().requires_grad_() for t in (x[:, time.size(1) :], c)]
    assert torch.autograd.gradcheck(
        lambda place, c: _to_ball(torch.cat([time, place], 1), c, hyperboloid), own
    )


def test_flat_space_takes_its_own_formula():
    x = points(Euclidean(), 2, 4, 3)
    for actual, expected in zip(to_ball(x, Euclidean()), Euclidean().to_ball(x), strict=True):
        assert torch.equal(actual, expected)


@compiled
def test_second_derivatives_are_refused():
    x = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^to_ball is differentiable once"):
        torch.autograd.grad(to_ball(x, PoincareBall())[1].sum(), x, create_graph=True)


@compiled
@each_space
@each_dtype
def test_the_operators_are_registered_as_torch_expects(space, dtype):
    c, hyperboloid = torch.tensor(0.7, dtype=torch.float64), space is Lorentz
    x = some_points(space(0.7), dtype)[:8]
    grads = [torch.randn_like(t) for t in _to_ball(x, c, hyperboloid)]
    opcheck(torch.ops.tgh.to_ball_backward.default, (x, c, hyperboloid, *grads))
    opcheck(torch.ops.tgh.to_ball.default, [*(t.requires_grad_() for t in (x, c)), hyperboloid])
    assert [t.shape for t in _to_ball(x[:0], c, hyperboloid)] == [(0, 5), (0, 1)]


@compiled
@each_space
def test_it_compiles(space):
    manifold = space(0.7)

    def function(x: Tensor) -> Tensor:
        point, gap = to_ball(x, manifold)
        return point * gap

    assert_compiles(function, [points(manifold, 6, 5).detach()])
