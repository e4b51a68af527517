"""The guards and series under the formulas, against 60 digits."""

import pytest
import torch

from tests.geometry.reference import exact, gradient, mp, relative_error
from tests.geometry.samples import DTYPES, directions, label, space_part
from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.kernels import to_ball
from torch_geometric_hyperbolic.manifolds import PoincareBall

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=label)

#: The function, its definition and the largest argument that occurs.
SCALARS = {
    num.asinhc: (lambda q: mp.asinh(mp.sqrt(q)) / mp.sqrt(q), 1e15),
    num.rel_factor: (lambda q: mp.asinh(mp.sqrt(q)) / mp.sqrt(q * (1 + q)), 1e15),
    num.sinhc: (lambda z: mp.sinh(mp.sqrt(z)) / mp.sqrt(z), num.MAX_LENGTH**2),
    num.tanhc: (lambda z: mp.tanh(mp.sqrt(z)) / mp.sqrt(z), num.MAX_LENGTH**2),
    num.sech_squared: (lambda z: 1 / mp.cosh(mp.sqrt(z)) ** 2, num.MAX_LENGTH**2),
}

#: Their derivatives at 0.
SLOPES = {
    num.asinhc: -1 / 6,
    num.rel_factor: -2 / 3,
    num.sinhc: 1 / 6,
    num.tanhc: -1 / 3,
    num.sech_squared: -1.0,
}


def arguments(largest: float, dtype: torch.dtype) -> torch.Tensor:
    """From tiny to the largest, closely around where a series ends."""
    exponents = torch.tensor(largest, dtype=torch.float64).log10().item()
    wide = torch.logspace(-30, exponents, 60, dtype=torch.float64)
    around = num.SERIES_BELOW[dtype] * torch.linspace(0.9, 1.1, 21, dtype=torch.float64)
    return torch.cat([wide, around]).to(dtype)


@both_dtypes
@pytest.mark.parametrize("function", SCALARS, ids=label)
def test_scalar_functions_are_accurate(function, dtype):
    definition, largest = SCALARS[function]
    x = arguments(largest, dtype)
    out = function(x)
    assert out.dtype == dtype
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    for i in range(len(x)):
        # the exponential of a root that is rounded by eps / 2 is off by that times the root
        growth = {num.sinhc: 1, num.sech_squared: 2}.get(function, 0) * x[i].item() ** 0.5
        error = relative_error(out[i : i + 1], [definition(exact(x[i : i + 1])[0])])
        assert error < tolerance + torch.finfo(dtype).eps / 2 * growth


@both_dtypes
@pytest.mark.parametrize("function", SCALARS, ids=label)
def test_scalar_functions_are_one_at_zero_and_their_gradient_is_finite(function, dtype):
    x = torch.zeros(1, dtype=dtype, requires_grad=True)
    out = function(x)
    assert out.item() == 1
    out.backward()
    assert x.grad.item() == pytest.approx(SLOPES[function], rel=1e-6)


@both_dtypes
@pytest.mark.parametrize("function", SCALARS, ids=label)
def test_derivatives_are_accurate_on_both_sides_of_the_end_of_the_series(function, dtype):
    definition, largest = SCALARS[function]
    # beyond, cubes of exponentials are no numbers in float32
    x = arguments(1e10 if largest > 1e10 else 100.0, dtype)
    x = x[x > 1e-12].requires_grad_()  # below, the reference's differences end
    function(x).sum().backward()
    # the derivative of the quotient cancels to q of its terms
    tolerance = 5 * torch.finfo(dtype).eps / num.SERIES_BELOW[dtype]
    for i in range(len(x)):
        expected = gradient(lambda q: definition(q[0]), exact(x[i : i + 1].detach()))
        assert relative_error(x.grad[i : i + 1], expected) < tolerance


@both_dtypes
def test_safe_sqrt_is_the_root_with_gradient_zero_at_zero(dtype):
    z = torch.tensor([0.0, 4.0, 1e-30], dtype=dtype, requires_grad=True)
    root = num.safe_sqrt(z)
    assert root.tolist() == pytest.approx([0, 2, 1e-15])
    root.sum().backward()
    assert z.grad.tolist() == pytest.approx([0, 0.25, 5e14])


@both_dtypes
def test_safe_sqrt_hides_rounding_below_zero_and_no_nan(dtype):
    root = num.safe_sqrt(torch.tensor([-1e-9, torch.nan, torch.inf], dtype=dtype))
    assert root[0] == 0 and root[1].isnan() and root[2] == torch.inf


