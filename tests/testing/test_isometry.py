"""Random isometries, and the assertions that use them."""

import pytest
import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import MidpointAggregation
from torch_geometric_hyperbolic.testing import (
    assert_isometry_equivariant,
    assert_isometry_invariant,
    assert_on_manifold,
    random_isometry,
)

SPACES = [PoincareBall(1.0), PoincareBall(0.3), Lorentz(1.0), Lorentz(4.0), Euclidean()]
each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


def pairwise(manifold, x: Tensor) -> Tensor:
    return manifold.dist(x.unsqueeze(0), x.unsqueeze(1))


@each_space
@pytest.mark.parametrize("length", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_distances_are_preserved(manifold, length, channels):
    x = manifold.random(9, channels, dtype=torch.float64)
    for _ in range(3):
        y = random_isometry(manifold, channels, length=length)(x)
        assert_on_manifold(y, manifold)
        torch.testing.assert_close(pairwise(manifold, y), pairwise(manifold, x), atol=1e-9, rtol=0)


@each_space
@pytest.mark.parametrize("length", [0.0, 0.5, 3.0])
def test_the_origin_moves_by_the_length(manifold, length):
    origin = manifold.origin(3, dtype=torch.float64)
    moved = torch.stack([random_isometry(manifold, 3, length=length)(origin) for _ in range(8)])
    expected = torch.full((8,), length, dtype=torch.float64)
    torch.testing.assert_close(manifold.dist(origin, moved), expected, atol=1e-12, rtol=0)
    if length:  # in different directions
        assert pairwise(manifold, moved).fill_diagonal_(1).min() > 0.01


@each_space
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_rotations_and_reflections_both_occur(manifold, channels):
    signs = []
    basis = torch.eye(channels, dtype=torch.float64) * 0.1
    for _ in range(40):
        phi = random_isometry(manifold, channels, length=0.0)
        matrix = 10 * manifold.log0(phi(manifold.exp0(basis)))
        gram = matrix @ matrix.T
        torch.testing.assert_close(gram, torch.eye(channels).double(), atol=1e-10, rtol=0)
        signs.append(round(torch.linalg.det(matrix).item()))
    assert set(signs) == {-1, 1}
    assert 8 <= signs.count(1) <= 32  # each in half of the cases


def test_the_generator_decides_and_the_dtype_is_kept():
    ball = PoincareBall()
    x = ball.random(5, 3)

    def isometry(seed: int):
        generator = torch.Generator().manual_seed(seed)
        return random_isometry(ball, 3, generator=generator, dtype=torch.float32)

    assert isometry(1)(x).dtype == torch.float32
    assert torch.equal(isometry(1)(x), isometry(1)(x))
    assert not torch.allclose(isometry(1)(x), isometry(2)(x))


@each_space
def test_one_isometry_is_one_map(manifold):
    x = manifold.random(5, 3, dtype=torch.float64)
    phi = random_isometry(manifold, 3)
    assert torch.equal(phi(x)[2:], phi(x[2:]))


# The assertions --------------------------------------------------------------------------------


@each_space
def test_distances_are_invariant(manifold):
    x = manifold.random(9, 3, dtype=torch.float64)
    assert_isometry_invariant(lambda x: pairwise(manifold, x), x, manifold, factor=100)


@each_space
def test_midpoints_are_equivariant(manifold):
    x = manifold.random(9, 3, dtype=torch.float64)
    aggr = MidpointAggregation(manifold=manifold)
    assert_isometry_equivariant(aggr, x, manifold, factor=100)


@each_space
def test_coordinates_are_not_invariant(manifold):
    x = manifold.random(9, 3, dtype=torch.float64)
    for length in (0.0, 1.0):
        with pytest.raises(AssertionError):
            assert_isometry_invariant(manifold.log0, x, manifold, length=length, factor=1e6)


@each_space
def test_the_distance_from_the_origin_is_invariant_to_rotations_only(manifold):
    x = manifold.random(9, 3, dtype=torch.float64)
    assert_isometry_invariant(manifold.dist0, x, manifold, length=0.0, factor=10)
    with pytest.raises(AssertionError):
        assert_isometry_invariant(manifold.dist0, x, manifold, length=1.0, factor=1e6)


@each_space
def test_scaling_is_equivariant_to_rotations_only(manifold):
    x = manifold.random(9, 3, dtype=torch.float64)

    def shrink(x: Tensor) -> Tensor:
        return manifold.exp0(0.5 * manifold.log0(x))

    assert_isometry_equivariant(shrink, x, manifold, length=0.0, factor=10)
    with pytest.raises(AssertionError):
        assert_isometry_equivariant(shrink, x, manifold, length=1.0, factor=1e6)


@each_space
@pytest.mark.parametrize("channels", [3, 13, 41])
def test_reflections_are_among_those_tried(manifold, channels):
    """Orientation is invariant to rotations and translations, not to reflections."""
    x = manifold.random(channels + 1, channels, dtype=torch.float64)

    def orientation(x: Tensor) -> Tensor:
        return torch.linalg.det(manifold.rel(x[:1], x[1:])).sign()

    with pytest.raises(AssertionError):
        assert_isometry_invariant(orientation, x, manifold)


@pytest.mark.parametrize("check", [assert_isometry_invariant, assert_isometry_equivariant])
def test_several_isometries_are_tried(check):
    ball = PoincareBall()
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x) if check is assert_isometry_invariant else x

    x = ball.random(4, 3, dtype=torch.float64)
    check(function, x, ball)
    moved = [y for y in seen if not torch.equal(x, y)]
    assert len(moved) >= 3
    assert all(not torch.allclose(y, z) for y, z in zip(moved[:-1], moved[1:], strict=True))


