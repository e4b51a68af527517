"""The fused move against the manifold's own formula, in float64 and float32."""

import math

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import assert_compiles
from tests.nn.conv.helpers import points
from torch_geometric_hyperbolic.kernels.move import _move, move
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.testing import assert_on_manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA

compiled = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")


each_space = pytest.mark.parametrize("space", [PoincareBall, Lorentz], ids=lambda s: s.__name__)
each_radius = pytest.mark.parametrize(
    ("radius", "length"), [(0.01, 0.01), (1.0, 0.5), (4.0, 1.0), (8.0, 0.1), (12.0, 1.0)]
)


def pairs(
    manifold: Manifold, radius: float, length: float, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    x = points(manifold, 300, 5, radius=radius, dtype=dtype).detach()
    v = length * torch.randn(300, 5, dtype=dtype)
    x[0], v[1] = manifold.origin(5), 0
    x[2], v[2] = manifold.origin(5), 0
    v[3] = -manifold.log0(x[3]).detach()  # back to the origin
    return x, v


def with_gradients(function, manifold, x: Tensor, v: Tensor) -> list[Tensor]:
    """The result and its gradients by points, vectors and curvature."""
    x, v = x.detach().requires_grad_(), v.detach().requires_grad_()
    out = function(x, v)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    if isinstance(manifold, PoincareBall):  # Euclidean lengths shrink with the gap
        square = out.detach().square().sum(-1, keepdim=True)
        pull = pull * (1 - manifold.c.detach().to(out) * square)
    return [out, *torch.autograd.grad(out, (x, v, manifold.log_scale), pull)]


@each_space
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@each_radius
def test_values_and_gradients_are_those_of_float64(space, c, radius, length):
    """Within twice the error of the formula in float32, per tensor."""
    manifold = space(c, learnable=True)
    x, v = pairs(manifold, radius, length)
    exact = with_gradients(manifold.move, manifold, x.double(), v.double())
    plain = with_gradients(manifold.move, manifold, x, v)
    fused = with_gradients(lambda x, v: move(x, v, manifold), manifold, x, v)
    for e, p, f in zip(exact, plain, fused, strict=True):
        assert f.dtype == torch.float32
        error, allowed = (f - e).abs().max(), (p - e).abs().max()
        assert error <= 2 * allowed + 2e-7 * e.abs().max()


@each_space
@pytest.mark.parametrize("length", [1e-300, 1e-9, 1e-4, 0.3, 0.9, 3.0])
def test_steps_from_the_origin_are_right_to_the_last_digits(space, length):
    """A vector of length r leads to tanh(r) in the ball, and to sinh(r) on the hyperboloid."""
    manifold = space()
    v = torch.tensor([[0.0, length, 0.0], [-length, 0.0, 0.0]], dtype=torch.float64)
    moved = move(manifold.origin(3, dtype=torch.float64).expand(2, -1), v, manifold)[:, -3:]
    reached = (torch.tanh if space is PoincareBall else torch.sinh)(v)
    torch.testing.assert_close(moved, reached, rtol=1e-15, atol=0)


@each_space
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@each_radius
def test_in_float64_it_is_the_manifolds_formula(space, c, radius, length):
    manifold = space(c, learnable=True).double()
    x, v = pairs(manifold, radius, length, torch.float64)
    plain = with_gradients(manifold.move, manifold, x, v)
    fused = with_gradients(lambda x, v: move(x, v, manifold), manifold, x, v)
    # gradients by the curvature cancel near the origin, and the gap of a point of the ball is
    # known to a rounding of 1
    rtol = 1e-10 if space is Lorentz else 1e-10 + 1e-15 * math.exp(radius)
    for f, p in zip(fused, plain, strict=True):
        assert f.dtype == torch.float64
        torch.testing.assert_close(f, p, rtol=0.0, atol=rtol * p.abs().max().item())


@compiled
@each_space
@pytest.mark.parametrize("length", [0.01, 1.0])
def test_gradients_are_those_of_finite_differences(space, length):
    """By points, vectors and curvature, on both sides of where a series is used."""
    x, v = (t[:6] for t in pairs(space(0.7), 1.0, length, torch.float64))
    c = torch.tensor(0.7, dtype=torch.float64)
    hyperboloid = space is Lorentz
    time = x[:, :1] if hyperboloid else x[:, :0]  # does not count

    def function(place: Tensor, v: Tensor, c: Tensor) -> Tensor:
        return _move(torch.cat([time, place], 1), v, c, hyperboloid)

    own = [t.clone().requires_grad_() for t in (x[:, time.size(1) :], v, c)]
    assert torch.autograd.gradcheck(function, own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_hyperboloid_ends_where_the_formula_says(dtype):
    """Points beyond the end, results beyond it, and vectors that are too long."""
    hyperboloid = Lorentz(0.3, learnable=True)
    x, v = pairs(hyperboloid, 8.0, 1.0, dtype)
    x[10:20] *= 1e17
    v[20:40] *= 60
    v[40:50] *= 200
    if dtype == torch.float64:
        v[50:60] *= 1e200
    plain = with_gradients(hyperboloid.move, hyperboloid, x, v)
    fused = with_gradients(lambda x, v: move(x, v, hyperboloid), hyperboloid, x, v)
    assert fused[0].isfinite().all()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-7
    for p, f, scale in zip(plain, fused, [1, 1, plain[0].abs().amax(-1), 1], strict=True):
        largest = (p.abs().amax(-1) if p.dim() else p.abs()) + 1e-9 * scale
        error = (f - p).abs().amax(-1) if p.dim() else (f - p).abs()
        assert (error <= tolerance * largest).all()


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
@each_space
def test_an_infinite_or_missing_number_stays_visible(space):
    x, v = pairs(space(), 1.0, 1.0)
    x[5, 1], v[6, 1] = float("nan"), float("nan")
    out = move(x, v, space())
    assert out[5:7].isnan().any(-1).all()
    assert out[7:].isfinite().all()


class Subclass(PoincareBall):
    """Has the right to another move."""


@pytest.mark.parametrize("manifold", [Euclidean(), Subclass()], ids=["Euclidean", "subclass"])
def test_other_spaces_take_the_manifolds_formula(manifold):
    x = points(manifold, 2, 4, 3)
    v = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.equal(move(x, v, manifold), manifold.move(x, v))


@each_space
def test_single_points_shared_points_and_none_take_the_manifolds_formula(space):
    manifold = space(0.7)
    x, v = pairs(manifold, 1.0, 1.0)
    for p, w in ((x[0], v[0]), (x[:1], v), (x[:0], v[:0])):
        assert torch.equal(move(p, w, manifold), manifold.move(p, w))
    with pytest.raises(TypeError, match="'x' and 'v' must share a dtype"):
        move(x, v.double(), manifold)


@each_space
def test_points_may_have_any_leading_dimensions(space):
    manifold = space(0.7)
    x, v = pairs(manifold, 1.0, 1.0)
    folded = move(x.view(3, 4, 25, -1), v.view(3, 4, 25, -1), manifold)
    assert torch.equal(folded.flatten(0, 2), move(x, v, manifold))


@compiled
@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_one_call_after_another_gives_the_same_bits(space):
    """Whichever thread does which rows, and wherever its memory lies."""
    manifold = space(0.7, learnable=True)
    x, v = manifold.random(24, 5, dtype=torch.float64).detach(), torch.randn(24, 5).double()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, *others = [
            with_gradients(lambda x, v: move(x, v, manifold), manifold, x, v) for _ in range(12)
        ]
    finally:
        torch.set_num_threads(threads)
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))


