import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from tests.kernels.graphs import assert_same_for_any_number_of_threads, strided
from tests.kernels.test_local_coordinates import fused  # noqa: F401
from tests.nn.aggr.definitions import distance, force, norm, random_points, random_weight
from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.kernels import frechet_mean, set_fused
from torch_geometric_hyperbolic.kernels.frechet_mean import directions, frechet_mean_reference
from torch_geometric_hyperbolic.kernels.solve_hessian import (
    solve_hessian,
    solve_hessian_reference,
)
from torch_geometric_hyperbolic.typing import WITH_NUMBA

INDEX = torch.tensor([0, 0, 2, 2, 0, 2, 2])  # group 1 is empty
C = torch.tensor(0.7, dtype=torch.float64)
compiled = pytest.mark.skipif(not WITH_NUMBA, reason="needs numba")
each_mean = pytest.mark.parametrize(
    "mean_of", [frechet_mean, frechet_mean_reference], ids=["fused", "reference"]
)
each_solver = pytest.mark.parametrize(
    "solve", [solve_hessian, solve_hessian_reference], ids=["fused", "reference"]
)


def shares() -> Tensor:
    """Weights that sum to one in each group."""
    weight = random_weight(len(INDEX))
    return (weight / torch.zeros(3).double().index_add(0, INDEX, weight)[INDEX])[:, None]


def hessian(mean: Tensor, x: Tensor, weight: Tensor, c: float) -> Tensor:
    """Second derivatives of half the weighted squared distances, by autograd of the definition."""

    def cost(v: Tensor) -> Tensor:
        # the Moebius sum of mean and v is the exponential map up to third order; v spans 2 |v|
        scale = 1 + 2 * c * mean @ v
        point = (scale + c * v @ v) * mean + (1 - c * mean @ mean) * v
        point = point / (scale + c**2 * (mean @ mean) * (v @ v))
        return (weight * distance(point, x, c) ** 2).sum() / 2

    return torch.autograd.functional.hessian(cost, torch.zeros_like(mean)) / 4


def system(channels: int = 3, radius: float = 3.0) -> tuple[Tensor, ...]:
    """Points, any centres, and the Hessian's weights, directions and eigenvalues from them."""
    x, centre = random_points(len(INDEX), channels, radius), random_points(3, channels, seed=5)
    lengths = C.sqrt() * distance(centre[INDEX], x, C.item())[:, None]
    relative = poincare.rel(centre[INDEX], x, c=C)
    return x, centre, shares(), relative / norm(relative), lengths / lengths.tanh()


@each_mean
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("radius", [0.1, 3.0, 8.0])
def test_the_mean_is_where_the_forces_balance(mean_of, channels, radius):
    x, weight = random_points(len(INDEX), channels, radius), shares()
    start = random_points(3, channels, seed=5)
    mean = mean_of(x, weight, INDEX, start, C)
    for group in (0, 2):
        own = group == INDEX
        assert force(mean[group], x[own], weight[own, 0], C.item()) < 1e-7
    assert torch.equal(mean[1], start[1])  # a group without points stays where it started


@each_mean
def test_any_start_leads_to_the_mean(mean_of):
    x, weight = random_points(len(INDEX), radius=4.0), shares()
    means = [
        mean_of(x, weight, INDEX, random_points(3, radius=12.0, seed=seed), C)[[0, 2]]
        for seed in range(5)
    ]
    exact = mean_of is frechet_mean and WITH_NUMBA  # the other is as good as the cost tells
    for mean in means[1:]:
        torch.testing.assert_close(mean, means[0], atol=1e-13 if exact else 1e-8, rtol=0)


@each_mean
def test_the_inputs_are_left_alone(mean_of):
    inputs = [random_points(len(INDEX)), shares(), INDEX, random_points(3, seed=5), C]
    before = [t.clone() for t in inputs]
    mean_of(*inputs)
    assert all(torch.equal(t, b) for t, b in zip(inputs, before, strict=True))


