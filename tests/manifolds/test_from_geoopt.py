"""geoopt's own objects as ours: the same space, whatever its parameter means."""

import geoopt
import pytest
import torch

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall, from_geoopt


def value(c: float | torch.Tensor) -> float:
    return c.item() if isinstance(c, torch.Tensor) else c


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("c", [0.13, 1.0, 4.0])
@pytest.mark.parametrize("learnable", [False, True])
def test_the_ball_has_curvature_minus_c(c, learnable):
    theirs = geoopt.PoincareBall(c=double(c), learnable=learnable)
    ours = from_geoopt(theirs)
    assert type(ours) is PoincareBall
    assert value(ours.c) == pytest.approx(c, rel=1e-12)
    assert len(list(ours.parameters())) == learnable
    x, y = PoincareBall(c).random(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(ours.dist(x, y), theirs.dist(x, y), check_stride=False)


@pytest.mark.parametrize("k", [0.13, 1.0, 4.0])
@pytest.mark.parametrize("learnable", [False, True])
def test_the_hyperboloid_has_curvature_minus_one_over_k(k, learnable):
    theirs = geoopt.Lorentz(k=double(k), learnable=learnable)
    ours = from_geoopt(theirs)
    assert type(ours) is Lorentz
    assert value(ours.c) == pytest.approx(1 / k, rel=1e-12)
    assert len(list(ours.parameters())) == learnable
    x, y = Lorentz(1 / k).random(2, 5, 3, dtype=torch.float64)
    assert theirs.check_point_on_manifold(x)
    torch.testing.assert_close(ours.dist(x, y), theirs.dist(x, y).detach())


@pytest.mark.parametrize("c", [0.13, 1.0])
def test_a_float32_curvature_of_geoopt_is_kept_to_its_accuracy(c):
    assert value(from_geoopt(geoopt.PoincareBall(c=c)).c) == pytest.approx(c, rel=1e-6)
    assert value(from_geoopt(geoopt.Lorentz(k=c)).c) == pytest.approx(1 / c, rel=1e-6)


def test_a_learnt_parameter_is_not_shared():
    theirs = geoopt.Lorentz(k=2.0, learnable=True)
    ours = from_geoopt(theirs)
    with torch.no_grad():
        theirs.k += 1
    assert value(ours.c) == 0.5


@pytest.mark.parametrize(
    "manifold",
    [geoopt.Lorentz(k=0.0), geoopt.Lorentz(k=-1.0), geoopt.PoincareBall(c=0.0)],
    ids=["Lorentz(0)", "Lorentz(-1)", "PoincareBall(0)"],
)
def test_no_hyperbolic_space_has_such_a_curvature(manifold):
    with pytest.raises(ValueError, match=r"^'c' must be positive and finite.*\(got .*\)$"):
        from_geoopt(manifold)


def test_euclidean_space_is_itself():
    assert type(from_geoopt(geoopt.Euclidean())) is Euclidean
    assert type(from_geoopt(geoopt.Euclidean(ndim=1))) is Euclidean


@pytest.mark.parametrize("manifold", [PoincareBall(0.3), Lorentz(0.3), Euclidean()], ids=repr)
def test_ours_is_returned_as_it_is(manifold):
    assert from_geoopt(manifold) is manifold


@pytest.mark.parametrize(
    "manifold",
    [
        geoopt.Sphere(),
        geoopt.Stereographic(k=-1.0),
        geoopt.SphereProjection(),
        geoopt.Scaled(geoopt.PoincareBall(), 2.0),
        "PoincareBall",
        None,
    ],
    ids=lambda m: type(m).__name__,
)
def test_anything_else_raises_one_line_that_names_it(manifold):
    with pytest.raises(TypeError, match=r"^'manifold' must be .*\(got .*\)$") as error:
        from_geoopt(manifold)
    assert "\n" not in str(error.value)