@each_space
def test_choosing_one_coordinate_is_not_equivariant(manifold):
    x = manifold.random(4, 3, dtype=torch.float64)
    keep_first = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_isometry_equivariant(
            lambda x: manifold.exp0(manifold.log0(x) * keep_first), x, manifold, length=0.0
        )


@pytest.mark.parametrize("channels", [1, 13, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_isometries_without_a_reflection_are_among_those_tried(channels, dtype):
    ball, signs = PoincareBall(), []
    basis = ball.exp0(0.1 * torch.eye(channels, dtype=dtype))

    def orientation(x: Tensor) -> Tensor:
        signs.append(torch.linalg.det(ball.log0(x) * 10).round().item())
        return torch.zeros(())

    assert_isometry_invariant(orientation, basis, ball, length=0.0)
    assert {-1.0, 1.0} == set(signs[::2])  # of the moved points, before those that stay


def test_functions_may_return_several_tensors():
    ball = PoincareBall()
    x = ball.random(9, 3, dtype=torch.float64)
    assert_isometry_invariant(lambda x: (pairwise(ball, x), torch.ones(2)), x, ball)
    with pytest.raises(AssertionError):
        assert_isometry_invariant(lambda x: (pairwise(ball, x), x), x, ball)


def test_functions_may_return_anything_that_compares():
    """A count, a graph: integers are compared exactly."""
    ball = PoincareBall()
    x = ball.random(9, 3, dtype=torch.float64)
    assert_isometry_invariant(lambda x: pairwise(ball, x).argsort(), x, ball)
    with pytest.raises(AssertionError):
        assert_isometry_invariant(lambda x: x.argsort(dim=0), x, ball)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("c", [1e-6, 1e4, 1e6])
def test_the_length_is_right_for_every_curvature(space, c):
    manifold, length = space(c), 0.3 / c**0.5
    origin = manifold.origin(3, dtype=torch.float64)
    moved = random_isometry(manifold, 3, length=length)(origin)
    assert manifold.dist0(moved).item() == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_a_learnable_curvature_warns_of_nothing(space):
    torch.set_warn_always(True)
    try:
        random_isometry(space(0.5, learnable=True), 3)
    finally:
        torch.set_warn_always(False)


def test_wrong_arguments_of_an_isometry_are_named():
    ball = PoincareBall()
    with pytest.raises(TypeError, match="'manifold' must be"):
        random_isometry(None, 3)
    with pytest.raises(ValueError, match="'channels' must be at least 1"):
        random_isometry(ball, 0)
    for length in (-1.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match=rf"'length' must be finite .*\(got {length}\)"):
            random_isometry(ball, 3, length=length)
        with pytest.raises(ValueError, match=rf"'length' must be finite .*\(got {length}\)"):
            assert_isometry_invariant(ball.dist0, ball.random(2, 3), ball, length=length)
    with pytest.raises(TypeError, match="'manifold' must be"):
        assert_isometry_equivariant(torch.sin, ball.random(2, 3), None)
    with pytest.raises(ValueError, match=r"'x' must hold points \(got shape \(0, 3\)\)"):
        assert_isometry_invariant(ball.dist0, torch.zeros(0, 3), ball)
    with pytest.raises(TypeError, match="'x' must have the isometry's dtype torch.float64"):
        random_isometry(ball, 3)(torch.zeros(1, 3))
    with pytest.raises(TypeError, match=r"'length' must be a float \(got '1'\)"):
        random_isometry(ball, 3, length="1")


@pytest.mark.parametrize("check", [assert_isometry_invariant, assert_isometry_equivariant])
def test_points_that_are_not_on_the_manifold_are_named(check):
    with pytest.raises(ValueError, match=r"'x' must hold points of PoincareBall\(c=1.0\), "):
        check(lambda x: x, torch.full((2, 3), 0.9, dtype=torch.float64), PoincareBall())


@pytest.mark.parametrize("values", [(), [1.0], 2.0, (torch.ones(2), 1)], ids=repr)
def test_what_a_function_returns_is_compared_or_refused(values):
    ball = PoincareBall()
    with pytest.raises(TypeError, match="'function' must return a tensor or a tuple of them"):
        assert_isometry_invariant(lambda x: values, ball.random(4, 3), ball)


def test_the_factor_multiplies_the_tolerance():
    ball = PoincareBall()
    x = ball.random(5, 3, dtype=torch.float64)

    def noisy(values):
        return lambda x: torch.tensor(next(values), dtype=torch.float64)

    assert_isometry_invariant(noisy(iter([0.0, 1e-9] * 4)), x, ball, factor=1e5)
    with pytest.raises(AssertionError):
        assert_isometry_invariant(noisy(iter([0.0, 1e-9] * 4)), x, ball)