@each_mean
def test_in_flat_space_it_is_the_weighted_mean(mean_of):
    x, weight = 10 * random_points(len(INDEX)), shares()
    zero = torch.zeros((), dtype=torch.float64)
    mean = mean_of(x, weight, INDEX, torch.zeros(3, 3, dtype=torch.float64), zero)
    expected = torch.zeros(3, 3, dtype=torch.float64).index_add(0, INDEX, weight * x)
    torch.testing.assert_close(mean, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("radius", [0.1, 3.0, 8.0])
def test_directions_are_units_and_stretches(radius):
    x, centre, _, unit, zeta = system(radius=radius)
    found_unit, found_zeta = directions(poincare.rel(centre[INDEX], x, c=C), C)
    torch.testing.assert_close(found_unit, unit, atol=1e-14, rtol=0)
    torch.testing.assert_close(found_zeta, zeta, atol=0, rtol=1e-12)
    none, one = directions(torch.zeros(1, 3, dtype=torch.float64), C)
    assert not none.any()
    assert one == 1


@each_solver
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("radius", [0.1, 3.0, 8.0])
def test_the_solution_times_the_hessian_is_the_right_hand_side(solve, channels, radius):
    x, centre, weight, unit, zeta = system(channels, radius)
    rhs = random_points(3, channels, seed=9)
    solution = solve(rhs, weight, unit, zeta, INDEX)
    for group in (0, 2):
        own = group == INDEX
        matrix = hessian(centre[group], x[own], weight[own, 0], C.item())
        torch.testing.assert_close(matrix @ solution[group], rhs[group], atol=1e-10, rtol=0)
        bent = (matrix - torch.eye(channels)).abs().max() > 1e-4
        assert bent == (channels > 1)  # a line is flat
    assert solution[1].isfinite().all()


def test_the_gradient_of_the_solution_is_another_solution():
    _, _, weight, unit, zeta = system()
    rhs = random_points(3, seed=9)[[0, 2]].requires_grad_()
    index = INDEX // 2
    assert torch.autograd.gradcheck(lambda b: solve_hessian(b, weight, unit, zeta, index), rhs)


@each_solver
@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_right_hand_sides_of_any_size_are_solved(solve, scale):
    _, _, weight, unit, zeta = system()
    rhs = random_points(3, seed=9)
    solution = solve(rhs, weight, unit, zeta, INDEX)
    scaled = solve(scale * rhs, weight, unit, zeta, INDEX)
    torch.testing.assert_close(scaled[[0, 2]] / scale, solution[[0, 2]], atol=1e-10, rtol=0)
    assert not solve(0 * rhs, weight, unit, zeta, INDEX).any()


def test_the_operators_are_registered_as_torch_expects(fused):  # noqa: F811
    x, centre, weight, unit, zeta = system()
    opcheck(torch.ops.tgh.frechet_mean.default, (x, weight, INDEX, centre, C))
    rhs = random_points(3, seed=9).requires_grad_()
    opcheck(torch.ops.tgh.solve_hessian.default, (rhs, weight, unit, zeta, INDEX))
    centre, rhs = (t.detach().t().contiguous().t().requires_grad_() for t in (centre, rhs))
    opcheck(torch.ops.tgh.frechet_mean.default, (x, weight, INDEX, centre.detach(), C))
    opcheck(torch.ops.tgh.solve_hessian.default, (rhs, weight, unit, zeta, INDEX))


# The loops


def many_groups(channels: int = 5) -> tuple[Tensor, ...]:
    """Points of 40 groups, some of them empty, in no order; shares, groups and starts."""
    index = torch.randint(0, 40, (300,))
    index[index % 7 == 3] = 0
    weight = random_weight(300)
    weight = weight / torch.zeros(40).double().index_add(0, index, weight)[index]
    x, start = random_points(300, channels, radius=4.0), random_points(40, channels, seed=5)
    return x, weight[:, None], index, start, C


@compiled
def test_many_groups_have_the_means_of_the_reference():
    given = many_groups()
    expected = frechet_mean_reference(*given)
    torch.testing.assert_close(frechet_mean(*given), expected, atol=1e-8, rtol=0)


@compiled
def test_many_systems_have_the_solutions_of_the_reference():
    x, weight, index, start, c = many_groups()
    unit, zeta = directions(poincare.rel(start[index], x, c=c), c)
    given = (random_points(40, 5, seed=9), weight, unit, zeta, index)
    torch.testing.assert_close(
        solve_hessian(*given), solve_hessian_reference(*given), atol=1e-12, rtol=0
    )


@compiled
def test_threads_and_strides_do_not_change_a_bit():
    given = many_groups()
    assert_same_for_any_number_of_threads(lambda: [frechet_mean(*given)])
    assert torch.equal(frechet_mean(*map(strided, given)), frechet_mean(*given))


@each_mean
def test_nan_stays_in_its_group(mean_of):
    x, weight, index, start, c = many_groups()
    expected = mean_of(x, weight, index, start, c)
    x[index == 2] = torch.nan
    mean = mean_of(x, weight, index, start, c)
    others = torch.arange(40) != 2
    torch.testing.assert_close(mean[others], expected[others], atol=1e-8, rtol=0)


@compiled
def test_switched_off_it_is_the_reference():
    given = many_groups()
    expected = frechet_mean_reference(*given)
    assert not torch.equal(frechet_mean(*given), expected)
    try:
        set_fused(False)
        assert torch.equal(frechet_mean(*given), expected)
    finally:
        set_fused(True)
