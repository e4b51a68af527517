"""The contract of a manifold, kept by all three."""

import copy
import math
import pickle

import geoopt
import pytest
import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall

MANIFOLDS = [PoincareBall(0.7), Lorentz(0.7), Euclidean()]
LEARNABLE = [PoincareBall(0.7, learnable=True), Lorentz(0.7, learnable=True)]

every_manifold = pytest.mark.parametrize("manifold", [*MANIFOLDS, *LEARNABLE], ids=repr)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}


@pytest.fixture(autouse=True)
def fresh_parameters() -> None:
    for manifold in LEARNABLE:
        manifold.zero_grad()


def points(manifold: Manifold, *size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return manifold.random(*size, dtype=dtype)


def assert_near(actual: Tensor, expected: Tensor, factor: float = 1.0) -> None:
    bound = factor * TOLERANCE[expected.dtype] * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=0, atol=bound)


@every_manifold
class TestPoints:
    def test_a_coordinate_that_is_nan_stays_visible(self, manifold):
        x = points(manifold, 4, 3)
        y = x.clone()
        y[1, -1] = torch.nan
        for result in (manifold.dist(x, y), manifold.dist(y, x), manifold.dist0(y)):
            assert result.isnan().tolist() == [False, True, False, False]
        for result in (manifold.log0(y), manifold.rel(x, y), manifold.rel(y, x)):
            assert result.isnan().any(-1).tolist() == [False, True, False, False]

    def test_ambient_dim_is_the_number_of_coordinates(self, manifold):
        for channels in (1, 3, 64):
            expected = channels + isinstance(manifold, Lorentz)
            assert manifold.ambient_dim(channels) == expected
            assert manifold.origin(channels).shape == (expected,)
            assert manifold.random(2, 5, channels).shape == (2, 5, expected)

    @every_dtype
    def test_the_origin_is_where_log0_is_zero(self, manifold, dtype):
        origin = manifold.origin(4, 3, dtype=dtype)
        assert origin.dtype == dtype
        assert not origin.requires_grad
        assert manifold.check_point(origin)
        assert torch.equal(manifold.log0(origin), torch.zeros(4, 3, dtype=dtype))
        assert torch.equal(manifold.exp0(torch.zeros(4, 3, dtype=dtype)), origin)
        assert torch.equal(manifold.dist0(origin), torch.zeros(4, dtype=dtype))

    @every_dtype
    @pytest.mark.parametrize("channels", [1, 3, 256])
    def test_random_points_are_exponentials_of_normal_vectors(self, manifold, dtype, channels):
        """As long for any number of channels: in 128 dimensions all were at the boundary once."""
        x = manifold.random(2000, channels, std=0.5, dtype=dtype)
        assert x.dtype == dtype
        assert not x.requires_grad
        assert manifold.check_point(x)
        v = manifold.log0(x)
        assert v.mean(dim=0).abs().max() < 0.05
        assert v.square().sum(dim=1).mean().sqrt().item() == pytest.approx(0.5, rel=0.06)

    def test_random_points_follow_the_seed(self, manifold):
        torch.manual_seed(3)
        x = manifold.random(4, 2)
        assert not torch.equal(manifold.random(4, 2), x)
        torch.manual_seed(3)
        assert torch.equal(manifold.random(4, 2), x)

    def test_the_default_dtype_is_that_of_torch(self, manifold):
        assert manifold.origin(3).dtype == torch.get_default_dtype()
        assert manifold.random(3).dtype == torch.get_default_dtype()

    def test_projected_points_are_on_the_manifold(self, manifold):
        x = 5 * torch.randn(20, 4)
        assert manifold.check_point(manifold.projx(x))
        x = points(manifold, 20, 3)
        assert_near(manifold.projx(x), x)

    def test_check_point_explains_itself(self, manifold):
        good = points(manifold, 5, 3)
        assert manifold.check_point(good) is True
        assert manifold.check_point(good, explain=True) == (True, None)
        assert manifold.check_point(good[:0], explain=True) == (True, None)
        ok, reason = manifold.check_point(torch.tensor(1.0), explain=True)
        assert not ok
        assert "'x'" in reason and "\n" not in reason


