"""Random isometries, and whether a function respects them."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_counts, check_manifold, check_points
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.testing.tolerance import assert_close

Map = Callable[[Tensor], Tensor]


def random_isometry(
    manifold: Manifold,
    channels: int,
    *,
    length: float = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Map:
    r"""A random isometry :math:`x \mapsto \operatorname{move}(a, Q \log_0 x)`.

    :math:`Q` is a rotation or a reflection, each in half of the cases, and :math:`a` a point at
    distance ``length`` from the origin; every isometry has this form.

    Args:
        manifold (Manifold): the space.
        channels (int): its dimension.
        length (float, optional): length of the translation, in units of the manifold's distance;
            0 for an isometry that fixes the origin. (default: :obj:`1.0`)
        generator (torch.Generator, optional): source of randomness. (default: :obj:`None`)
        dtype (torch.dtype, optional): dtype of the points it takes. (default: float64)

    Raises:
        TypeError, ValueError: naming the argument, for a ``manifold`` that is not one, no
            dimension, or points of another dtype.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> phi = random_isometry(ball, 3)
        >>> x, y = ball.random(2, 5, 3, dtype=torch.float64)
        >>> torch.allclose(ball.dist(phi(x), phi(y)), ball.dist(x, y))
        True
    """
    check_manifold(manifold)
    check_counts(channels=channels)
    _check_length(length)
    noise = torch.randn(channels, channels + 1, generator=generator, dtype=dtype)
    reflects = bool(torch.rand((), generator=generator) < 0.5)
    return _isometry(manifold, noise, reflects, length)


def _check_length(length: float) -> None:
    if isinstance(length, bool) or not isinstance(length, Real):
        raise TypeError(f"'length' must be a float (got {length!r})")
    if not 0 <= length < math.inf:
        raise ValueError(f"'length' must be finite and not negative (got {length})")


@torch.no_grad()
def _isometry(manifold: Manifold, noise: Tensor, reflects: bool, length: float) -> Map:
    """The isometry that a matrix ``[n, n + 1]`` of noise makes."""
    dtype, channels = noise.dtype, noise.size(0)
    rotation, _ = torch.linalg.qr(noise[:, :channels])
    if bool(torch.linalg.det(rotation) < 0) != reflects:
        rotation = torch.cat([-rotation[:, :1], rotation[:, 1:]], dim=1)
    direction = noise[:, channels] / noise[:, channels].norm()
    short = direction / (1 + float(manifold.c) ** 0.5)
    centre = manifold.exp0(short * (length / manifold.dist0(manifold.exp0(short))))

    def phi(x: Tensor) -> Tensor:
        if x.dtype != dtype:
            raise TypeError(f"'x' must have the isometry's dtype {dtype} (got {x.dtype})")
        return manifold.move(centre, manifold.log0(x) @ rotation.T)

    return phi


def assert_isometry_invariant(
    function: Callable[[Tensor], Any],
    x: Tensor,
    manifold: Manifold,
    *,
    length: float = 1.0,
    factor: float = 1.0,
) -> None:
    r"""Raise an :class:`AssertionError` unless :math:`f(\phi(x)) = f(x)` for random isometries.

    Args:
        function (callable): from points to a tensor, or to a tuple of tensors.
        x (torch.Tensor): points on ``manifold``.
        manifold (Manifold): the space.
        length (float, optional): of the translations. (default: :obj:`1.0`)
        factor (float, optional): multiplies the tolerance. (default: :obj:`1.0`)

    Raises:
        TypeError, ValueError: naming the argument, for a ``manifold`` that is not one, points
            that are not on it, or a ``length`` that is negative or not finite.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> x = ball.random(5, 3, dtype=torch.float64)
        >>> assert_isometry_invariant(lambda x: ball.dist(x, x.flip(0)), x, ball)
    """
    for phi in _isometries(x, manifold, length):
        moved, still = map(_as_tensors, (function(phi(x)), function(x)))
        for actual, expected in zip(moved, still, strict=True):
            assert_close(actual, expected, factor)


def _as_tensors(values: Any) -> tuple[Tensor, ...]:
    tensors = values if isinstance(values, tuple) else (values,)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError(f"'function' must return a tensor or a tuple of them (got {values!r})")
    return tensors


def assert_isometry_equivariant(
    function: Map, x: Tensor, manifold: Manifold, *, length: float = 1.0, factor: float = 1.0
) -> None:
    r"""Raise an :class:`AssertionError` unless :math:`f(\phi(x)) = \phi(f(x))`.

    Arguments as those of :func:`assert_isometry_invariant`; ``function`` returns points of the same
    space.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import global_midpoint_pool
        >>> ball = PoincareBall()
        >>> x = ball.random(5, 3, dtype=torch.float64)
        >>> mean = lambda x: global_midpoint_pool(x, None, manifold=ball)
        >>> assert_isometry_equivariant(mean, x, ball)
    """
    for phi in _isometries(x, manifold, length):
        assert_close(function(phi(x)), phi(function(x)), factor)


def _isometries(x: Tensor, manifold: Manifold, length: float) -> list[Map]:
    """Two without and two with a reflection."""
    check_manifold(manifold)
    check_points(x, "x")
    if not x.numel():
        raise ValueError(f"'x' must hold points (got shape {tuple(x.shape)})")
    if not manifold.check_point(x):
        raise ValueError(f"'x' must hold points of {manifold}, some of these are not on it")
    _check_length(length)
    channels, generator = manifold.log0(x).size(-1), torch.Generator().manual_seed(0)
    noise = torch.randn(4, channels, channels + 1, generator=generator, dtype=x.dtype)
    return [_isometry(manifold, own, i % 2 == 1, length) for i, own in enumerate(noise)]
