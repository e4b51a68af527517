import pytest
import torch
from _embedding import FILL, principal_components, project

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall

MANIFOLDS = [PoincareBall(c=0.7), Lorentz(c=1.3), Euclidean()]


def spread_points(manifold, number=200, channels=5, spread=1.0):
    """Points about a far centre, widest in two directions."""
    width = torch.tensor([1.0, 0.6] + [0.05] * (channels - 2), dtype=torch.float64)
    v = spread * width * torch.randn(number, channels, dtype=torch.float64)
    centre = manifold.exp0(torch.full((1, channels), 0.4, dtype=torch.float64))
    return manifold.move(centre.expand(number, -1), v)


def mean_by_descent(manifold, points, steps=500):
    """The point with the least sum of squared distances, by small steps along their gradient."""
    centre = points[:1]
    for _ in range(steps):
        step = manifold.rel(centre.expand_as(points), points).mean(0, keepdim=True)
        centre = manifold.move(centre, 0.05 * step)
    return centre


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_nearly_all_points_are_drawn_inside_the_disk(manifold):
    drawn = project(manifold, spread_points(manifold).float())
    radius = torch.tensor(drawn["xy"]).norm(dim=1)
    assert drawn["kind"] == ("plane" if isinstance(manifold, Euclidean) else "disk")
    assert (radius <= FILL + 1e-3).float().mean() >= 0.975
    assert (radius <= FILL + 1e-3).float().mean() < 1
    assert drawn["explained"] > 0.95
    if drawn["kind"] == "disk":
        assert radius.max() < 1


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_distance_from_the_mean_is_kept_up_to_the_scale(spread):
    manifold = PoincareBall(c=1.0)
    points = spread_points(manifold, channels=2, spread=spread)
    drawn = project(manifold, points)
    assert drawn["explained"] == 1
    centre = mean_by_descent(manifold, points)
    true = manifold.dist(centre.expand_as(points), points)
    seen = manifold.dist0(torch.tensor(drawn["xy"], dtype=torch.float64))
    inner = seen < 2.5  # the coordinates are rounded to 4 digits
    torch.testing.assert_close(seen[inner], drawn["scale"] * true[inner], rtol=2e-3, atol=1e-3)


def test_ball_and_hyperboloid_draw_the_same_picture():
    ball, hyperboloid = PoincareBall(c=0.7), Lorentz(c=0.7)
    points = spread_points(ball)
    same = hyperboloid.from_ball(points)
    first, second = project(ball, points), project(hyperboloid, same)
    torch.testing.assert_close(
        torch.tensor(first["xy"]), torch.tensor(second["xy"]), rtol=0, atol=2e-4
    )
    assert first["scale"] == pytest.approx(2 * second["scale"], rel=1e-3)


def test_the_model_keeps_its_dtype():
    manifold = PoincareBall(c=1.0, learnable=True)
    project(manifold, spread_points(PoincareBall(c=1.0)).float())
    assert manifold.log_scale.dtype == torch.float32


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_points_of_one_number_are_drawn_on_a_line(manifold):
    points = manifold.exp0(torch.randn(20, 1, dtype=torch.float64))
    drawn = project(manifold, points)
    xy = torch.tensor(drawn["xy"])
    assert xy.shape == (20, 2)
    assert (xy[:, 1] == 0).all()
    assert xy[:, 0].unique().numel() > 15
    assert drawn["explained"] == 1


def test_signs_of_the_axes_are_chosen():
    for _ in range(8):
        v = torch.randn(9, 3, dtype=torch.float64)
        axes = torch.linalg.lstsq(v, principal_components(v)[0]).solution
        assert (axes.sum(0) > 0).all()
