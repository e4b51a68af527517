"""Which dtypes go in and come out, of every public function."""

import inspect

import pytest
import torch

from tests.geometry.samples import (
    DTYPES,
    EVERY_FUNCTION,
    GEOMETRY,
    as_tuple,
    assert_dtypes,
    label,
    moderate_arguments,
    pick,
)
from torch_geometric_hyperbolic.geometry import _precision, convert, lorentz, poincare

every_function = pytest.mark.parametrize("model,function", EVERY_FUNCTION, ids=label)
halves = pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=label)

NAMES = {
    "projx": ["x"],
    "with_gap": ["x"],
    "with_wide_gap": ["x"],
    "space_and_time": ["x"],
    "dist": ["x", "y"],
    "busemann": ["x", "direction"],
    "rel": ["x", "y"],
    "log0": ["x"],
    "exp0": ["v"],
    "mobius_add": ["x", "y"],
    "move": ["x", "v"],
    "transp0": ["x", "v"],
    "transp0back": ["x", "u"],
    "expmap": ["x", "u"],
    "logmap": ["x", "y"],
    "gyration": ["x", "y", "v"],
    "transp": ["x", "y", "v"],
    "inner": ["x", "u", "v"],
    "proju": ["x", "u"],
    "egrad2rgrad": ["x", "grad"],
    "poincare_to_lorentz": ["x"],
    "lorentz_to_poincare": ["x"],
    "lorentz_to_ball": ["x"],
    "poincare_to_klein": ["x"],
    "klein_to_poincare": ["x"],
}


@pytest.mark.parametrize("module", [convert, lorentz, poincare])
def test_no_public_function_is_left_out(module):
    public = {
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    without_points = {lorentz.inner}  # below
    of_charts = {lorentz.rel_coefficients, poincare.rel_coefficients, convert.ball_to_lorentz}
    listed = {function for _, function in EVERY_FUNCTION}
    assert public - listed - without_points - of_charts == set()


@every_function
@pytest.mark.parametrize("dtype", DTYPES, ids=label)
@pytest.mark.parametrize("learnt", [False, True])
def test_float32_and_float64_stay_what_they_are(model, function, dtype, learnt):
    arguments = pick(moderate_arguments(model, 0.7, dtype), function)
    c = torch.tensor(0.7, dtype=torch.float64) if learnt else 0.7
    assert_dtypes(function, as_tuple(function(*arguments, c=c)), dtype)


@every_function
@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64], ids=label
)
def test_other_dtypes_raise_an_error_that_names_the_argument(model, function, dtype):
    good = list(pick(moderate_arguments(model, 0.7, torch.float32), function))
    for i, name in enumerate(NAMES[function.__name__]):
        arguments = [a.to(dtype) if i == j else a for j, a in enumerate(good)]
        with pytest.raises(TypeError, match=rf"^'{name}' must be .*\(got {dtype}\)$"):
            function(*arguments, c=0.7)


@every_function
def test_mixed_dtypes_raise_an_error_that_names_both(model, function):
    good = list(pick(moderate_arguments(model, 0.7, torch.float32), function))
    for i, name in enumerate(NAMES[function.__name__][1:], start=1):
        arguments = [a.double() if i == j else a for j, a in enumerate(good)]
        with pytest.raises(TypeError, match=rf"^'x' and '{name}' .*float32 and torch.float64\)$"):
            function(*arguments, c=0.7)


@halves
@every_function
def test_under_autocast_half_precision_becomes_float32(model, function, half):
    arguments = list(pick(moderate_arguments(model, 0.7, half), function))
    expected = as_tuple(function(*(a.float() for a in arguments), c=0.7))
    with torch.autocast("cpu", torch.bfloat16):
        outs = as_tuple(function(*arguments, c=0.7))
        mixed = as_tuple(function(arguments[0].float(), *arguments[1:], c=0.7))
    assert_dtypes(function, outs, torch.float32)
    for out, other, value in zip(outs, mixed, expected, strict=True):
        assert torch.equal(out, value)
        assert torch.equal(other, value)


@every_function
def test_under_autocast_float32_and_float64_keep_their_precision(model, function):
    for dtype in DTYPES:
        arguments = list(pick(moderate_arguments(model, 0.7, dtype), function))
        expected = as_tuple(function(*arguments, c=0.7))
        with torch.autocast("cpu", torch.bfloat16):
            outs = as_tuple(function(*arguments, c=0.7))
        for out, value in zip(outs, expected, strict=True):
            assert torch.equal(out, value)


@every_function
def test_arguments_by_keyword_are_checked_like_those_by_position(model, function):
    good = dict(
        zip(
            NAMES[function.__name__],
            pick(moderate_arguments(model, 0.7, torch.float32), function),
            strict=True,
        )
    )
    outs = as_tuple(function(**good, c=0.7))
    for out, expected in zip(outs, as_tuple(function(*good.values(), c=0.7)), strict=True):
        assert torch.equal(out, expected)
    for name, value in good.items():
        with pytest.raises(TypeError, match=f"^'{name}' must be"):
            function(**{**good, name: value.half()}, c=0.7)


