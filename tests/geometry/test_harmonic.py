"""Spherical functions and heat kernels against their definitions, to many digits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import roots_legendre
from torch import Tensor

from tests.geometry.reference import mp
from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.geometry._heat import zero_frequency_profiles
from torch_geometric_hyperbolic.geometry._numerics import log_sinhc, sinc
from torch_geometric_hyperbolic.geometry.harmonic import (
    NODES,
    _gegenbauer,
    heat_kernel,
    log_heat_kernel,
    spherical_function,
)

RADII = (0.0, 1e-6, 0.3, 1.0, 3.0, 6.0)
TIMES = (1e-3, 0.1, 1.0, 5.0)

dimensions = pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 16])
kernels = pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])


def wide(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def jacobi_function(r: float, frequency: float, n: int) -> float:
    """The spherical function of curvature -1 as a hypergeometric function."""
    rho, i = mp.mpf(n - 1) / 2, mp.mpc(0, 1)
    a, b = (rho + i * frequency) / 2, (rho - i * frequency) / 2
    return float(mp.re(mp.hyp2f1(a, b, mp.mpf(n) / 2, -(mp.sinh(mp.mpf(r)) ** 2))))


def bessel_function(x: float, n: int) -> float:
    """The spherical function of Euclidean space at frequency times distance ``x``."""
    order = mp.mpf(n) / 2 - 1
    return float(mp.gamma(order + 1) * (2 / mp.mpf(x)) ** order * mp.besselj(order, x))


def sphere_area(n: int) -> float:
    return 2 * math.pi ** (n / 2) / math.gamma(n / 2)


# Series ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function,definition",
    [
        (sinc, lambda x: mp.sin(x) / x),
        (log_sinhc, lambda z: mp.log(mp.sinh(mp.sqrt(z)) / mp.sqrt(z))),
    ],
    ids=["sinc", "log_sinhc"],
)
def test_radial_functions_are_accurate_with_their_derivatives(function, definition):
    x = wide(1e-300, 1e-12, 1e-3, 0.0999, 0.1001, 0.316, 0.317, 1.0, 30.0, 900.0).requires_grad_()
    out = function(x)
    (slope,) = torch.autograd.grad(out.sum(), x)
    for value, result, gradient in zip(x.tolist(), out.tolist(), slope.tolist(), strict=True):
        assert result == pytest.approx(float(definition(mp.mpf(value))), rel=1e-14, abs=1e-16)
        if value > 1e-3:
            assert gradient == pytest.approx(float(mp.diff(definition, value)), abs=1e-14)
    assert slope[0].item() == pytest.approx({sinc: 0.0, log_sinhc: 1 / 6}[function], abs=1e-15)


# Spherical functions ---------------------------------------------------------------------------


@dimensions
def test_spherical_functions_are_hypergeometric(n):
    frequencies = (0.0, 0.3, 1.0, 5.0, 10.0)
    out = spherical_function(wide(*RADII)[:, None], wide(*frequencies), n=n, c=1.0)
    for row, r in zip(out.tolist(), RADII, strict=True):
        scale = jacobi_function(r, 0.0, n)
        for value, frequency in zip(row, frequencies, strict=True):
            assert abs(value - jacobi_function(r, frequency, n)) < 1e-13 * scale


@dimensions
@pytest.mark.parametrize("c", [0.04, 1.0])
def test_spherical_functions_are_accurate_over_the_stated_range(n, c):
    for frequency in (2.0, 10.0):
        d = 160.0 / frequency
        scale = jacobi_function(c**0.5 * d, 0.0, n)
        expected = jacobi_function(c**0.5 * d, frequency / c**0.5, n)
        out = spherical_function(wide(d), frequency, n=n, c=c).item()
        assert abs(out - expected) < 1e-12 * scale


@dimensions
def test_in_flat_space_spherical_functions_are_bessel_functions(n):
    d = wide(0.1, 1.0, 7.0, 40.0)
    expected = [bessel_function(2 * value, n) for value in d.tolist()]
    assert spherical_function(d, 2.0, n=n, c=0.0).tolist() == pytest.approx(expected, abs=1e-12)
    almost = spherical_function(d, 2.0, n=n, c=1e-9).tolist()
    assert almost == pytest.approx(expected, abs=1e-5)
    assert n == 1 or almost != expected


@dimensions
def test_spherical_functions_are_one_at_distance_zero_and_less_elsewhere(n):
    frequencies = wide(0.0, 1.0, 30.0)
    assert spherical_function(wide(0.0), frequencies, n=n, c=2.0).tolist() == pytest.approx(
        [1.0, 1.0, 1.0], abs=1e-14
    )
    far = spherical_function(wide(1.0, 20.0, 200.0)[:, None], frequencies, n=n, c=1.0)
    ground = spherical_function(wide(1.0, 20.0, 200.0)[:, None], 0.0, n=n, c=1.0)
    assert (far.abs() <= ground * (1 + 1e-12)).all()


@dimensions
def test_spherical_functions_are_eigenfunctions_of_the_laplacian(n):
    c, frequency = 0.7, 1.3
    d = wide(0.2, 1.0, 2.5).requires_grad_()
    value = spherical_function(d, frequency, n=n, c=c)
    (first,) = torch.autograd.grad(value.sum(), d, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), d)
    laplacian = second + (n - 1) * c**0.5 / torch.tanh(c**0.5 * d) * first
    expected = -(frequency**2 + c * (n - 1) ** 2 / 4) * value
    torch.testing.assert_close(laplacian, expected, atol=1e-11, rtol=0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_gradients_of_spherical_functions(n):
    inputs = [wide(0.0, 0.4, 2.0)[:, None], wide(0.0, 0.7, 3.0), torch.tensor(0.8).double()]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda d, f, c: spherical_function(d, f, n=n, c=c), inputs)


def test_spherical_functions_have_a_gradient_by_the_curvature_in_flat_space():
    c = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(spherical_function(wide(2.0), 1.0, n=2, c=c).sum(), c)
    step = 1e-4
    after = spherical_function(wide(2.0), 1.0, n=2, c=step).item()
    assert slope.item() == pytest.approx((after - bessel_function(2.0, 2)) / step, rel=1e-3)


# Heat kernels ----------------------------------------------------------------------------------


def mckean(r: float, t: float) -> float:
    """Logarithm of McKean's formula in the hyperbolic plane, with s = r + w^2."""
    r, t = mp.mpf(r), mp.mpf(t)

    def integrand(w):
        s, half = r + w**2, w**2 / 2
        root = mp.sqrt(2 * mp.sinh(r + half) * mp.sinh(half)) if w else 1
        return s * mp.exp((r**2 - s**2) / (4 * t)) * 2 * w / root

    with mp.workdps(20):
        last = mp.sqrt(mp.sqrt(r**2 + 200 * t) - r)
        total = mp.quad(integrand, [last * k / 4 for k in range(5)])
        return float(mp.log(mp.sqrt(2) * (4 * mp.pi * t) ** -1.5 * total) - t / 4 - r**2 / (4 * t))


