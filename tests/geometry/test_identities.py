"""Laws of hyperbolic geometry, in float64: each relates functions that are computed apart."""

import pytest
import torch
from torch import Tensor

from tests.geometry.samples import (
    ARGUMENTS,
    GEOMETRY,
    POINTS,
    assert_close,
    label,
    moderate_arguments,
    pick,
    with_time,
)
from torch_geometric_hyperbolic.geometry import convert, lorentz, poincare

TOLERANCE = 1e-11  # a few hundred roundings at radius 2, where gaps lose one digit

both_models = pytest.mark.parametrize("model", GEOMETRY)
curvatures = pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 1e3])


@pytest.fixture
def points(model: str, c: float) -> dict[str, Tensor]:
    return moderate_arguments(model, c, torch.float64, num=20)


def squared_length(model: str, x: Tensor, u: Tensor, c: float) -> Tensor:
    return poincare.inner(x, u, u, c=c) if model == "poincare" else lorentz.inner(u, u)


@both_models
@curvatures
class TestVerbs:
    def test_exp0_and_log0_are_inverse(self, model, c, points):
        geometry, x, v = GEOMETRY[model], points["x"], points["v"]
        assert_close(geometry.log0(geometry.exp0(v, c=c), c=c), v, TOLERANCE)
        assert_close(geometry.exp0(geometry.log0(x, c=c), c=c), x, TOLERANCE)

    def test_rel_sees_where_move_went(self, model, c, points):
        geometry, x, v = GEOMETRY[model], points["x"], points["v"]
        assert_close(geometry.rel(x, geometry.move(x, v, c=c), c=c), v, TOLERANCE)

    def test_move_goes_where_rel_saw(self, model, c, points):
        geometry, x, y = GEOMETRY[model], points["x"], points["y"]
        assert_close(geometry.move(x, geometry.rel(x, y, c=c), c=c), y, TOLERANCE)

    def test_seen_from_the_origin_rel_is_log0_and_move_is_exp0(self, model, c, points):
        geometry, x, v = GEOMETRY[model], points["x"], points["v"]
        origin = geometry.exp0(torch.zeros_like(v), c=c)
        assert_close(geometry.rel(origin, x, c=c), geometry.log0(x, c=c), TOLERANCE)
        assert_close(geometry.move(origin, v, c=c), geometry.exp0(v, c=c), TOLERANCE)

    def test_rel_is_as_long_as_the_model_says(self, model, c, points):
        geometry, x, y = GEOMETRY[model], points["x"], points["y"]
        units = 2 if model == "poincare" else 1
        length = geometry.rel(x, y, c=c).norm(dim=-1)
        assert_close(units * length, geometry.dist(x, y, c=c), TOLERANCE)

    def test_distance_is_symmetric_and_adds_up_along_a_geodesic_only(self, model, c, points):
        geometry, x, y, v = GEOMETRY[model], points["x"], points["y"], points["v"]
        there = geometry.dist(x, y, c=c)
        assert_close(geometry.dist(y, x, c=c), there, TOLERANCE)
        halfway = geometry.move(x, geometry.rel(x, y, c=c) / 3, c=c)
        both = geometry.dist(x, halfway, c=c) + geometry.dist(halfway, y, c=c)
        assert_close(both, there, TOLERANCE)
        aside = geometry.exp0(v, c=c)
        assert (geometry.dist(x, aside, c=c) + geometry.dist(aside, y, c=c) > there).all()


