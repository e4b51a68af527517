"""Means and variances of groups, one group and one weight at a time."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import assert_same_for_any_number_of_threads, gradients, strided
from tests.kernels.test_local_coordinates import compiled, fused  # noqa: F401
from torch_geometric_hyperbolic.kernels import group_moments

GROUPS = 40


def some_groups(points: int = 200, channels: int = 3, weights: int = 2) -> tuple[Tensor, ...]:
    """Points, weights of 0 among them, and groups in no order, some without points."""
    index = torch.randint(0, GROUPS, (points,))
    index[index % 7 == 3] = 0
    weight = torch.rand(points, weights, dtype=torch.float64)
    weight[::11] = 0
    weight[index == 5] = 0
    return torch.randn(points, channels, dtype=torch.float64), weight, index


def by_definition(points: Tensor, weight: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    mean = torch.zeros(GROUPS, weight.size(1), points.size(1), dtype=torch.float64)
    variance, mass = torch.zeros(2, GROUPS, weight.size(1), dtype=torch.float64)
    for group in range(GROUPS):
        for s in range(weight.size(1)):
            own = [e for e in range(len(points)) if index[e] == group and weight[e, s] > 0]
            mass[group, s] = total = sum(weight[e, s] for e in own)
            if own:
                mean[group, s] = b = sum(weight[e, s] * points[e] for e in own) / total
                squares = (weight[e, s] * (points[e] - b).square().sum() for e in own)
                variance[group, s] = sum(squares) / total
    return mean, variance, mass


@pytest.mark.parametrize("channels,weights", [(1, 1), (3, 2), (16, 5)])
def test_they_are_the_definition(fused, channels, weights):  # noqa: F811
    given = some_groups(channels=channels, weights=weights)
    for actual, expected in zip(group_moments(*given, GROUPS), by_definition(*given), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-14)


def test_gradients_are_those_of_finite_differences(fused):  # noqa: F811
    points, weight, index = some_groups(60)
    assert torch.autograd.gradcheck(
        lambda p, w: group_moments(p, w + 0.1, index, GROUPS),
        (points.requires_grad_(), weight.requires_grad_()),
    )


def test_a_variance_keeps_its_digits_far_away(fused):  # noqa: F811
    points, weight, index = some_groups()
    _, near, _ = group_moments(points / 1024, weight, index, GROUPS)
    shift = 2.0**20  # rounds the points' last digits: 2^-33 of their distances
    _, far, _ = group_moments(points / 1024 + shift, weight, index, GROUPS)
    torch.testing.assert_close(far, near, rtol=2.0**-20, atol=2.0**-40)


def test_the_gradient_of_a_variance_far_away_moves_no_mean(fused):  # noqa: F811
    """Offsets from a mean that is rounded to 2^-33 of them would leave as much."""
    points, weight, index = some_groups()
    points = (points / 1024 + 2.0**20).requires_grad_()
    _, variance, _ = group_moments(points, weight, index, GROUPS)
    (grad,) = torch.autograd.grad(variance.sum(), points)
    total = torch.zeros(GROUPS, 3).double().index_add(0, index, grad)
    assert total.abs().max() < 1e-14 * grad.abs().max()


def test_where_nothing_weighs_everything_is_0(fused):  # noqa: F811
    points, weight, index = some_groups()
    points, weight = points.requires_grad_(), (0 * weight).requires_grad_()
    outputs = group_moments(points, weight, index, GROUPS)
    assert not any(out.any() for out in outputs)
    d_points, d_weight = torch.autograd.grad(sum(out.sum() for out in outputs), (points, weight))
    assert not d_points.any()
    expected = points.sum(1) + points.square().sum(1) + 1  # of a mass that is held at 1
    torch.testing.assert_close(d_weight, expected[:, None].expand(-1, 2))


def test_the_smallest_weights_leave_the_gradient_of_points_finite(fused):  # noqa: F811
    points, weight, index = some_groups()
    points = points.requires_grad_()
    mean, variance, _ = group_moments(points, 1e-310 * (weight + 1), index, GROUPS)
    (grad,) = torch.autograd.grad(mean.sum() + variance.sum(), points)
    assert grad.isfinite().all() and grad.any()


@pytest.mark.parametrize("groups,points", [(0, 0), (3, 0)])
def test_nothing_in_nothing_out(fused, groups, points):  # noqa: F811
    given = (torch.zeros(points, 3).double(), torch.zeros(points, 2).double())
    given = [t.requires_grad_() for t in given]
    mean, variance, mass = group_moments(*given, torch.zeros(points).long(), groups)
    assert mean.shape == (groups, 2, 3)
    assert variance.shape == mass.shape == (groups, 2)
    assert not mean.any() and not variance.any() and not mass.any()
    (mean.sum() + variance.sum()).backward()


def test_nan_stays_in_its_group(fused):  # noqa: F811
    points, weight, index = some_groups()
    points[(index == 2).nonzero()[1]] = torch.nan
    for out in group_moments(points, weight, index, GROUPS)[:2]:
        assert out.flatten(1).isnan().any(1).nonzero().tolist() == [[2]]


@compiled
def test_threads_and_strides_do_not_change_a_bit():
    points, weight, index = some_groups()

    def everything(p: Tensor, w: Tensor) -> list[Tensor]:
        return [*group_moments(p, w, index, GROUPS)]

    def with_gradients() -> list[Tensor]:
        return [*everything(points, weight), *gradients(everything, (points, weight))]

    assert_same_for_any_number_of_threads(with_gradients)
    for actual, one in zip(
        everything(strided(points), strided(weight)), everything(points, weight), strict=True
    ):
        assert torch.equal(actual, one)


@compiled
def test_it_is_a_proper_operator():
    points, weight, index = some_groups()
    given = (points.requires_grad_(), weight.requires_grad_(), index, GROUPS)
    opcheck(torch.ops.tgh.group_moments.default, given)


@compiled
def test_second_derivatives_are_refused():
    points, weight, index = some_groups()
    mean, _, _ = group_moments(points.requires_grad_(), weight, index, GROUPS)
    with pytest.raises(RuntimeError, match="group_moments is differentiable once"):
        torch.autograd.grad(mean.sum(), points, create_graph=True)


def test_a_point_alone_is_its_mean(fused):  # noqa: F811
    """To the last bit: what is made of the difference may be large, far from the origin."""
    points, weight = torch.rand(GROUPS, 3).double(), torch.rand(GROUPS, 2).double() + 0.1
    mean, variance, _ = group_moments(points, weight, torch.arange(GROUPS), GROUPS)
    assert torch.equal(mean, points[:, None].expand_as(mean)) and not variance.any()
