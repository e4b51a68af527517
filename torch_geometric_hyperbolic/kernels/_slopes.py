"""How a target's result depends on the value of one of its edges: three cases."""

from typing import Any, NamedTuple


class Selected(NamedTuple):
    """The edge that each target and channel took its value from, ``[M, F]``."""

    edge: Any


class Given(NamedTuple):
    """The gradient of every edge's value, ``[E, F]``."""

    grad: Any


class Activated(NamedTuple):
    """The slope of the activation below zero."""

    slope: float