def derivative_formula(n: int, r: float, t: float) -> float:
    """Logarithm of the kernel of odd ``n``: derivatives of a Gaussian by cosh r."""
    r, t, m = mp.mpf(r), mp.mpf(t), (n - 1) // 2
    with mp.workdps(60):
        slope = mp.diff(lambda u: mp.exp((r**2 - mp.acosh(u) ** 2) / (4 * t)), mp.cosh(r), m)
        scale = (-1 / (2 * mp.pi)) ** m / mp.sqrt(4 * mp.pi * t)
        return float(mp.log(scale * slope) - m**2 * t - r**2 / (4 * t))


@pytest.mark.parametrize("t", TIMES)
def test_in_the_plane_the_kernel_is_mckeans(t):
    for r in RADII[1:]:
        out = log_heat_kernel(wide(r), t, n=2, c=1.0).item()
        assert out == pytest.approx(mckean(r, t), rel=1e-14, abs=1e-11)


@pytest.mark.parametrize("t", [*TIMES, 100.0])
@pytest.mark.parametrize("n", [1, 3, 5, 7, 9, 15])
def test_in_odd_dimensions_the_kernel_is_a_derivative_of_the_gaussian(n, t):
    for r in RADII[2:]:
        out = log_heat_kernel(wide(r), t, n=n, c=1.0).item()
        assert out == pytest.approx(derivative_formula(n, r, t), rel=1e-14, abs=1e-11)


