"""Distances between the ends of edges, one pair at a time."""

import pytest
import torch

from tests.kernels.test_local_coordinates import compiled, fused  # noqa: F401
from torch_geometric_hyperbolic.kernels import pair_distances
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall

SPACES = [Euclidean(), PoincareBall(0.7), Lorentz(0.7), PoincareBall(1e-12)]
each_space = pytest.mark.parametrize("manifold", SPACES, ids=repr)


def ends(manifold, *counts: int, radius: float = 3.0, dtype=torch.float64) -> list[torch.Tensor]:
    directions = (torch.randn(9, count, 4, dtype=torch.float64) for count in counts)
    unit = (torch.nn.functional.normalize(v, dim=-1) for v in directions)
    return [manifold.exp0(radius / 2 * v).detach().to(dtype) for v in unit]


@each_space
@pytest.mark.parametrize("radius", [1e-9, 3.0, 30.0])
def test_they_are_the_distances_of_the_manifold(fused, manifold, radius):  # noqa: F811
    x, y = ends(manifold, 3, 2, radius=radius)
    out = pair_distances(x, y, manifold)
    assert out.shape == (9, 3, 2)
    for e in range(9):
        for a in range(3):
            for b in range(2):
                expected = manifold.dist(x[e, a], y[e, b])
                torch.testing.assert_close(out[e, a, b], expected, rtol=1e-13, atol=0)


@each_space
def test_gradients_are_those_of_finite_differences(fused, manifold):  # noqa: F811
    given = [t.requires_grad_() for t in ends(manifold, 2, 3)]
    assert torch.autograd.gradcheck(lambda x, y: pair_distances(x, y, manifold), given)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_a_learnable_curvature_gets_the_gradient_of_dist(fused, space):  # noqa: F811
    manifold = space(0.7, learnable=True)
    x, y = ends(space(0.7), 2, 3)
    (actual,) = torch.autograd.grad(pair_distances(x, y, manifold).sum(), manifold.log_scale)
    expected = manifold.dist(x[:, :, None], y[:, None]).sum()
    (expected,) = torch.autograd.grad(expected, manifold.log_scale)
    torch.testing.assert_close(actual, expected)
    assert actual != 0


@each_space
def test_coincident_points_are_at_0_with_gradient_0(fused, manifold):  # noqa: F811
    (x,) = ends(manifold, 2)
    x = x.requires_grad_()
    out = pair_distances(x, x.detach(), manifold)
    own = out.diagonal(dim1=1, dim2=2)
    assert not own.any() and (out > 0).sum() == 18
    (grad,) = torch.autograd.grad(own.sum(), x)
    assert not grad.any()


@each_space
@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (4, 2, 0)])
def test_nothing_in_nothing_out(fused, manifold, shape):  # noqa: F811
    edges, rows, columns = shape
    given = [manifold.random(edges, count, 3).requires_grad_() for count in (rows, columns)]
    out = pair_distances(*given, manifold)
    assert out.shape == shape
    out.sum().backward()


@each_space
def test_float32_is_that_of_float64(fused, manifold):  # noqa: F811
    x, y = ends(manifold, 3, 2, dtype=torch.float32)
    out = pair_distances(x, y, manifold)
    assert out.dtype == torch.float32
    exact = manifold.dist(x.double()[:, :, None], y.double()[:, None])
    torch.testing.assert_close(out.double(), exact, rtol=2e-6, atol=0)


@compiled
def test_it_compiles_in_one_graph():
    ball = PoincareBall()
    given = ends(ball, 3, 2)
    compiled_distances = torch.compile(pair_distances, fullgraph=True)
    torch.testing.assert_close(compiled_distances(*given, ball), pair_distances(*given, ball))


@pytest.mark.parametrize("radius", [8.0, 16.0])
def test_parts_of_a_curvatures_gradient_cancel_before_they_are_rounded(radius):
    """On the hyperboloid each end's is exp(radius) times as large as their sum; the parameter of a
    float32 network rounds the sum alone.
    """
    manifold = Lorentz(1.0)
    centre = manifold.exp0(torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64) * radius)
    near = manifold.move(centre.expand(12, 4), torch.randn(12, 3, dtype=torch.float64))
    x, y = near.float().detach()[None].chunk(2, dim=1)
    found = []
    for dtype in (torch.float32, torch.float64):
        learnt = Lorentz(1.0, learnable=True).to(dtype)
        pair_distances(x, y, learnt).double().sum().backward()
        found.append(learnt.log_scale.grad.double())
    torch.testing.assert_close(*found, rtol=2.0**-22, atol=0)
