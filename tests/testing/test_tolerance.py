"""assert_close fails as soon as the tolerance is left."""

import pytest
import torch

from torch_geometric_hyperbolic.testing import assert_close

STATED = {torch.float32: 1e-5, torch.float64: 1e-13}

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@each_dtype
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_the_bound_is_relative_to_the_largest_entry_but_at_least_absolute(dtype, scale, factor):
    expected = torch.tensor([0.0, 0.5, -1.0], dtype=dtype) * scale
    bound = factor * STATED[dtype] * max(1.0, scale)
    for i in range(3):
        for sign in (-1, 1):
            actual = expected.clone()
            actual[i] += 0.8 * sign * bound
            assert_close(actual, expected, factor)
            actual[i] = expected[i] + 1.3 * sign * bound
            with pytest.raises(AssertionError, match="not close"):
                assert_close(actual, expected, factor)


@each_dtype
def test_no_factor_means_equal_when_it_is_zero(dtype):
    x = torch.rand(4, dtype=dtype)
    assert_close(x, x.clone(), factor=0)
    with pytest.raises(AssertionError):
        assert_close(x * (1 + 2 * torch.finfo(dtype).eps), x, factor=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_close_to_no_number(bad):
    x = torch.tensor([1.0, bad])
    for actual, expected in ((x, torch.ones(2)), (torch.ones(2), x)):
        with pytest.raises(AssertionError):
            assert_close(actual, expected)


def test_nan_is_not_close_to_nan():
    x = torch.tensor([1.0, float("nan")])
    with pytest.raises(AssertionError):
        assert_close(x, x)


def test_an_infinite_entry_does_not_excuse_the_others():
    inf = float("inf")
    with pytest.raises(AssertionError):
        assert_close(torch.tensor([0.0, inf]), torch.tensor([5.0, inf]))


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (torch.zeros(2, 1), torch.zeros(2)),
        (torch.zeros(2, 1), torch.zeros(2, 2)),
        (torch.zeros(2), torch.zeros(2).double()),
        (torch.zeros(0), torch.zeros(2)),
    ],
    ids=["rank", "size", "dtype", "empty"],
)
def test_shapes_and_dtypes_must_agree(actual, expected):
    with pytest.raises(AssertionError):
        assert_close(actual, expected)


def test_empty_tensors_are_close():
    assert_close(torch.zeros(0, 3), torch.zeros(0, 3))


def test_integers_must_be_equal():
    assert_close(torch.tensor([1, 2]), torch.tensor([1, 2]))
    with pytest.raises(AssertionError):
        assert_close(torch.tensor([1, 2]), torch.tensor([1, 3]))