@pytest.mark.parametrize("n", range(1, 31))
def test_every_kernel_gives_the_one_two_dimensions_higher(n):
    r = wide(0.1, 0.5, 2.0, 6.0, 30.0).requires_grad_()
    for t in (*TIMES, 100.0):
        low = log_heat_kernel(r, t, n=n, c=1.0)
        (slope,) = torch.autograd.grad(low.sum(), r)
        high = low - n * t + (-slope / (2 * math.pi * r.sinh())).log()
        out = log_heat_kernel(r, t, n=n + 2, c=1.0)
        torch.testing.assert_close(out, high.detach(), rtol=1e-14, atol=1e-11)


@kernels
@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("t", TIMES)
def test_heat_is_neither_lost_nor_made(t, c, n):
    nodes, weights = (torch.from_numpy(values) for values in roots_legendre(200))
    reach = 12 * t**0.5 + 2 * (n - 1) * t * c**0.5  # it drifts outwards by curvature
    d = reach * (nodes + 1) / 2
    r = c**0.5 * d
    volume = sphere_area(n) * (r.sinh() / c**0.5 if c else d) ** (n - 1)
    total = (heat_kernel(d, t, n=n, c=c) * volume * weights).sum() * reach / 2
    assert total.item() == pytest.approx(1.0, abs=1e-10)


@kernels
@pytest.mark.parametrize("c", [0.0, 0.7])
def test_kernels_solve_the_heat_equation(c, n):
    d = wide(0.2, 1.0, 2.5).requires_grad_()
    t = wide(0.3, 0.9, 0.5).requires_grad_()
    value = heat_kernel(d, t, n=n, c=c)
    first, by_time = torch.autograd.grad(value.sum(), (d, t), create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), d)
    spread = c**0.5 / torch.tanh(c**0.5 * d) if c else 1 / d
    torch.testing.assert_close(second + (n - 1) * spread * first, by_time, atol=1e-11, rtol=0.0)


def integral_over_the_space(function, n: int, reach: float, count: int = 80) -> float:
    """Integral of ``function(d, angle)``, ``angle`` from a fixed axis, curvature -1, n >= 2."""
    (u, wu), (a, wa) = (map(torch.from_numpy, roots_legendre(count)) for _ in range(2))
    d, angle = reach * (u + 1) / 2, math.pi * (a + 1) / 2
    weight = wu[:, None] * wa * reach * math.pi / 4
    volume = d.sinh()[:, None] ** (n - 1) * angle.sin() ** (n - 2) * sphere_area(n - 1)
    return (function(d[:, None], angle) * volume * weight).sum().item()


