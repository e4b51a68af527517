"""The dtypes of geometric functions: what they take, and in what they compute."""

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, ParamSpec, TypeVar, get_type_hints

import torch
from torch import Tensor

#: What geometric functions and compiled operators compute in, and what only autocast may give them.
FULL, HALF = (torch.float32, torch.float64), (torch.float16, torch.bfloat16)

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(
    function: Callable[P, R], at_origin: str | None = None, flat: bool = False
) -> Callable[P, R]:
    """Check what a geometric function takes and keep it in float32 or float64.

    Arguments annotated as tensors are points; all others are numbers, or tensors of any dtype.
    Under autocast half-precision arguments are lifted to float32. Elsewhere they, integer tensors,
    and arguments of different dtypes, devices or numbers of coordinates raise a :class:`TypeError`
    or :class:`ValueError` that names the argument. The hyperboloid's vectors ``at_origin`` have one
    coordinate less than its points, no time. A number ``c`` must be positive; a tensor's values are
    not looked at, but it must be 0-dimensional or have 1 as its last dimension. A function that
    also covers ``flat`` space accepts ``c = 0``, and its tensors are distances instead of points.
    """
    parameters = inspect.signature(function).parameters
    positional = [name for name, about in parameters.items() if about.kind != about.KEYWORD_ONLY]
    annotations = get_type_hints(function)
    points = [name for name in parameters if annotations.get(name) is Tensor]

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) > len(positional):
            return function(*args, **kwargs)  # Python tells that there are too many
        given = {**dict(zip(positional, args, strict=False)), **kwargs}
        if "c" in given:
            _check_curvature(given["c"], flat)
        lifted: dict[str, Any] = {
            name: lift(value, name) if name in points else _widen(value)
            for name, value in given.items()
        }
        of_points = {name: lifted[name] for name in points if name in lifted}
        _check_alike(of_points)
        if not flat:
            _check_coordinates(of_points, at_origin)
        return function(**lifted)  # type: ignore[call-arg]

    return wrapper


def _check_coordinates(points: dict[str, Tensor], at_origin: str | None) -> None:
    """Raise unless all have the first one's number of coordinates, or one less ``at_origin``."""
    for name, value in points.items():
        if 0 in (value.dim(), *value.shape[-1:]):
            raise ValueError(f"'{name}' must have coordinates (got shape {tuple(value.shape)})")
        first = next(iter(points))
        width = points[first].shape[-1] - int(name == at_origin)
        if value.shape[-1] != width:
            raise ValueError(
                f"'{name}' must have last dimension {width}, as '{first}' tells "
                f"(got {value.shape[-1]})"
            )


def _check_alike(points: dict[str, Tensor]) -> None:
    """Raise unless all share the first one's dtype and device."""
    for name, value in points.items():
        one, first = next(iter(points.items()))
        if value.dtype != first.dtype:
            raise TypeError(
                f"'{one}' and '{name}' must share a dtype (got {first.dtype} and {value.dtype})"
            )
        if value.device != first.device:
            raise ValueError(
                f"'{one}' and '{name}' must share a device (got {first.device} and {value.device})"
            )


def _check_curvature(c: object, flat: bool) -> None:
    if isinstance(c, Tensor):
        if c.is_complex() or c.dtype == torch.bool:
            raise TypeError(f"'c' must be real (got {c.dtype})")
        if not flat and c.dim() and c.shape[-1] != 1:
            raise ValueError(
                f"'c' must be a number, or have last dimension 1 (got shape {tuple(c.shape)})"
            )
        return
    if isinstance(c, bool) or not isinstance(c, Real):
        raise TypeError(f"'c' must be a float or a tensor (got {c!r})")
    if not (0 < c < math.inf or (flat and c == 0)):  # type: ignore[operator]
        kind = "finite and not negative" if flat else "positive and finite"
        raise ValueError(f"'c' must be {kind}, the curvature is -c (got {c})")


def _widen(number: object) -> object:
    return number.double() if isinstance(number, Tensor) else number


def check_device(device: torch.device, name: str) -> None:
    """Raise a :class:`TypeError` if a device has no float64, in which everything is computed."""
    if device.type == "mps":
        raise TypeError(f"'{name}' must be on a device that has float64 (got {device})")


def lift(value: object, name: str) -> Tensor:
    """Points in float32 or float64, which half precision becomes under autocast; else an error."""
    if not isinstance(value, Tensor):
        raise TypeError(f"'{name}' must be a tensor (got {type(value).__name__})")
    check_device(value.device, name)
    if value.dtype in HALF and torch.is_autocast_enabled(value.device.type):
        return value.float()
    if value.dtype not in FULL:
        raise TypeError(f"'{name}' must be a float32 or float64 tensor (got {value.dtype})")
    return value


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which :func:`full_precision` functions return what they make of ``x``."""
    return x.dtype if x.dtype in FULL else torch.float32