@compiled
@each_space
def test_threads_and_strides_do_not_change_the_result(space):
    manifold = space(0.7, learnable=True)
    x, v = pairs(manifold, 2.0, 1.0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = with_gradients(lambda x, v: move(x, v, manifold), manifold, x, v)
        torch.set_num_threads(2)
        x, v = x.T.contiguous().T, v.T.contiguous().T
        actual = with_gradients(lambda x, v: move(x, v, manifold), manifold, x, v)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


@compiled
@each_space
def test_second_derivatives_are_refused(space):
    x, v = (t.requires_grad_() for t in pairs(space(), 1.0, 1.0))
    with pytest.raises(RuntimeError, match=r"^move is differentiable once"):
        torch.autograd.grad(move(x, v, space()).sum(), x, create_graph=True)


@compiled
@each_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_operators_are_registered_as_torch_expects(space, dtype):
    c, hyperboloid = torch.tensor(0.7, dtype=torch.float64), space is Lorentz
    x, v = pairs(space(0.7), 1.0, 1.0, dtype)
    opcheck(torch.ops.tgh.move_backward.default, (torch.randn_like(x), x, v, c, hyperboloid))
    opcheck(torch.ops.tgh.move.default, [*(t.requires_grad_() for t in (x, v, c)), hyperboloid])
    empty = (x[:0], v[:0], c)
    grads = torch.autograd.grad(_move(*empty, hyperboloid).sum(), empty)
    assert [g.shape for g in grads] == [t.shape for t in empty]


@compiled
@each_space
def test_it_compiles(space):
    manifold = space(0.7)
    assert_compiles(
        lambda x, v: move(x, v, manifold), list(pairs(manifold, 1.0, 1.0, torch.float64))
    )


@each_space
@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_vectors_of_another_dimension_are_named(space, channels):
    """Nothing is read that is not there."""
    manifold = space()
    x, v = manifold.random(4, 3), torch.randn(4, channels)
    for function in (manifold.move, lambda x, v: move(x, v, manifold)):
        with pytest.raises(ValueError, match=rf"'v' must have last dimension 3, .*got {channels}"):
            function(x, v)
