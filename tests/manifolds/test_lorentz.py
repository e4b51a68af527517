"""What only the hyperboloid has: a time, and tangent planes."""

import re
from functools import partial

import geoopt
import pytest
import torch

from torch_geometric_hyperbolic.kernels import dispatch
from torch_geometric_hyperbolic.manifolds import Lorentz
from torch_geometric_hyperbolic.nn import MidpointAggregation, knn_graph


@pytest.mark.parametrize("c", [0.25, 1.0, 4.0])
def test_the_origin_is_the_lowest_point(c):
    expected = [c**-0.5, 0.0, 0.0]
    assert Lorentz(c).origin(2).tolist() == pytest.approx(expected)


def test_check_point_tells_what_is_wrong():
    hyperboloid = Lorentz(c=1.0)
    reason = "'x' must have x[..., 0] = sqrt(1/c + |x[..., 1:]|^2)"
    assert hyperboloid.check_point(torch.tensor([[5.0**0.5, 2.0, 0.0]]))
    for bad in ([2.0, 2.0, 0.0], [-(5.0**0.5), 2.0, 0.0], [0.0, 0.0, 0.0], [torch.nan, 0.0, 0.0]):
        x = torch.tensor([bad, [1.0, 0.0, 0.0]])
        assert hyperboloid.check_point(x, explain=True) == (False, reason)


@pytest.mark.parametrize("fused", [True, False])
def test_a_time_alone_is_no_point(monkeypatch, fused):
    """As where the time of one-dimensional points was forgotten."""
    hyperboloid, x = Lorentz(), torch.ones(2, 1)
    reason = "'x' must have a time and a space part"
    assert hyperboloid.check_point(x, explain=True) == (False, reason)
    told = re.escape(f"{reason} (got shape (2, 1))")
    monkeypatch.setattr(dispatch, "_fused", fused)
    verbs = (hyperboloid.log0, hyperboloid.dist0, hyperboloid.projx, hyperboloid.to_ball)
    graph = partial(knn_graph, k=1, manifold=hyperboloid)
    for take in (*verbs, MidpointAggregation(hyperboloid), graph):
        with pytest.raises(ValueError, match=f"^{told}$"):
            take(x)


def test_check_vector_tells_what_is_wrong():
    hyperboloid = Lorentz(c=1.0)
    x = torch.tensor([[5.0**0.5, 2.0, 0.0]])
    assert hyperboloid.check_vector_on_tangent(x, torch.tensor([[2.0, 5.0**0.5, 1.0]]))
    assert hyperboloid.check_vector_on_tangent(x, x, explain=True) == (
        False,
        "'u' must have Minkowski product 0 with 'x'",
    )


def test_a_point_is_its_space_part_whatever_its_time():
    hyperboloid = Lorentz(c=0.7)
    x, y = hyperboloid.random(2, 5, 3)
    wrong = torch.cat([torch.randn(5, 1), x[:, 1:]], dim=1)
    torch.testing.assert_close(hyperboloid.projx(wrong), x)
    assert torch.equal(hyperboloid.dist(wrong, y), hyperboloid.dist(x, y))


def test_the_inner_product_is_minkowskis():
    """Of tangent vectors, (x_s u_s / x_0, u_s), whose product is worked out by hand."""
    x = torch.tensor([[3.0, 2.0, 2.0]], dtype=torch.float64)
    u = torch.tensor([[2.0, 1.0, 2.0]], dtype=torch.float64)
    w = torch.tensor([[4.0, 1.0, 5.0]], dtype=torch.float64)
    assert Lorentz().check_vector_on_tangent(x, u) and Lorentz().check_vector_on_tangent(x, w)
    assert Lorentz().inner(x, u, w).item() == pytest.approx(-8 + 1 + 10)
    assert Lorentz().inner(x, u).item() == pytest.approx(-4 + 1 + 4)


def test_the_chart_is_the_space_part_and_the_time_in_double():
    hyperboloid = Lorentz(c=0.7)
    x = hyperboloid.random(5, 3)
    p, time = hyperboloid.chart(x)
    assert p.dtype == time.dtype == torch.float64
    assert torch.equal(p, x[:, 1:].double())
    torch.testing.assert_close(time.float(), x[:, :1])