@both_models
@curvatures
class TestTangentVectors:
    def test_expmap_and_logmap_are_inverse(self, model, c, points):
        geometry, x, y, u = GEOMETRY[model], points["x"], points["y"], points["u"]
        assert_close(geometry.expmap(x, geometry.logmap(x, y, c=c), c=c), y, TOLERANCE)
        assert_close(geometry.logmap(x, geometry.expmap(x, u, c=c), c=c), u, TOLERANCE)

    def test_logmap_is_as_long_as_the_distance(self, model, c, points):
        geometry, x, y = GEOMETRY[model], points["x"], points["y"]
        squared = squared_length(model, x, geometry.logmap(x, y, c=c), c).squeeze(-1)
        assert_close(squared.sqrt(), geometry.dist(x, y, c=c), TOLERANCE)

    def test_transport_from_the_origin_and_back(self, model, c, points):
        geometry, x, t, u = GEOMETRY[model], points["x"], points["t"], points["u"]
        assert_close(geometry.transp0back(x, geometry.transp0(x, t, c=c), c=c), t, TOLERANCE)
        assert_close(geometry.transp0(x, geometry.transp0back(x, u, c=c), c=c), u, TOLERANCE)

    def test_transport_from_the_origin_is_transport(self, model, c, points):
        geometry, x, t = GEOMETRY[model], points["x"], points["t"]
        origin = geometry.exp0(torch.zeros_like(t), c=c)
        vector = t if model == "poincare" else torch.cat([torch.zeros_like(t[:, :1]), t], dim=-1)
        expected = geometry.transp(origin, x, vector, c=c)
        assert_close(geometry.transp0(x, t, c=c), expected, TOLERANCE)

    def test_transport_is_isometric(self, model, c, points):
        geometry, x, y, u, w = GEOMETRY[model], *(points[name] for name in "xyuw")
        for vector in (u, w, u + w):
            moved = geometry.transp(x, y, vector, c=c)
            expected = squared_length(model, x, vector, c)
            assert_close(squared_length(model, y, moved, c), expected, TOLERANCE)

    def test_transport_carries_the_velocity_along_its_own_geodesic(self, model, c, points):
        geometry, x, y = GEOMETRY[model], points["x"], points["y"]
        arriving = geometry.transp(x, y, geometry.logmap(x, y, c=c), c=c)
        assert_close(arriving, -geometry.logmap(y, x, c=c), TOLERANCE)

    def test_transport_back_undoes_it(self, model, c, points):
        geometry, x, y, u = GEOMETRY[model], points["x"], points["y"], points["u"]
        there = geometry.transp(x, y, u, c=c)
        assert_close(geometry.transp(y, x, there, c=c), u, TOLERANCE)

    def test_the_riemannian_gradient_gives_the_slope_in_the_metric(self, model, c, points):
        geometry, x, u = GEOMETRY[model], points["x"], points["u"]
        euclidean = torch.randn_like(x)
        riemannian = geometry.egrad2rgrad(x, euclidean, c=c)
        if model == "poincare":
            slope = poincare.inner(x, riemannian, u, c=c)
        else:
            slope = lorentz.inner(riemannian, u)
            along = lorentz.inner(riemannian, x)
            assert along.abs().max() < TOLERANCE * (riemannian.norm() * x.norm())
        assert_close(slope, (euclidean * u).sum(-1, keepdim=True), TOLERANCE)


@both_models
@pytest.mark.parametrize("c", [1.0])
@pytest.mark.parametrize("s", [0.25, 30.0])
class TestScaling:
    """Points shrunk by ``s`` in a space curved ``s^2`` times as much: everything shrinks by ``s``,
    except scalars of the metric, which are those of vectors shrunk by ``s``.
    """

    def test_every_function_scales(self, model, c, s, points):
        for function in ARGUMENTS[model]:
            arguments = list(pick(points, function))
            out = function(*arguments, c=c)
            small = function(*(argument / s for argument in arguments), c=c * s**2)
            if function is poincare.inner:
                assert_close(small * s**2, out, TOLERANCE)
            elif function in (poincare.with_gap, poincare.with_wide_gap, convert.lorentz_to_ball):
                assert_close(small[0] * s, out[0], TOLERANCE)
                assert_close(small[1], out[1], TOLERANCE)
            elif function is lorentz.space_and_time:
                assert_close(small[0] * s, out[0], TOLERANCE)
                assert_close(small[1] * s, out[1], TOLERANCE)
            else:
                assert_close(small * s, out, TOLERANCE)