@both_dtypes
@pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 2.7, 1e3])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_gap_is_accurate_up_to_the_boundary(as_tensor, c, dtype):
    radii = (0.0, 1e-8, 0.5, 3.0, 8.0, 12.0, 16.0)
    x = torch.cat([space_part("poincare", r, directions(5, 4), c) for r in radii]).to(dtype)
    curvature = torch.tensor(c, dtype=torch.float64) if as_tensor else c
    out = num.gap(x, curvature)
    assert out.dtype == torch.float64
    for i in range(len(x)):
        point = exact(x[i])
        expected = 1 - mp.mpf(c) * mp.fdot(point, point)
        # subtracting c |x|^2, itself rounded to 2^-53, from 1
        assert abs(mp.mpf(out[i].item()) - expected) < 2.0**-52


def test_where_c_and_its_products_are_exact_the_float64_gap_carries_no_rounding_of_a_sum():
    x = torch.cat([space_part("poincare", r, directions(20, 4), 1.0) for r in (12.0, 25.0, 33.0)])
    out = num.gap(x, 1.0)
    for i in range(len(x)):
        point = exact(x[i])
        expected = 1 - mp.fdot(point, point)
        # what the trailing parts add is rounded, 2^-20 of the sum to 2^-53, and the result
        assert abs(mp.mpf(out[i].item()) - expected) < 2.0**-70 + 2.0**-52 * expected


@both_dtypes
@pytest.mark.parametrize("c", [1e-6, 0.13, 1.0, 1e3])
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_projected_points_keep_the_smallest_gap(channels, c, dtype):
    lengths = torch.cat(
        [1 - torch.logspace(-20, -3, 100), torch.linspace(1, 3, 50), torch.logspace(1, 25, 50)]
    ).double()[:, None]
    x = (directions(200, channels) * lengths / c**0.5).to(dtype)
    inside, gap = num.project(x, c)
    assert inside.dtype == dtype
    assert gap.dtype == torch.float64
    smallest = num.MIN_GAP[dtype]
    assert (gap >= smallest).all()
    assert torch.equal(gap, num.gap(inside, c))
    kept = num.gap(x, c) >= smallest
    assert kept.any() and not kept.all()
    assert torch.equal(inside[kept.squeeze(1)], x[kept.squeeze(1)])
    along = torch.nn.functional.cosine_similarity(inside.double(), x.double(), dim=-1)
    assert (along > 1 - 1e-6).all()


@pytest.mark.parametrize("c", [1e-6, 1.0, 1e3])
def test_vectors_are_clipped_to_the_longest_and_not_below(c):
    v = directions(5, 3) * torch.tensor([[0.0], [1.0], [43.9], [45.0], [1e30]]) / c**0.5
    clipped = num.clip_length(v, c)
    assert torch.equal(clipped[:3], v[:3])
    expected = torch.full((2,), num.MAX_LENGTH / c**0.5, dtype=torch.float64)
    torch.testing.assert_close(clipped[3:].norm(dim=-1), expected)


@both_dtypes
def test_the_farthest_points_square_to_finite_numbers(dtype):
    assert torch.tensor(num.MAX_SPACE, dtype=dtype).square().isfinite()


@pytest.mark.parametrize("c", [0.0, 1e-300, 1e-40, 0.3, 1.0, 7e9])
def test_the_step_of_a_number_is_that_of_a_tensor(c):
    step = num.split_step(c)
    assert step == num.split_step(torch.tensor(c, dtype=torch.float64)).item()
    assert 0 < step < float("inf")


def test_a_negative_curvature_has_no_step():
    with pytest.raises(ValueError):
        num.split_step(-1.0)


@pytest.mark.parametrize("c", [1.0, 0.7, 0.13, 1e-6, 3e5])
@pytest.mark.parametrize("radius", [20.0, 30.0, 34.0])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_float64_gap_is_accurate_for_every_curvature(c, radius, compiled):
    x = directions(20, 3) * (torch.tensor(radius / 2).double().tanh() / c**0.5)
    gap = to_ball(x, PoincareBall(c))[1] if compiled else num.gap(x, c)
    for i in range(len(x)):
        expected = [1 - mp.mpf(c) * sum(entry**2 for entry in exact(x[i]))]
        # what is left is the rounding, to 2^-53, of some sums and products of the trailing squares,
        # 2^-20 of all, beside the gap
        assert relative_error(gap[i], expected) < 16 * 2.0**-73 / float(expected[0]) + 1e-15