def test_check_point_looks_at_no_values_while_compiling():
    # one graph is only possible without branching on values
    bad = torch.full((2, 3), 9.0)
    for manifold in (PoincareBall(), Lorentz()):
        check = torch.compile(
            lambda x, m=manifold: (m.check_point(x), x + 1), fullgraph=True, backend="eager"
        )
        assert check(bad)[0] is True
        assert manifold.check_point(bad) is False


@every_manifold
@every_dtype
class TestVerbs:
    def test_verbs_keep_the_dtype_and_have_intrinsic_vectors(self, manifold, dtype):
        x, y = points(manifold, 5, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        v = torch.randn(5, 3, dtype=dtype)
        for vector in (manifold.log0(x), manifold.rel(x, y)):
            assert vector.shape == (5, 3)
            assert vector.dtype == dtype
        for point in (manifold.exp0(v), manifold.move(x, v), manifold.projx(x)):
            assert point.shape == x.shape
            assert point.dtype == dtype
        for number in (manifold.dist(x, y), manifold.dist0(x)):
            assert number.shape == (5,)
            assert number.dtype == dtype

    def test_inverses(self, manifold, dtype):
        x, v = points(manifold, 5, 3, dtype=dtype), torch.randn(5, 3, dtype=dtype)
        assert_near(manifold.log0(manifold.exp0(v)), v, 100)
        assert_near(manifold.rel(x, manifold.move(x, v)), v, 1000)

    def test_dist0_is_the_distance_from_the_origin(self, manifold, dtype):
        x = points(manifold, 5, 3, dtype=dtype)
        assert_near(manifold.dist0(x), manifold.dist(manifold.origin(3, dtype=dtype), x))

    def test_keepdim(self, manifold, dtype):
        x, y = points(manifold, 5, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        expected = manifold.dist(x, y)[:, None]
        assert torch.equal(manifold.dist(x, y, keepdim=True), expected)
        u = manifold.logmap(x, y)
        assert manifold.inner(x, u).shape == (5,)
        assert torch.equal(manifold.inner(x, u, keepdim=True), manifold.inner(x, u)[:, None])
        assert torch.equal(manifold.inner(x, u, u), manifold.inner(x, u))

    def test_leading_dimensions_broadcast(self, manifold, dtype):
        x, y = points(manifold, 4, 1, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        v = torch.randn(5, 3, dtype=dtype)
        for function, other in ((manifold.rel, y), (manifold.dist, y), (manifold.move, v)):
            out = function(x, other)
            assert out.shape[:2] == (4, 5)
            assert_near(out[2, 3], function(x[2, 0], other[3]))

    def test_the_chart_makes_rel_linear(self, manifold, dtype):
        x, y = points(manifold, 5, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        (p, s), (q, t) = manifold.chart(x), manifold.chart(y)
        assert p.shape == (5, 3)
        assert s.shape == (5, 1)
        alpha, beta = manifold.rel_coefficients(p, s, q, t)
        assert alpha.shape == beta.shape == (5, 1)
        rel = alpha * (q - p) - beta * p
        assert_near(rel.to(dtype), manifold.rel(x, y), 10)
        w = torch.randn(3, 2, dtype=rel.dtype)
        on_points = alpha * (q @ w - p @ w) - beta * (p @ w)
        assert_near(on_points.to(dtype), manifold.rel(x, y) @ w.to(dtype), 100)

    def test_the_ball_is_another_picture_of_the_same_points(self, manifold, dtype):
        x, y = points(manifold, 5, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        (p, gap), (q, _) = manifold.to_ball(x), manifold.to_ball(y)
        assert p.shape == (5, 3)
        assert gap.dtype == torch.float64
        c = float(torch.as_tensor(manifold.c).detach())
        expected = 1 - c * p.double().square().sum(-1, keepdim=True)
        torch.testing.assert_close(gap, expected, rtol=1e-6, atol=0)
        assert_near(manifold.from_ball(p).to(dtype), x, 10)
        if c:
            ball = PoincareBall(c)
            torch.testing.assert_close(
                ball.dist(p, q).to(dtype), manifold.dist(x, y).detach(), rtol=1e-5, atol=0
            )


@every_manifold
class TestTangentVectors:
    def test_transport_from_the_origin_is_an_isometry_with_inverse(self, manifold):
        x, v = points(manifold, 5, 3), torch.randn(5, 3, dtype=torch.float64)
        moved = manifold.transp0(x, v)
        assert moved.shape == x.shape
        assert_near(manifold.transp0back(x, moved), v, 100)
        at_origin = v.square().sum(-1) * (4 if isinstance(manifold, PoincareBall) else 1)
        assert_near(manifold.inner(x, moved), at_origin, 1000)

    def test_expmap_and_logmap_and_retr(self, manifold):
        x, y = points(manifold, 5, 3), points(manifold, 5, 3)
        u = manifold.logmap(x, y)
        assert_near(manifold.expmap(x, u), y, 1000)
        assert torch.equal(manifold.retr(x, u), manifold.expmap(x, u))
        assert_near(manifold.inner(x, u).sqrt(), manifold.dist(x, y), 1000)
        assert manifold.check_vector_on_tangent(x, u)

    def test_transport_is_an_isometry(self, manifold):
        x, y = points(manifold, 5, 3), points(manifold, 5, 3)
        u, w = manifold.transp0(x, torch.randn(2, 5, 3, dtype=torch.float64))
        moved = [manifold.transp(x, y, vector) for vector in (u, w)]
        assert_near(manifold.inner(y, *moved), manifold.inner(x, u, w), 1000)

    def test_the_riemannian_gradient_is_the_direction_of_steepest_ascent(self, manifold):
        x, target = points(manifold, 5, 3), points(manifold, 5, 3)
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(manifold.dist(x, target).sum(), x)
        ascent = manifold.egrad2rgrad(x.detach(), gradient)
        assert manifold.check_vector_on_tangent(x.detach(), ascent)
        away = -manifold.logmap(x.detach(), target)
        away = away / manifold.inner(x, away, keepdim=True).sqrt()
        assert_near(ascent, away.detach(), 10000)

    def test_projected_vectors_are_tangent(self, manifold):
        x = points(manifold, 5, 3)
        u = manifold.proju(x, torch.randn_like(x))
        assert manifold.check_vector_on_tangent(x, u)
        assert_near(manifold.proju(x, u), u, 1000)


@every_manifold
class TestModule:
    @every_dtype
    def test_copies_give_the_same_numbers(self, manifold, dtype):
        x, y = points(manifold, 5, 3, dtype=dtype), points(manifold, 5, 3, dtype=dtype)
        copies = [copy.deepcopy(manifold), pickle.loads(pickle.dumps(manifold))]
        for other in copies:
            assert repr(other) == repr(manifold)
            assert torch.equal(other.dist(x, y), manifold.dist(x, y))

    def test_it_is_named_without_memory_too(self, manifold):
        learnable = any(True for _ in manifold.parameters())
        found = repr(copy.deepcopy(manifold).to("meta"))
        name = type(manifold).__name__
        assert found == (f"{name}(learnable=True)" if learnable else repr(manifold))

    def test_its_name_does_not_depend_on_the_default_device(self, manifold):
        name = repr(manifold)
        with torch.device("meta"):
            assert repr(manifold) == name

    def test_it_is_a_manifold_for_geoopt(self, manifold):
        assert isinstance(manifold, geoopt.manifolds.base.Manifold)
        assert isinstance(manifold, torch.nn.Module)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@every_dtype
@pytest.mark.parametrize(
    "optimiser,steps",
    [(geoopt.optim.RiemannianAdam, 120), (geoopt.optim.RiemannianSGD, 40)],
    ids=["adam", "sgd"],
)
def test_geoopt_moves_a_parameter_to_its_target(manifold, dtype, optimiser, steps):
    start, target = manifold.random(2, 6, 3, std=1.0, dtype=dtype)
    x = geoopt.ManifoldParameter(start.clone(), manifold=manifold)
    optimizer = optimiser([x], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (manifold.dist(x, target) ** 2).sum().backward()
        optimizer.step()
    assert x.dtype == dtype
    assert manifold.check_point(x)
    before, after = (manifold.dist(p, target) for p in (start, x))
    assert before.min() > 0.3
    assert (after < 0.02 * before).all()


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_riemannian_sgd_descends_along_the_geodesic(model):
    manifold = model(0.7)
    target, start = points(manifold, 2, 6, 3)
    x = geoopt.ManifoldParameter(start.clone(), manifold=manifold)
    optimizer = geoopt.optim.RiemannianSGD([x], lr=0.1)
    (manifold.dist(x, target) ** 2 / 2).sum().backward()
    optimizer.step()
    expected = manifold.expmap(start, 0.1 * manifold.logmap(start, target))
    assert_near(x.detach(), expected, 1000)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
@pytest.mark.parametrize("c", [1.0, 0.25])
def test_distances_of_known_points(model, c):
    # on a line through the origin distances add up; 3 to one side, 2 to the other
    units = 0.5 if model is PoincareBall else 1.0
    manifold = model(c)
    x, y = (manifold.exp0(torch.tensor([units * r, 0.0])) for r in (3.0, -2.0))
    assert math.isclose(manifold.dist(x, y).item(), 5.0, rel_tol=1e-6)
    assert manifold.rel(x, y).tolist() == pytest.approx([-5 * units, 0.0], rel=1e-6)


@every_manifold
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_are_lengths_however_short_or_long(manifold, size):
    x = manifold.origin(4, 3, dtype=torch.float32)
    v = size * torch.randn(4, 3)
    length = v.double().norm(dim=-1).float() * (2 if isinstance(manifold, PoincareBall) else 1)
    actual = manifold.norm(x, manifold.transp0(x, v))
    torch.testing.assert_close(actual, length, rtol=3 * torch.finfo(torch.float32).eps, atol=0)


@every_manifold
@pytest.mark.parametrize("short", [0.0, 1e-30, 1e-200])
def test_the_length_of_a_short_vector_has_a_finite_gradient(manifold, short):
    x = points(manifold, 4, 3)
    u = manifold.transp0(x, torch.full((4, 3), short, dtype=torch.float64)).detach()
    length = manifold.norm(x, u.requires_grad_(), keepdim=True)
    assert length.shape == (4, 1)
    length.sum().backward()
    assert u.grad.isfinite().all()
    assert short or not u.grad.any()


@every_dtype
@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_the_length_of_a_vector_far_out_is_its_length_at_the_origin(model, dtype):
    manifold, radius = model(), 8.0 if dtype == torch.float32 else 18.0
    generator = torch.Generator().manual_seed(0)
    way, v = torch.randn(2, 100, 3, generator=generator, dtype=torch.float64).to(dtype)
    x = manifold.exp0(way / way.norm(dim=-1, keepdim=True) * (radius * manifold.rel_unit / 2))
    length = v.norm(dim=-1) * 2 / manifold.rel_unit
    # coordinates of tangent vectors of the hyperboloid lose as many digits as the radius takes
    error = 20 * torch.finfo(dtype).eps * torch.tensor(radius).exp().item()
    torch.testing.assert_close(manifold.norm(x, manifold.transp0(x, v)), length, rtol=error, atol=0)
    assert (manifold.inner(x, manifold.transp0(x, v)) >= 0).all()


@pytest.mark.parametrize("optimiser", [geoopt.optim.RiemannianAdam, geoopt.optim.RiemannianSGD])
@pytest.mark.parametrize(
    ("model", "dtype", "radius"),
    [
        (PoincareBall, torch.float32, 14.0),
        (PoincareBall, torch.float64, 20.0),
        (PoincareBall, torch.float64, 30.0),
        (Lorentz, torch.float32, 10.0),
        (Lorentz, torch.float64, 20.0),
    ],
)
def test_geoopt_moves_points_far_out_and_none_becomes_nan(model, dtype, radius, optimiser):
    manifold = model()
    way = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    way = way / way.norm(dim=-1, keepdim=True) * (radius * manifold.rel_unit / 2)
    parameter = geoopt.ManifoldParameter(manifold.exp0(way), manifold=manifold)
    target = manifold.exp0(way.flip(0))
    how = {"momentum": 0.9} if optimiser is geoopt.optim.RiemannianSGD else {}
    optimizer = optimiser([parameter], lr=0.01, **how)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = manifold.dist(parameter, target).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert parameter.isfinite().all()
    assert losses[-1] <= losses[0]


@pytest.mark.parametrize("optimiser", [geoopt.optim.RiemannianAdam, geoopt.optim.RiemannianSGD])
@pytest.mark.parametrize("manifold", [PoincareBall(), Lorentz(), Euclidean()], ids=str)
def test_geoopt_hides_no_infinite_gradient(manifold, optimiser):
    parameter = geoopt.ManifoldParameter(manifold.exp0(torch.ones(1, 2)), manifold=manifold)
    parameter.grad = torch.zeros_like(parameter)
    parameter.grad[0, 1] = torch.inf
    optimiser([parameter], lr=0.1).step()
    assert not parameter.isfinite().all()


def test_products_of_geoopt_have_an_origin():
    product = geoopt.ProductManifold((PoincareBall(), 3), (Euclidean(), 2))
    assert torch.equal(product.origin(2, 5), torch.zeros(2, 5))


@pytest.mark.parametrize("manifold", [PoincareBall(), Lorentz(), Euclidean()], ids=str)
def test_what_is_no_number_is_no_point(manifold):
    x = manifold.random(4, 3)
    x[1, 2] = torch.nan
    assert not manifold.check_point(x)
    assert not Lorentz().check_point(torch.zeros(2, 0))


@pytest.mark.parametrize("manifold", LEARNABLE, ids=str)
def test_reset_the_curvature_is_that_of_the_beginning(manifold):
    manifold = copy.deepcopy(manifold)
    with torch.no_grad():
        manifold.log_scale += 1
    assert manifold.c != 0.7
    manifold.reset_parameters()
    assert manifold.c == 0.7


def test_a_state_does_not_follow_the_default_device():
    ball = PoincareBall(0.7)
    with torch.device("meta"):
        state = ball.state_dict()
    other = PoincareBall(2.0)
    other.load_state_dict(state)
    assert other.c == 0.7


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_every_verb_compiles_without_a_break(manifold):
    """The flat ``dist`` did not, and with it three layers of the control."""
    x, y = (points(manifold, 4, 3).detach() for _ in range(2))
    v = manifold.log0(y)
    u = manifold.transp0(x, v)
    calls = {
        "projx": (x,), "log0": (x,), "dist0": (x,), "to_ball": (x,), "chart": (x,), "exp0": (v,),
        "dist": (x, y), "rel": (x, y), "logmap": (x, y), "busemann": (x, v), "move": (x, v),
        "transp0": (x, v), "transp0back": (x, u), "expmap": (x, u), "retr": (x, u),
        "norm": (x, u), "inner": (x, u), "proju": (x, u), "egrad2rgrad": (x, u),
        "transp": (x, y, u), "busemann0": (v, v),
    }  # fmt: skip
    for name, given in calls.items():
        verb = getattr(manifold, name)
        torch._dynamo.reset()
        found = torch.compile(verb, fullgraph=True, backend="eager")(*given)
        torch.testing.assert_close(found, verb(*given), msg=lambda m, name=name: f"{name}: {m}")
