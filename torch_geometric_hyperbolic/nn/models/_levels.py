"""Levels of a hierarchy of clouds: each layer keeps a share of its input's points."""

import math
from collections.abc import Sequence
from typing import TypeVar

from torch_geometric_hyperbolic.nn.pool.fps import just_below

T = TypeVar("T")


def checked_ratios(ratios: Sequence[float] | None, layers: int) -> tuple[float, ...]:
    """The share that each of some layers keeps, all if :obj:`None`.

    Raises:
        ValueError: unless there is one above 0 and at most 1 for each layer.
    """
    try:
        shares = (1.0,) * layers if ratios is None else tuple(map(float, ratios))
    except (TypeError, ValueError):
        shares = ()
    if len(shares) != layers or not all(0 < share <= 1 for share in shares):
        raise ValueError(
            f"'ratios' must be {layers} numbers above 0 and at most 1, one for each of "
            f"'hidden_channels' (got {ratios})"
        )
    return shares


def by_level(ratios: Sequence[float], values: Sequence[T]) -> list[list[T]]:
    """A value for each layer, in lists of those that keep the same points."""
    levels: list[list[T]] = []
    for ratio, value in zip(ratios, values, strict=True):
        if ratio < 1 or not levels:
            levels.append([])
        levels[-1].append(value)
    return levels


def fewest_points(ratios: Sequence[float], k: int) -> int:
    """The fewest points a cloud may have for every layer to get ``k``: the inverse of the rounding
    in :func:`fps`, layer by layer from the last.
    """
    least = k
    for ratio in reversed(ratios[:-1]):
        kept, least = least, int((least - 1) / ratio)
        while math.ceil(just_below(ratio) * least) < kept:
            least += 1
    return least
