"""The maps between the models, by their definitions as projections."""

import pytest
import torch

from tests.geometry.reference import Hyperboloid, exact, mp, relative_error, scale
from tests.geometry.samples import DTYPES, directions, label, moderate_arguments, space_part
from torch_geometric_hyperbolic.geometry import convert
from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall

curvatures = pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 1e3])
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=label)
ROUNDING = {torch.float32: 3e-7, torch.float64: 1e-12}


@curvatures
@both_dtypes
def test_the_ball_is_the_stereographic_image_of_the_hyperboloid(c, dtype):
    x = moderate_arguments("lorentz", c, dtype)["x"]
    ball, (wide, gap) = convert.lorentz_to_poincare(x, c=c), convert.lorentz_to_ball(x, c=c)
    assert ball.dtype == dtype
    assert wide.dtype == gap.dtype == torch.float64
    for i in range(len(x)):
        space = exact(x[i, 1:])
        w = 1 + mp.sqrt(c) * Hyperboloid.time(space, c)
        image = scale(1 / w, space)
        assert relative_error(ball[i], image) < ROUNDING[dtype]
        assert relative_error(wide[i], image) < 1e-15
        assert relative_error(gap[i], [1 - mp.mpf(c) * mp.fdot(image, image)]) < 1e-15


@curvatures
@both_dtypes
def test_the_klein_ball_is_the_gnomonic_image_of_the_hyperboloid(c, dtype):
    x = moderate_arguments("poincare", c, dtype)["x"]
    klein = convert.poincare_to_klein(x, c=c)
    hyperboloid = convert.poincare_to_lorentz(x, c=c)
    expected = hyperboloid[:, 1:] / hyperboloid[:, :1] / c**0.5
    torch.testing.assert_close(klein, expected, rtol=3 * ROUNDING[dtype], atol=0)


@curvatures
@both_dtypes
def test_the_hyperboloid_undoes_the_stereographic_projection(c, dtype):
    x = moderate_arguments("poincare", c, dtype)["x"]
    out = convert.poincare_to_lorentz(x, c=c)
    assert out.shape == (5, 4)
    for i in range(len(x)):
        point = exact(x[i])
        expected = scale(2 / (1 - mp.mpf(c) * mp.fdot(point, point)), point)
        assert relative_error(out[i, 1:], expected) < ROUNDING[dtype]
    assert Lorentz(c).check_point(out)


def test_the_origins_correspond():
    zero, origin = torch.zeros(3), torch.tensor([0.5, 0, 0, 0])
    assert torch.equal(convert.poincare_to_lorentz(zero, c=4.0), origin)
    assert torch.equal(convert.lorentz_to_poincare(origin, c=4.0), zero)
    assert torch.equal(convert.poincare_to_klein(zero, c=4.0), zero)
    assert torch.equal(convert.klein_to_poincare(zero, c=4.0), zero)


@both_dtypes
@pytest.mark.parametrize("radius", [5.0, 8.7, 12.0])
def test_far_points_of_the_ball_survive_the_hyperboloid(radius, dtype):
    x = space_part("poincare", radius, directions(20, 3), 1.0).to(dtype)
    back = convert.lorentz_to_poincare(convert.poincare_to_lorentz(x, c=1.0), c=1.0)
    torch.testing.assert_close(back, x, rtol=3 * torch.finfo(dtype).eps, atol=0)


@both_dtypes
def test_points_of_the_hyperboloid_beyond_the_ball_are_projected_into_it(dtype):
    x = space_part("lorentz", 40.0, directions(20, 3), 1.0).to(dtype)
    x = torch.cat([x[:, :1], x], dim=1)
    assert PoincareBall().check_point(convert.lorentz_to_poincare(x, c=1.0))


@both_dtypes
@pytest.mark.parametrize("radius", [1.0, 8.7, 12.0, 17.0, 40.0])
def test_images_lie_inside_the_klein_ball(radius, dtype):
    x = space_part("poincare", radius, directions(20, 3), 1.0).to(dtype)
    klein = convert.poincare_to_klein(x, c=1.0)
    assert (klein.double().square().sum(-1) < 1).all()
    assert PoincareBall().check_point(convert.klein_to_poincare(klein, c=1.0))