class TestFlatLimit:
    """At ``c = 1e-10`` and radius 1 space is Euclidean to ``c |x|^2``."""

    c = 1e-10

    @pytest.fixture
    def vectors(self) -> Tensor:
        return torch.rand(3, 20, 4, dtype=torch.float64) - 0.5

    @both_models
    def test_verbs_become_those_of_vectors(self, model, vectors):
        geometry, c = GEOMETRY[model], self.c
        x, y, v = vectors
        points = with_time(model, x, c), with_time(model, y, c)
        assert_close(geometry.rel(*points, c=c), y - x, 1e-6)
        assert_close(geometry.log0(points[0], c=c), x, 1e-6)
        assert_close(geometry.exp0(v, c=c)[..., -4:], v, 1e-6)
        assert_close(geometry.move(points[0], v, c=c)[..., -4:], x + v, 1e-6)
        assert_close(geometry.transp0(points[0], v, c=c)[..., -4:], v, 1e-6)

    @both_models
    def test_the_distance_becomes_euclidean_twice_that_in_the_ball(self, model, vectors):
        x, y, _ = vectors
        points = with_time(model, x, self.c), with_time(model, y, self.c)
        expected = (y - x).norm(dim=-1) * (2 if model == "poincare" else 1)
        assert_close(GEOMETRY[model].dist(*points, c=self.c), expected, 1e-6)

    def test_moebius_addition_becomes_addition_and_gyration_the_identity(self, vectors):
        x, y, v = vectors
        assert_close(poincare.mobius_add(x, y, c=self.c), x + y, 1e-6)
        assert_close(poincare.gyration(x, y, v, c=self.c), v, 1e-6)

    @both_models
    def test_the_gradient_by_the_curvature_stays_finite(self, model, vectors):
        x, y, _ = vectors
        c = torch.tensor(self.c, dtype=torch.float64, requires_grad=True)
        points = with_time(model, x, self.c), with_time(model, y, self.c)
        (
            GEOMETRY[model].rel(*points, c=c).sum() + GEOMETRY[model].dist(*points, c=c).sum()
        ).backward()
        assert c.grad.isfinite()


@curvatures
class TestModelsAgree:
    @pytest.fixture
    def model(self) -> str:
        return "poincare"

    def test_there_and_back(self, c, points):
        x = points["x"]
        hyperboloid = convert.poincare_to_lorentz(x, c=c)
        assert_close(convert.lorentz_to_poincare(hyperboloid, c=c), x, TOLERANCE)
        klein = convert.poincare_to_klein(x, c=c)
        assert_close(convert.klein_to_poincare(klein, c=c), x, TOLERANCE)

    def test_distances(self, c, points):
        x, y = points["x"], points["y"]
        there = [convert.poincare_to_lorentz(p, c=c) for p in (x, y)]
        assert_close(lorentz.dist(*there, c=c), poincare.dist(x, y, c=c), TOLERANCE)

    def test_verbs_up_to_the_factor_two(self, c, points):
        x, y, v = points["x"], points["y"], points["v"]
        there = [convert.poincare_to_lorentz(p, c=c) for p in (x, y)]
        assert_close(lorentz.rel(*there, c=c), 2 * poincare.rel(x, y, c=c), TOLERANCE)
        assert_close(lorentz.log0(there[0], c=c), 2 * poincare.log0(x, c=c), TOLERANCE)
        moved = convert.poincare_to_lorentz(poincare.move(x, v, c=c), c=c)
        assert_close(lorentz.move(there[0], 2 * v, c=c), moved, TOLERANCE)

    def test_the_klein_distance_is_the_cross_ratio_of_the_chord(self, c, points):
        x, y = (convert.poincare_to_klein(p, c=c) for p in (points["x"], points["y"]))
        # the chord x + t (y - x) meets the sphere of radius 1 / sqrt(c) at two parameters t
        d = y - x
        a, b, e = (d * d).sum(-1), (x * d).sum(-1), (x * x).sum(-1) - 1 / c
        root = (b * b - a * e).sqrt()
        before, behind = (-b - root) / a, (-b + root) / a
        cross_ratio = (1 - before) * behind / (-before * (behind - 1))
        expected = poincare.dist(points["x"], points["y"], c=c)
        assert_close(cross_ratio.log() / (2 * c**0.5), expected, 1e-9)