def third_side(d: Tensor, other: float, angle: Tensor) -> Tensor:
    """Law of cosines of the hyperbolic plane, without cancellation."""
    half = ((d - other) / 2).sinh() ** 2 + d.sinh() * math.sinh(other) * (angle / 2).sin() ** 2
    return 2 * half.sqrt().asinh()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_two_steps_of_heat_are_one_longer_step(n):
    def passing_through(d: Tensor, angle: Tensor) -> Tensor:
        first = heat_kernel(d, 0.3, n=n, c=1.0)
        return first * heat_kernel(third_side(d, 0.8, angle), 0.5, n=n, c=1.0)

    expected = heat_kernel(wide(0.8), 0.8, n=n, c=1.0).item()
    assert integral_over_the_space(passing_through, n, 9.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_smoothing_multiplies_a_spherical_wave_by_its_decay(n):
    t, frequency, rho = 0.4, 1.5, (n - 1) / 2

    def smoothed(d: Tensor, angle: Tensor) -> Tensor:
        wave = spherical_function(third_side(d, 0.8, angle), frequency, n=n, c=1.0)
        return heat_kernel(d, t, n=n, c=1.0) * wave

    decay = math.exp(-t * (frequency**2 + rho**2))
    expected = decay * spherical_function(wide(0.8), frequency, n=n, c=1.0).item()
    assert integral_over_the_space(smoothed, n, 10.0) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@kernels
def test_curvature_is_a_choice_of_units(n, c):
    d, t = wide(0.0, 0.5, 3.0), 0.4
    out = heat_kernel(d, t, n=n, c=c)
    same = c ** (n / 2) * heat_kernel(c**0.5 * d, c * t, n=n, c=1.0)
    torch.testing.assert_close(out, same, rtol=1e-12, atol=0.0)
    wave = spherical_function(d, 1.3, n=n, c=c)
    same = spherical_function(c**0.5 * d, 1.3 / c**0.5, n=n, c=1.0)
    torch.testing.assert_close(wave, same, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("n", range(1, 33))
def test_in_flat_space_the_kernel_is_the_gaussian(n):
    d, t = wide(0.0, 0.5, 3.0, 100.0), 0.4
    expected = -n / 2 * math.log(4 * math.pi * t) - d**2 / (4 * t)
    torch.testing.assert_close(log_heat_kernel(d, t, n=n, c=0.0), expected, rtol=0, atol=1e-11)
    out = log_heat_kernel(d[:3], t, n=n, c=1e-9)
    torch.testing.assert_close(out, expected[:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_gradients_of_the_kernel(n):
    inputs = [wide(0.0, 0.4, 2.0), torch.tensor(0.6).double(), torch.tensor(0.8).double()]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda d, t, c: log_heat_kernel(d, t, n=n, c=c), inputs)


@pytest.mark.parametrize("r", [0.0, 1e-3, 1.0, 2.236, 2.237, 5.0, 40.0])
def test_waves_without_frequency_are_found_together(r):
    """In all odd dimensions, on both sides of the radius where the recursion turns around."""
    z = wide(r).square().requires_grad_()
    out = zero_frequency_profiles(z, 16)
    root = mp.sqrt(mp.mpf(z.item()))
    sinhc = mp.sinh(root) / root if r else mp.mpf(1)
    for i, profile in enumerate(out):
        expected = mp.mpf(jacobi_function(root, 0.0, 2 * i + 3)) * sinhc ** (i + 1)
        assert profile.item() == pytest.approx(float(expected), rel=1e-12)
        if 0 < i < 15:  # the first is 1
            (slope,) = torch.autograd.grad(profile, z, retain_graph=True)
            exact = out[1] / 6 * profile - (i + 1) / (2 * (2 * i + 3)) * out[i + 1]
            assert slope.item() == pytest.approx((i + 1) * exact.item(), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 31, 32])
@pytest.mark.parametrize("c", [0.0, 1e-6, 1.0, 1e3])
def test_logarithms_and_gradients_are_finite_everywhere(c, n):
    curvature = torch.tensor(c, dtype=torch.float64, requires_grad=True)
    d = wide(0.0, 1e-300, 1e-8, 1.0, 90.0, 1e3)[:, None].requires_grad_()
    t = wide(1e-12, 1e-3, 1.0, 1e6).requires_grad_()
    out = log_heat_kernel(d, t, n=n, c=curvature)
    wave = spherical_function(d, t, n=n, c=curvature)
    gradients = torch.autograd.grad(out.sum() + wave.sum(), (d, t, curvature))
    assert all(tensor.isfinite().all() for tensor in (out, wave, *gradients))


# The transform they belong to ------------------------------------------------------------------


def directions(n: int) -> tuple[Tensor, Tensor]:
    """Points of the unit sphere of dimension ``n - 1`` (1 or 2) and weights of sum 1."""
    turn = torch.arange(256, dtype=torch.float64) * (2 * math.pi / 256)
    circle = torch.stack([turn.cos(), turn.sin()], dim=-1)
    if n == 2:
        return circle, torch.full_like(turn, 1 / 256)
    height, weight = (torch.from_numpy(values) for values in roots_legendre(128))
    ring = (1 - height**2).sqrt()[:, None, None] * circle
    omega = torch.cat([ring, height[:, None, None].expand(128, 256, 1)], dim=-1)
    return omega.reshape(-1, 3), (weight[:, None] / 512).expand(128, 256).reshape(-1)


def power_by_definition(x: Tensor, weight: Tensor, frequency: float) -> float:
    """Mean over directions of the squared Helgason-Fourier transform of point masses."""
    n = x.size(-1)
    omega, share = directions(n)
    squared = (x[:, None] - omega).square().sum(dim=-1)
    busemann = ((1 - x.square().sum(dim=-1, keepdim=True)) / squared).log()
    wave = torch.exp(complex((n - 1) / 2, frequency) * busemann)
    return ((weight[:, None] * wave).sum(dim=0).abs() ** 2 * share).sum().item()


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("frequency", [0.0, 0.7, 3.0])
def test_the_power_of_point_masses_is_a_sum_of_spherical_functions(n, frequency):
    x = torch.randn(5, n, dtype=torch.float64)
    x = 0.7 * x / (1 + x.norm(dim=-1, keepdim=True))  # near the boundary plane waves are steep
    weight = torch.randn(5, dtype=torch.float64)
    d = poincare.dist(x[:, None].expand(5, 5, n), x.expand(5, 5, n), c=1.0)
    waves = spherical_function(d, frequency, n=n, c=1.0)
    power = (weight @ waves @ weight).item()
    assert power == pytest.approx(power_by_definition(x, weight, frequency), abs=1e-11)


# Arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [spherical_function, heat_kernel, log_heat_kernel])
def test_the_dtype_is_that_of_the_distance(function):
    for dtype in (torch.float32, torch.float64):
        d = torch.tensor([0.5, 2.0], dtype=dtype)
        for parameter in (0.5, torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64)):
            out = function(d, parameter, n=4, c=torch.tensor(0.7, dtype=torch.float64))
            assert out.dtype == dtype
            exact = function(d.double(), 0.5, n=4, c=0.7)
            torch.testing.assert_close(out, exact.to(dtype), rtol=2e-7, atol=0.0)
    with pytest.raises(TypeError, match=r"^'distance' must be .*\(got torch.int64\)$"):
        function(torch.tensor([1]), 0.5, n=4, c=1.0)


@pytest.mark.parametrize("function", [spherical_function, heat_kernel, log_heat_kernel])
def test_distances_and_parameters_broadcast(function):
    d, parameter = wide(0.1, 0.5, 2.0), wide(0.2, 0.9)
    for n in (1, 2, 3, 4, 5):
        out = function(d, parameter[:, None], n=n, c=1.0)
        for i, row in enumerate(parameter.tolist()):
            torch.testing.assert_close(out[i], function(d, row, n=n, c=1.0), rtol=1e-13, atol=0.0)
        assert torch.equal(function(d[:, None], parameter, n=n, c=1.0), out.T)
        assert function(d[:0], 0.5, n=n, c=1.0).shape == (0,)


@pytest.mark.parametrize("function", [spherical_function, heat_kernel, log_heat_kernel])
def test_dimensions_beyond_the_range_are_named(function):
    for n in (0, -1):
        with pytest.raises(ValueError, match=rf"^'n' must be at least 1 \(got {n}\)$"):
            function(wide(1.0), 1.0, n=n, c=1.0)
    for n in (2.5, True, "3"):
        with pytest.raises(TypeError, match=rf"^'n' must be an int \(got {n!r}\)$"):
            function(wide(1.0), 1.0, n=n, c=1.0)


def test_what_the_heat_kernel_cannot_do_is_named():
    with pytest.raises(ValueError, match=r"^'n' must be at most 32 \(got 33\)$"):
        log_heat_kernel(wide(1.0), 1.0, n=33, c=1.0)
    for time in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="^'time' must be positive"):
            heat_kernel(wide(1.0), time, n=3, c=1.0)


def test_nodes_are_those_of_gauss():
    """In dimension 3 the weight is constant: Legendre's nodes, which numpy has."""
    nodes, weights = _gegenbauer(3)
    expected, shares = np.polynomial.legendre.leggauss(NODES)
    np.testing.assert_allclose(nodes, expected[NODES // 2 :], rtol=0, atol=1e-14)
    np.testing.assert_allclose(weights, shares[NODES // 2 :], rtol=0, atol=1e-14)


@pytest.mark.parametrize("c", [-1.0, math.nan, math.inf])
def test_spaces_of_positive_curvature_are_refused(c):
    d = torch.ones(2)
    with pytest.raises(ValueError, match="'c' must be finite and not negative"):
        spherical_function(d, 1.0, n=2, c=c)
    with pytest.raises(ValueError, match="'c' must be finite and not negative"):
        heat_kernel(d, 1.0, n=2, c=c)


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan, math.inf])
def test_times_that_are_not_positive_and_finite_are_refused(time):
    with pytest.raises(ValueError, match="'time' must be positive and finite"):
        log_heat_kernel(torch.ones(2), time, n=2, c=1.0)
