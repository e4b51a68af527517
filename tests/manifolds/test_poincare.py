"""What only the ball has: its conformal metric and its boundary."""

import pytest
import torch

from torch_geometric_hyperbolic.manifolds import PoincareBall


@pytest.mark.parametrize("c", [0.25, 1.0, 4.0])
def test_check_point_tells_how_far_outside_a_point_is(c):
    ball = PoincareBall(c)
    radius = c**-0.5
    assert ball.check_point(torch.tensor([[0.99 * radius, 0.0]]))
    assert ball.check_point(torch.tensor([[1.5 * radius, 0.0], [0.0, 0.0]]), explain=True) == (
        False,
        "'x' must have c * |x|^2 < 1 (got 2.25)",
    )
    assert not ball.check_point(torch.tensor([[radius, 0.0]]))
    assert not ball.check_point(torch.tensor([[torch.nan, 0.0], [0.0, 0.0]]))


def test_points_outside_are_projected_along_their_ray():
    ball = PoincareBall(c=4.0)
    x = ball.projx(torch.tensor([[3.0, 4.0], [0.1, 0.2]]))
    assert x[0].tolist() == pytest.approx([0.3, 0.4], rel=1e-6)
    assert x[1].tolist() == pytest.approx([0.1, 0.2])
    assert ball.check_point(x)


def test_the_metric_is_conformal():
    ball = PoincareBall(c=1.0)
    x = torch.tensor([[0.6, 0.0]])
    u, w = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    factor = (2 / 0.64) ** 2
    assert ball.inner(x, u).item() == pytest.approx(factor)
    assert ball.inner(x, w).item() == pytest.approx(4 * factor)
    assert ball.inner(x, u, w).item() == 0
    assert torch.equal(ball.proju(x, u), u)


def test_the_chart_is_the_ball_itself():
    ball = PoincareBall(c=0.7)
    x = ball.random(5, 3)
    gap = 1 - 0.7 * x.double().square().sum(-1, keepdim=True)
    for (p, s), dtype in ((ball.chart(x), torch.float32), (ball.to_ball(x), torch.float64)):
        assert torch.equal(p, x)
        torch.testing.assert_close(s, gap.to(dtype))
    outside = torch.tensor([[3.0, 0.0, 0.0]])
    assert ball.check_point(ball.from_ball(outside))
