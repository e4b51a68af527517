"""The logarithm of our own arithmetic against 40 digits."""

import mpmath
import numpy as np
import pytest

from torch_geometric_hyperbolic.typing import WITH_NUMBA

pytestmark = pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
    from torch_geometric_hyperbolic.kernels._cpu.logarithm import log

    @compiled
    def logarithms(x, out):
        for n in range(len(x)):
            out[n] = log(x[n])


def of(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    logarithms(x, out)
    return out


@pytest.mark.parametrize("largest", [1e-12, 1e-3, 1.0, 10.0, 1e16, 1e308])
def test_it_is_right_to_three_units_in_the_last_place(largest):
    above = np.exp(np.random.default_rng(0).uniform(np.log(1e-15), np.log(largest), 500))
    x = np.concatenate([1 + above, [1 + largest]])
    with mpmath.workdps(40):
        expected = np.array([float(mpmath.log(mpmath.mpf(value))) for value in x])
    assert (np.abs(of(x) - expected) <= 3 * np.spacing(expected)).all()


def test_powers_of_two_and_their_neighbours():
    powers = 2.0 ** np.arange(1024)
    x = np.concatenate([powers, np.nextafter(powers, np.inf), np.nextafter(powers[1:], 0)])
    assert (np.abs(of(x) - np.log(x)) <= 4 * np.spacing(np.log(x))).all()
    assert of(np.ones(1))[0] == 0


def test_infinity_and_nan_stay_what_they_are():
    out = of(np.array([np.inf, np.nan]))
    assert out[0] == np.inf
    assert np.isnan(out[1])


def test_a_number_has_one_logarithm_wherever_it_stands():
    """In vector registers, and in what is left over of them."""
    x = 1 + np.random.default_rng(0).random(101)
    whole = of(x)
    for start in range(20):
        assert (of(x[start:]) == whole[start:]).all()
    assert all(of(x[n : n + 1])[0] == whole[n] for n in range(len(x)))
