"""The control: every verb is what it is for vectors."""

import geoopt
import pytest
import torch

from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall

SPACE = Euclidean()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 3)


@pytest.fixture
def y() -> torch.Tensor:
    return torch.randn(5, 3)


def test_verbs_are_those_of_vectors(x, y):
    assert torch.equal(SPACE.log0(x), x)
    assert torch.equal(SPACE.exp0(x), x)
    assert torch.equal(SPACE.rel(x, y), y - x)
    assert torch.equal(SPACE.move(x, y), x + y)
    assert torch.equal(SPACE.projx(x), x)
    assert torch.equal(SPACE.expmap(x, y), x + y)
    assert torch.equal(SPACE.retr(x, y), x + y)
    assert torch.equal(SPACE.logmap(x, y), y - x)
    assert torch.equal(SPACE.origin(2, 3), torch.zeros(2, 3))


def test_the_distance_is_the_length_of_the_difference(x, y):
    torch.testing.assert_close(SPACE.dist(x, y), torch.linalg.vector_norm(y - x, dim=-1))
    torch.testing.assert_close(SPACE.dist0(x), torch.linalg.vector_norm(x, dim=-1))


def test_the_distance_of_coincident_points_has_gradient_zero(x):
    x.requires_grad_()
    SPACE.dist(x, x.detach().clone()).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_transport_and_gradients_change_nothing(x, y):
    v = torch.randn(5, 3)
    assert torch.equal(SPACE.transp(x, y, v), v)
    assert torch.equal(SPACE.transp0(x, v), v)
    assert torch.equal(SPACE.transp0back(x, v), v)
    assert torch.equal(SPACE.proju(x, v), v)
    assert torch.equal(SPACE.egrad2rgrad(x, v), v)


def test_the_inner_product_is_the_dot_product(x, y):
    torch.testing.assert_close(SPACE.inner(x, x, y), (x * y).sum(-1))
    torch.testing.assert_close(SPACE.inner(x, y), (y * y).sum(-1))
    theirs = geoopt.Euclidean(ndim=1).inner(x, x, y, keepdim=True)
    torch.testing.assert_close(SPACE.inner(x, x, y, keepdim=True), theirs)


def test_it_is_flat_and_has_nothing_to_learn():
    assert SPACE.c == 0.0
    assert SPACE.ambient_dim(7) == 7
    assert not list(SPACE.parameters())
    assert not SPACE.state_dict()
    assert repr(SPACE) == "Euclidean()"


def test_every_vector_is_a_point_and_tangent(x):
    assert SPACE.check_point(1e30 * x, explain=True) == (True, None)
    assert SPACE.check_vector_on_tangent(x, 1e30 * x)


def test_the_chart_is_space_itself_with_gap_one(x, y):
    for (p, s), dtype in ((SPACE.chart(x), torch.float32), (SPACE.to_ball(x), torch.float64)):
        assert torch.equal(p, x)
        assert torch.equal(s, torch.ones(5, 1, dtype=dtype))
    assert torch.equal(SPACE.from_ball(x), x)
    ones = torch.ones(5, 1)
    alpha, beta = SPACE.rel_coefficients(x, ones, y, ones)
    assert torch.equal(alpha * (y - x) - beta * x, y - x)


@pytest.mark.parametrize("verb", ["rel", "move"])
def test_the_ball_converges_to_it(verb, x, y):
    ball = PoincareBall(c=1e-10)
    expected = getattr(SPACE, verb)(x, y)
    torch.testing.assert_close(getattr(ball, verb)(x, y), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ball.dist(x, y), 2 * SPACE.dist(x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-23, 1.0, 1e20])
def test_distances_whose_squares_float32_does_not_hold(scale):
    x, y = torch.zeros(3, requires_grad=True), scale * torch.tensor([1.0, 2.0, 2.0])
    distance = SPACE.dist(x, y)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance.detach() / scale, torch.tensor(3.0))
    (grad,) = torch.autograd.grad(distance, x)
    torch.testing.assert_close(grad, -torch.tensor([1.0, 2.0, 2.0]) / 3)


def test_the_distance_has_the_dtype_of_the_difference():
    whole = SPACE.dist(torch.tensor([0, 0]), torch.tensor([1, 1]))
    torch.testing.assert_close(whole, torch.tensor(2.0).sqrt())
    mixed = SPACE.dist(torch.zeros(2), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(mixed, torch.tensor(2.0, dtype=torch.float64).sqrt())


@pytest.mark.parametrize("verb", ["dist", "rel", "move", "busemann"])
@pytest.mark.parametrize("shape", [(4, 1), ()])
def test_another_number_of_coordinates_is_named_and_not_broadcast(verb, shape):
    x, other = torch.rand(4, 3) / 2, torch.rand(shape) / 2
    with pytest.raises(ValueError, match="'(y|v|direction)' must have the last dimension of 'x'"):
        getattr(SPACE, verb)(x, other)
    with pytest.raises(ValueError, match="must have"):
        getattr(PoincareBall(), verb)(x, other)
    with pytest.raises(ValueError, match=r"'v' .* 'u' \(got shapes .* and \(4, 3\)\)"):
        SPACE.inner(x, x, other)


def test_the_ball_s_metric_converges_to_four_times_its(x, y):
    ball = PoincareBall(c=1e-12)
    for verb, times in (("inner", 4), ("norm", 2), ("busemann", 2), ("egrad2rgrad", 0.25)):
        expected = times * getattr(SPACE, verb)(x, y)
        torch.testing.assert_close(getattr(ball, verb)(x, y), expected, rtol=1e-5, atol=1e-5)