@curvatures
@pytest.mark.parametrize("model", ["poincare"])
class TestGyrovectors:
    """Ungar's laws of Moebius addition."""

    def test_left_cancellation(self, c, points):
        x, y = points["x"], points["y"]
        total = poincare.mobius_add(x, y, c=c)
        assert_close(poincare.mobius_add(-x, total, c=c), y, TOLERANCE)

    def test_the_origin_is_neutral_and_minus_is_the_inverse(self, c, points):
        x = points["x"]
        zero = torch.zeros_like(x)
        assert_close(poincare.mobius_add(zero, x, c=c), x, TOLERANCE)
        assert_close(poincare.mobius_add(x, zero, c=c), x, TOLERANCE)
        nothing = poincare.mobius_add(-x, x, c=c)
        assert nothing.abs().max() < TOLERANCE * x.abs().max()

    def test_gyration_makes_addition_associative(self, c, points):
        x, y = points["x"], points["y"]
        v = poincare.exp0(points["v"], c=c)
        total = poincare.mobius_add(x, y, c=c)
        left = poincare.mobius_add(x, poincare.mobius_add(y, v, c=c), c=c)
        right = poincare.mobius_add(total, poincare.gyration(x, y, v, c=c), c=c)
        assert_close(left, right, TOLERANCE)
        assert (left - poincare.mobius_add(total, v, c=c)).norm() > 1e-3 * left.norm()

    def test_gyration_makes_addition_commutative(self, c, points):
        x, y = points["x"], points["y"]
        swapped = poincare.gyration(x, y, poincare.mobius_add(y, x, c=c), c=c)
        assert_close(poincare.mobius_add(x, y, c=c), swapped, TOLERANCE)

    def test_gyration_is_a_rotation(self, c, points):
        x, y = points["x"][0], points["y"][0]
        rotation = poincare.gyration(x, y, torch.eye(3, dtype=torch.float64), c=c)
        identity = torch.eye(3, dtype=torch.float64)
        assert_close(rotation @ rotation.T, identity, TOLERANCE)
        assert torch.linalg.det(rotation) > 0

    def test_translations_are_isometries(self, c, points):
        x, y = points["x"], points["y"]
        by = poincare.exp0(points["v"], c=c)
        moved = [poincare.mobius_add(by, p, c=c) for p in (x, y)]
        assert_close(poincare.dist(*moved, c=c), poincare.dist(x, y, c=c), TOLERANCE)

    def test_moving_is_adding_an_exponential(self, c, points):
        x, v = points["x"], points["v"]
        expected = poincare.mobius_add(x, poincare.exp0(v, c=c), c=c)
        assert_close(poincare.move(x, v, c=c), expected, TOLERANCE)


@both_models
@curvatures
def test_every_function_broadcasts_over_leading_dimensions(model, c, points):
    many = {name: t.view(4, 5, -1) for name, t in points.items()}
    for function in ARGUMENTS[model]:
        if len(arguments := list(pick(many, function))) < 2:
            continue
        row, others = arguments[0][:, :1], [t[:1] for t in arguments[1:]]
        full = torch.broadcast_tensors(row, row.new_zeros(4, 5, 1))[0]
        out = function(row, *others, c=c)
        assert_close(out, function(full, *(t.expand(4, 5, -1) for t in others), c=c), 1e-14)


@pytest.mark.parametrize("function", POINTS, ids=label)
def test_points_of_moderate_radius_come_out_on_the_manifold(function):
    model = next(name for name, table in ARGUMENTS.items() if function in table)
    arguments = moderate_arguments(model, 0.7, torch.float64)
    point = function(*pick(arguments, function), c=0.7)
    assert POINTS[function](0.7).check_point(point)
