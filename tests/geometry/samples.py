"""The public functions of the two models, and points and vectors to call them with."""

import math
from collections.abc import Callable, Iterator
from types import ModuleType

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import convert, lorentz, poincare
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall

DTYPES = [torch.float32, torch.float64]

GEOMETRY: dict[str, ModuleType] = {"poincare": poincare, "lorentz": lorentz}

MANIFOLDS: dict[str, type[PoincareBall] | type[Lorentz]] = {
    "poincare": PoincareBall,
    "lorentz": Lorentz,
}

#: What each argument of each public function is: points (x, y), a vector at the origin to go along,
#: of any length (v), a unit vector at the origin (t), unit vectors at x (u, w).
ARGUMENTS: dict[str, dict[Callable, str]] = {
    "poincare": {
        poincare.projx: "x",
        poincare.with_gap: "x",
        poincare.with_wide_gap: "x",
        poincare.dist: "xy",
        poincare.busemann: "xt",
        poincare.rel: "xy",
        poincare.log0: "x",
        poincare.exp0: "v",
        poincare.mobius_add: "xy",
        poincare.move: "xv",
        poincare.transp0: "xt",
        poincare.transp0back: "xu",
        poincare.expmap: "xu",
        poincare.logmap: "xy",
        poincare.gyration: "xyu",
        poincare.transp: "xyu",
        poincare.inner: "xuw",
        poincare.egrad2rgrad: "xu",
        convert.poincare_to_lorentz: "x",
        convert.poincare_to_klein: "x",
        convert.klein_to_poincare: "x",
    },
    "lorentz": {
        lorentz.projx: "x",
        lorentz.space_and_time: "x",
        lorentz.dist: "xy",
        lorentz.busemann: "xt",
        lorentz.rel: "xy",
        lorentz.log0: "x",
        lorentz.exp0: "v",
        lorentz.move: "xv",
        lorentz.transp0: "xt",
        lorentz.transp0back: "xu",
        lorentz.expmap: "xu",
        lorentz.logmap: "xy",
        lorentz.transp: "xyu",
        lorentz.proju: "xu",
        lorentz.egrad2rgrad: "xu",
        convert.lorentz_to_poincare: "x",
        convert.lorentz_to_ball: "x",
    },
}

#: Which of them return points, and of which model.
POINTS: dict[Callable, type[PoincareBall] | type[Lorentz]] = {
    poincare.projx: PoincareBall,
    poincare.exp0: PoincareBall,
    poincare.mobius_add: PoincareBall,
    poincare.move: PoincareBall,
    poincare.expmap: PoincareBall,
    convert.lorentz_to_poincare: PoincareBall,
    convert.klein_to_poincare: PoincareBall,
    convert.poincare_to_klein: PoincareBall,  # the same set of points, with another metric
    lorentz.projx: Lorentz,
    lorentz.exp0: Lorentz,
    lorentz.move: Lorentz,
    lorentz.expmap: Lorentz,
    convert.poincare_to_lorentz: Lorentz,
}

#: Outputs that are float64 whatever goes in, as their docstrings say.
DOUBLE_OUTPUTS: dict[Callable, tuple[int, ...]] = {
    poincare.with_wide_gap: (1,),
    lorentz.space_and_time: (0, 1),
    convert.lorentz_to_ball: (0, 1),
}

EVERY_FUNCTION = [(model, function) for model in ARGUMENTS for function in ARGUMENTS[model]]


def label(value: object) -> str | None:
    """Names for test ids; ``ids=label``."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value.__name__ if callable(value) else None


def assert_dtypes(function: Callable, outs: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    for i, out in enumerate(outs):
        assert out.dtype == (torch.float64 if i in DOUBLE_OUTPUTS.get(function, ()) else dtype)


def as_tuple(out: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return out if isinstance(out, tuple) else (out,)


def directions(*size: int) -> Tensor:
    v = torch.randn(*size, dtype=torch.float64)
    return v / v.norm(dim=-1, keepdim=True)


def space_part(model: str, radius: float, direction: Tensor, c: float) -> Tensor:
    """What a point of the ball, or the space part of one of the hyperboloid, is; ``radius`` counts
    in units of ``1 / sqrt(c)``. Not rounded so that it stays inside.
    """
    length = math.tanh(radius / 2) if model == "poincare" else math.sinh(radius)
    return direction * (length / c**0.5)


def with_time(model: str, space: Tensor, c: float) -> Tensor:
    """A point from its space part: nothing to do in the ball."""
    if model == "poincare":
        return space
    wide = space.double()
    time = (1 / c + wide.square().sum(-1, keepdim=True)).sqrt()
    return torch.cat([time, wide], dim=-1).to(space.dtype)


def tangent(model: str, x: Tensor, u: Tensor) -> Tensor:
    """A tangent vector at ``x`` with the space part ``u``."""
    if model == "poincare":
        return u
    return torch.cat([(x[..., 1:] * u).sum(-1, keepdim=True) / x[..., :1], u], dim=-1)


def moderate_arguments(
    model: str, c: float, dtype: torch.dtype, num: int = 5, channels: int = 3, radius: float = 2.0
) -> dict[str, Tensor]:
    """Arguments of every function, for points at most ``radius`` away from the origin."""

    def point() -> Tensor:
        radii = radius * torch.rand(num, 1, dtype=torch.float64)
        length = torch.tanh(radii / 2) if model == "poincare" else torch.sinh(radii)
        return with_time(model, directions(num, channels) * length / c**0.5, c)

    x, y = point(), point()
    scale = 1 / c**0.5
    vectors = {
        "v": scale * torch.randn(num, channels, dtype=torch.float64),
        "t": scale * directions(num, channels),
        "u": scale * tangent(model, x, directions(num, channels)),
        "w": scale * tangent(model, x, directions(num, channels)),
    }
    return {name: t.to(dtype) for name, t in {"x": x, "y": y, **vectors}.items()}


def pick(arguments: dict[str, Tensor], function: Callable) -> Iterator[Tensor]:
    """The arguments of a function, in order."""
    signature = next(table[function] for table in ARGUMENTS.values() if function in table)
    return (arguments[name] for name in signature)


def learnable(c: float) -> Tensor:
    return torch.tensor(c, dtype=torch.float64, requires_grad=True)


def manifold_of(model: str, c: float) -> Manifold:
    return MANIFOLDS[model](c)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Agreement relative to the largest entry."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    bound = tolerance * expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=bound)