def test_the_ball_is_seen_from_the_south_pole():
    hyperboloid = Lorentz(c=4.0)
    x = hyperboloid.random(5, 3, dtype=torch.float64)
    p, gap = hyperboloid.to_ball(x)
    # p, the pole (-1/2, 0) and x are on one line, p at height 0
    t = 0.5 / (x[:, :1] + 0.5)
    torch.testing.assert_close(p, t * x[:, 1:])
    torch.testing.assert_close(gap, 1 - 4 * p.square().sum(-1, keepdim=True))
    torch.testing.assert_close(hyperboloid.from_ball(p), x)


@pytest.mark.parametrize("radius", [18.0, 20.0, 24.0])
def test_an_optimiser_far_out_in_float32_stays_finite(radius):
    """A gradient in coordinates there is beyond float32."""
    space, generator = Lorentz(), torch.Generator().manual_seed(0)
    v, target = torch.randn(2, 50, 3, generator=generator)
    start = space.exp0(radius * torch.nn.functional.normalize(v, dim=-1))
    point = geoopt.ManifoldParameter(start, manifold=space)
    optimiser = geoopt.optim.RiemannianAdam([point], lr=0.01)
    for _ in range(30):
        optimiser.zero_grad()
        space.dist(point, space.exp0(target)).sum().backward()
        optimiser.step()
        assert point.isfinite().all()


@pytest.mark.parametrize("name", ["transp0", "transp", "egrad2rgrad", "proju"])
def test_tangent_vectors_beyond_float32_end_below_its_largest_number(name):
    space = Lorentz()
    x = space.exp0(torch.tensor([44.0, 0.0]))
    given = {
        "transp0": (x, torch.tensor([1e25, 0.0])),
        "transp": (space.origin(2), x, torch.tensor([0.0, 1e25, 0.0])),
        "egrad2rgrad": (x, torch.tensor([100.0, 100.0, 1.0])),
        "proju": (x, torch.tensor([100.0, -100.0, 1.0])),
    }[name]
    out = getattr(space, name)(*given)
    wide = getattr(space, name)(*(t.double() for t in given))
    largest = 2.0**-20 * torch.finfo(torch.float32).max
    assert wide.abs().max() > largest
    torch.testing.assert_close(out, wide.clamp(-largest, largest).float())


@pytest.mark.parametrize("dtype,radius", [(torch.float32, 16.0), (torch.float64, 30.0)])
def test_projection_keeps_what_is_tangent_but_for_rounding(dtype, radius):
    """The normal, as long as e^r, made vectors 1e10 times as long again."""
    space, generator = Lorentz(), torch.Generator().manual_seed(0)
    directions = torch.randn(500, 3, generator=generator, dtype=dtype)
    x = space.exp0(radius * torch.nn.functional.normalize(directions, dim=-1))
    u = space.transp0(x, torch.randn(500, 3, generator=generator, dtype=dtype))
    assert torch.equal(space.proju(x, space.proju(x, u)), u)


def descend(points, optimiser, steps):
    """The optimiser of geoopt, on points that want to be 3 apart from each other."""
    for _ in range(steps):
        optimiser.zero_grad()
        distances = points.manifold.dist(points[:, None], points[None])
        loss = (distances - 3).square().mean()
        loss.backward()
        optimiser.step()
        assert loss.isfinite()
    return loss.item()


@pytest.mark.parametrize("dtype,scale", [(torch.float32, 3.0), (torch.float64, 10.0)])
def test_stabilised_optimisers_come_as_far(dtype, scale):
    space = Lorentz()
    v = scale * torch.randn(31, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    losses = []
    for stabilize in (None, 1):
        points = geoopt.ManifoldParameter(space.exp0(v), manifold=space)
        optimiser = geoopt.optim.RiemannianAdam([points], lr=0.1, stabilize=stabilize)
        losses.append(descend(points, optimiser, 100))
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_momentum_in_float64_stays_finite():
    space = Lorentz()
    v = 50 * torch.randn(31, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = geoopt.ManifoldParameter(space.exp0(v), manifold=space)
    descend(points, geoopt.optim.RiemannianSGD([points], lr=0.1, momentum=0.9), 150)
