"""The two models by definition, in 60 digits: what the tests compare with.

Points are lists of mpmath numbers. A point of the hyperboloid is its space part; its time follows.
Hyperbolic lengths here are in units of the radius of curvature, ``1 / sqrt(c)``.
"""

from collections.abc import Callable
from typing import Any

import mpmath
from torch import Tensor

mp = mpmath.mp.clone()
mp.dps = 60

Vector = list[Any]


def exact(x: Tensor) -> Vector:
    """The entries of a tensor, not rounded."""
    return [mp.mpf(entry) for entry in x.tolist()]


def dot(x: Vector, y: Vector):
    return mp.fdot(x, y)


def norm(x: Vector):
    return mp.sqrt(dot(x, x))


def combine(a, x: Vector, b, y: Vector) -> Vector:
    """``a x + b y``"""
    return [a * s + b * t for s, t in zip(x, y, strict=True)]


def scale(a, x: Vector) -> Vector:
    return [a * s for s in x]


def relative_error(actual: Tensor, expected: Vector) -> float:
    """Length of the difference, relative to the length of what was expected."""
    return float(norm(combine(1, exact(actual), -1, expected)) / norm(expected))


def gradient(function: Callable[[Vector], Any], x: Vector) -> Vector:
    """Central differences of a number, right to 30 digits or more."""
    return [directional(lambda p: [function(p)], x, unit)[0] for unit in mp.eye(len(x)).tolist()]


def directional(function: Callable[[Vector], Vector], x: Vector, v: Vector) -> Vector:
    """Derivative of a vector along ``v``."""
    step = mp.mpf(10) ** -20
    ahead, behind = (function(combine(1, x, h, v)) for h in (step, -step))
    return combine(1 / (2 * step), ahead, -1 / (2 * step), behind)


class Ball:
    """Ungar, "Analytic Hyperbolic Geometry" (2005); Ganea et al. (2018), eqs. (4)-(6)."""

    length_of_unit = mp.mpf(1) / 2  # of the tangent vector at the origin that spans distance 1

    @staticmethod
    def mobius_add(x: Vector, y: Vector, c) -> Vector:
        xy, xx, yy = dot(x, y), dot(x, x), dot(y, y)
        denominator = 1 + 2 * c * xy + c**2 * xx * yy
        return combine((1 + 2 * c * xy + c * yy) / denominator, x, (1 - c * xx) / denominator, y)

    @staticmethod
    def exp0(v: Vector, c) -> Vector:
        s = mp.sqrt(c) * norm(v)
        return scale(mp.tanh(s) / s, v) if s else v

    @staticmethod
    def log0(x: Vector, c) -> Vector:
        s = mp.sqrt(c) * norm(x)
        return scale(mp.atanh(s) / s, x) if s else x

    @classmethod
    def rel(cls, x: Vector, y: Vector, c) -> Vector:
        return cls.log0(cls.mobius_add(scale(-1, x), y, c), c)

    @classmethod
    def move(cls, x: Vector, v: Vector, c) -> Vector:
        return cls.mobius_add(x, cls.exp0(v, c), c)

    @classmethod
    def dist(cls, x: Vector, y: Vector, c):
        return 2 / mp.sqrt(c) * mp.atanh(mp.sqrt(c) * norm(cls.mobius_add(scale(-1, x), y, c)))

    @classmethod
    def gyration(cls, x: Vector, y: Vector, v: Vector, c) -> Vector:
        """What is left of ``x + (y + v)`` when ``x + y`` is taken away, at first order in ``v``."""
        back = scale(-1, cls.mobius_add(x, y, c))

        def law(w: Vector) -> Vector:
            return cls.mobius_add(back, cls.mobius_add(x, cls.mobius_add(y, w, c), c), c)

        return directional(law, scale(0, v), v)

    @classmethod
    def transp0(cls, x: Vector, v: Vector, c) -> Vector:
        """The differential of the translation along the geodesic from the origin to ``x``."""
        return directional(lambda p: cls.mobius_add(x, p, c), scale(0, v), v)

    @classmethod
    def transp(cls, x: Vector, y: Vector, u: Vector, c) -> Vector:
        """Take ``x`` to the origin, transport there, and take it back."""
        there = cls.mobius_add(scale(-1, x), y, c)
        at_origin = directional(lambda p: cls.mobius_add(scale(-1, x), p, c), x, u)
        moved = cls.transp0(there, at_origin, c)
        return directional(lambda p: cls.mobius_add(x, p, c), there, moved)


class Hyperboloid:
    """Lorentz boosts, as in special relativity, with velocity ``X_s / X_0``."""

    length_of_unit = mp.mpf(1)

    @staticmethod
    def time(x: Vector, c):
        return mp.sqrt(1 / mp.mpf(c) + dot(x, x))

    @classmethod
    def boost(cls, x: Vector, u: Vector, c) -> Vector:
        """The boost that takes the origin to ``x``, applied to ``u = [u_0, *u_s]``."""
        gamma, p = mp.sqrt(c) * cls.time(x, c), scale(mp.sqrt(c), x)
        along = dot(p, u[1:])
        return [gamma * u[0] + along, *combine(1, u[1:], u[0] + along / (1 + gamma), p)]

    @classmethod
    def _from(cls, x: Vector, y: Vector, c) -> Vector:
        return cls.boost(scale(-1, x), [cls.time(y, c), *y], c)[1:]

    @staticmethod
    def exp0(v: Vector, c) -> Vector:
        s = mp.sqrt(c) * norm(v)
        return scale(mp.sinh(s) / s, v) if s else v

    @staticmethod
    def log0(x: Vector, c) -> Vector:
        s = mp.sqrt(c) * norm(x)
        return scale(mp.asinh(s) / s, x) if s else x

    @classmethod
    def rel(cls, x: Vector, y: Vector, c) -> Vector:
        return cls.log0(cls._from(x, y, c), c)

    @classmethod
    def move(cls, x: Vector, v: Vector, c) -> Vector:
        point = cls.exp0(v, c)
        return cls.boost(x, [cls.time(point, c), *point], c)[1:]

    @classmethod
    def dist(cls, x: Vector, y: Vector, c):
        product = dot(x, y) - cls.time(x, c) * cls.time(y, c)
        return mp.acosh(-c * product) / mp.sqrt(c)

    @classmethod
    def transp0(cls, x: Vector, v: Vector, c) -> Vector:
        return cls.boost(x, [mp.mpf(0), *v], c)

    @classmethod
    def transp(cls, x: Vector, y: Vector, u: Vector, c) -> Vector:
        """Take ``x`` to the origin, transport there, and take it back."""
        at_origin = cls.boost(scale(-1, x), u, c)
        return cls.boost(x, cls.boost(cls._from(x, y, c), at_origin, c), c)


MODELS = {"poincare": Ball, "lorentz": Hyperboloid}