@every_function
@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_coordinates_is_named(model, function, more):
    names = NAMES[function.__name__]
    good = list(pick(moderate_arguments(model, 0.7, torch.float32), function))
    for place in range(1, len(names)):
        width = good[place].size(-1)
        bad = [*good[:place], good[place].new_ones(1, width + more), *good[place + 1 :]]
        words = rf"^'{names[place]}' must have last dimension {width}, .*\(got {width + more}\)$"
        with pytest.raises(ValueError, match=words):
            function(*bad, c=0.7)


def test_tensors_on_different_devices_raise_an_error_that_names_both():
    x, elsewhere = torch.zeros(2), torch.zeros(2, device="meta")
    for function in (poincare.dist, lorentz.dist):
        with pytest.raises(ValueError, match=r"^'x' and 'y' .*\(got cpu and meta\)$"):
            function(x, elsewhere, c=1.0)


def test_the_minkowski_product_follows_the_same_rules():
    u = torch.rand(4, 3)
    assert lorentz.inner(u, u).dtype == torch.float32
    with pytest.raises(TypeError, match="^'u' must be"):
        lorentz.inner(u.half(), u.half())
    with pytest.raises(TypeError, match="^'u' and 'v' must share a dtype"):
        lorentz.inner(u, u.double())


def test_the_working_dtype_is_that_of_the_results():
    for dtype in DTYPES:
        assert _precision.working_dtype(torch.zeros(1, dtype=dtype)) == dtype
    for half in (torch.float16, torch.bfloat16):
        assert _precision.working_dtype(torch.zeros(1, dtype=half)) == torch.float32


@pytest.mark.parametrize("model", ["poincare", "lorentz"])
def test_a_float32_curvature_costs_float64_points_no_accuracy(model):
    c = torch.tensor(0.13)
    x, y = pick(moderate_arguments(model, 0.13, torch.float64), GEOMETRY[model].dist)
    for name in ("dist", "rel"):
        function = getattr(GEOMETRY[model], name)
        expected = function(x, y, c=c.item())
        torch.testing.assert_close(function(x, y, c=c), expected, rtol=1e-12, atol=0)


def test_numbers_are_given_by_name():
    x = torch.zeros(2, 3)
    for surplus in (1.0, x):
        with pytest.raises(TypeError, match=r"dist\(\) takes 2 positional arguments but 3"):
            poincare.dist(x, x, surplus)
        with pytest.raises(TypeError, match=r"dist\(\) takes 2 positional arguments but 3"):
            poincare.dist(x, x, surplus, c=1.0)


def test_annotations_may_be_strings():
    @_precision.full_precision
    def double(x: "torch.Tensor", *, c: "float") -> "torch.Tensor":
        return 2 * x

    with pytest.raises(TypeError, match="'x' must be a float32 or float64 tensor"):
        double(torch.ones(3, dtype=torch.int64), c=1.0)
    assert double(torch.ones(3), c=1.0).dtype == torch.float32


@every_function
@pytest.mark.parametrize("c", [-1.0, 0, float("nan"), float("inf")])
def test_only_negative_curvature_is_hyperbolic(model, function, c):
    arguments = pick(moderate_arguments(model, 0.7, torch.float32), function)
    with pytest.raises(ValueError, match=rf"^'c' must be positive and finite, .*\(got {c}\)$"):
        function(*arguments, c=c)


@every_function
@pytest.mark.parametrize("c", ["1.0", None, True])
def test_a_curvature_is_a_number(model, function, c):
    arguments = pick(moderate_arguments(model, 0.7, torch.float32), function)
    with pytest.raises(TypeError, match=rf"^'c' must be a float or a tensor \(got {c!r}\)$"):
        function(*arguments, c=c)


@every_function
@pytest.mark.parametrize("shape", [(), (3, 0)])
def test_points_have_coordinates(model, function, shape):
    (first, *_), empty = NAMES[function.__name__], torch.zeros(shape)
    good = list(pick(moderate_arguments(model, 0.7, torch.float32), function))
    with pytest.raises(ValueError, match=rf"^'{first}' must have coordinates \(got shape "):
        function(empty, *good[1:], c=0.7)


@every_function
def test_points_have_a_curvature_each_and_coordinates_have_none(model, function):
    arguments = list(pick(moderate_arguments(model, 0.7, torch.float32), function))
    expected = as_tuple(function(*arguments, c=torch.tensor(0.7)))
    found = as_tuple(function(*arguments, c=torch.full((len(arguments[0]), 1), 0.7)))
    torch.testing.assert_close(found, expected)  # the dtype too
    with pytest.raises(ValueError, match=r"^'c' must be a number, or .*\(got shape \(3,\)\)$"):
        function(*arguments, c=torch.full((3,), 0.7))
    for dtype in (torch.complex64, torch.bool):
        with pytest.raises(TypeError, match=rf"^'c' must be real \(got {dtype}\)$"):
            function(*arguments, c=torch.ones((), dtype=dtype))
