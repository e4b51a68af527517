r"""Rough keys :math:`\|x_j - y\|^2 / g_j` of all points of a cloud for some queries, in two ways.

Differences: in the points' own dtype, from tiles of points, transposed, so that one instruction
takes several of them.

Products: :math:`\|x\|^2 + \|y\|^2 - 2 \langle x, y \rangle` in float32 by BLAS, about the mean of
the cloud, which pays from a number of channels on. With :math:`u = 2^{-24}`, rounding the
coordinates changes the squared distance by :math:`4 u (\|x\|^2 + \|y\|^2)`, summing ``n`` products
in any order by ``n`` of these, and the rest by 5, so that less than :math:`E_x + E_y` is lost where
:math:`E_x = (n + 16) u \|x\|^2`. That is taken off: the keys are bounds from below, and bounds from
above after :math:`2 (E_x + E_y) / g` has been added, whose largest value ``loosen`` is.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba.extending import overload
from torch import Tensor

from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT, compiled
from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

#: Queries taken at a time, at most.
QUERIES = 32
#: Channels taken at a time; tiles and queries have a multiple of them, filled up with zeros.
CHANNELS = 4
#: Channels from which products are faster, and the squared length from which float32 may overflow.
MANY, LONG = 8, 1e36


class Differences(NamedTuple):
    """Tiles of points ``[T, n, width]``, ``1 / gap`` of each point ``[T, width]``, NaN where there
    is none, the tile each cloud begins with, and the queries, ``[M, n]``.
    """

    tiles: Any
    weights: Any
    first_tile: Any
    queries: Any


class Products(NamedTuple):
    """The same about the mean of each cloud in float32, the queries times -2, and the squared
    lengths of points ``[T, width]`` and queries ``[M]`` less what may be lost.
    """

    tiles: Any
    weights: Any
    first_tile: Any
    queries: Any
    of_points: Any
    of_queries: Any


def rough_keys(
    points: Tensor, gap: Tensor, queries: Tensor, point_ptr: Tensor, query_ptr: Tensor, lanes: int
) -> tuple[Differences | Products, Tensor]:
    """How keys are made, and ``loosen`` of each query, ``[M]``."""
    if points.size(1) >= MANY:
        products, loosen, longest = _products(points, gap, queries, point_ptr, query_ptr, lanes)
        if (longest < LONG).all():
            return products, loosen
    num_tiles, first_tile = _tiles(point_ptr, lanes)
    tile = torch.arange(int(num_tiles.sum())) - first_tile.repeat_interleave(num_tiles)
    first = point_ptr[:-1].repeat_interleave(num_tiles) + tile * lanes
    index = first[:, None] + torch.arange(lanes)
    absent = index >= point_ptr[1:].repeat_interleave(num_tiles)[:, None]
    index[absent] = 0
    fill = (0, -points.size(1) % CHANNELS)
    points, queries = (torch.nn.functional.pad(t, fill) for t in (points, queries))
    weights = gap[index, 0].reciprocal().to(points.dtype)
    weights[absent] = torch.nan
    tiles = points[index].transpose(1, 2)
    none = torch.zeros(len(queries), dtype=torch.float64)
    return Differences(tiles, weights, first_tile, queries), none


def _tiles(point_ptr: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """How many tiles each cloud has, and with which it begins."""
    num_tiles = (point_ptr.diff() + width - 1) // width
    return num_tiles, num_tiles.cumsum(0) - num_tiles


def _products(
    points: Tensor, gap: Tensor, queries: Tensor, point_ptr: Tensor, query_ptr: Tensor, lanes: int
) -> tuple[Products, Tensor, Tensor]:
    """Products, ``loosen``, and the largest squared length in each cloud."""
    channels, width = points.size(1), lanes
    while width > 8 and width * channels * QUERIES > PRODUCT:
        width //= 2
    num_tiles, first_tile = _tiles(point_ptr, width)
    size = int(num_tiles.sum())
    tiles, of_points = torch.zeros(size, channels, width), torch.zeros(size, width)
    weights, of_queries = torch.full((size, width), torch.nan), torch.empty(len(queries))
    asked = torch.empty(queries.shape)
    products = Products(tiles, weights, first_tile, asked, of_points, of_queries)
    loosen, longest = torch.zeros(len(queries)).double(), torch.zeros(len(num_tiles)).double()
    given = (points, gap[:, 0], queries, point_ptr, query_ptr)
    parallel(_centre, len(num_tiles), *given, products, loosen, longest)
    return products, loosen, longest


@compiled
def _centre(
    start, stop, points, gap, queries, point_ptr, query_ptr, products, loosen, longest
):  # fmt: skip
    """Fill the products of clouds ``start`` to ``stop``, and the largest squared length of each."""
    channels, width = points.shape[1], products.tiles.shape[2]
    lost = (channels + 16) * 2.0**-24
    mean = np.empty(channels)
    for cloud in range(start, stop):
        origin, end = point_ptr[cloud], point_ptr[cloud + 1]
        mean[:] = 0
        for i in range(origin, end):
            for f in range(channels):
                mean[f] += points[i, f]
        mean /= max(1, end - origin)
        most, most_lost = 0.0, 0.0
        for i in range(origin, end):
            tile, place = products.first_tile[cloud] + (i - origin) // width, (i - origin) % width
            squared = 0.0
            for f in range(channels):
                x = np.float32(points[i, f] - mean[f])
                products.tiles[tile, f, place] = x
                squared += np.float64(x) * np.float64(x)
            longest[cloud] = _larger(longest[cloud], squared)
            products.weights[tile, place] = 1 / gap[i]
            products.of_points[tile, place] = (1 - lost) * squared
            most, most_lost = max(most, 1 / gap[i]), max(most_lost, lost * squared / gap[i])
        for i in range(query_ptr[cloud], query_ptr[cloud + 1]):
            squared = 0.0
            for f in range(channels):
                y = np.float32(queries[i, f] - mean[f])
                products.queries[i, f] = -2 * y
                squared += np.float64(y) * np.float64(y)
            longest[cloud] = _larger(longest[cloud], squared)
            products.of_queries[i] = (1 - lost) * squared
            loosen[i] = 2 * (lost * squared * most + most_lost)


@compiled
def _larger(x, y):
    """The larger of two, NaN if one is."""
    return x if x > y or np.isnan(x) else y


def _fill(how, cloud, size, first, last, rows, minima):
    raise NotImplementedError


@overload(_fill)
def _(how, cloud, size, first, last, rows, minima):
    loop = _by_differences if how.instance_class is Differences else _by_products
    return lambda how, cloud, size, first, last, rows, minima: loop(
        how, cloud, size, first, last, rows, minima
    )


@compiled
def fill(how, cloud, size, first, last, rows, minima):
    """Write the keys of a cloud's ``size`` points for queries ``first`` to ``last`` to ``rows``,
    whose length is a multiple of the lanes, and the least of each lane to ``minima``.
    """
    minima[:] = np.inf
    _fill(how, cloud, size, first, last, rows, minima)


@compiled
def _by_differences(how, cloud, size, first, last, rows, minima):
    width = how.tiles.shape[2]
    for start in range(0, size, width):
        tile = how.first_tile[cloud] + start // width
        for i in range(first, last):
            _of_tile(
                how.tiles[tile], how.queries[i], how.weights[tile],
                rows[i - first, start : start + width], minima[i - first],
            )  # fmt: skip


@compiled
def _of_tile(tile, query, weight, keys, minima):
    """Keys of a tile for one query."""
    keys[:] = 0
    for f in range(0, len(tile), CHANNELS):
        y0, y1, y2, y3 = query[f], query[f + 1], query[f + 2], query[f + 3]
        x0, x1, x2, x3 = tile[f], tile[f + 1], tile[f + 2], tile[f + 3]
        for j in range(len(keys)):
            d0, d1, d2, d3 = x0[j] - y0, x1[j] - y1, x2[j] - y2, x3[j] - y3
            keys[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for j in range(len(keys)):
        key = keys[j] * weight[j]
        keys[j] = key
        minima[j] = key if key < minima[j] else minima[j]  # NaN is no minimum


@compiled
def _by_products(how, cloud, size, first, last, rows, minima):
    num, width, lanes = last - first, how.tiles.shape[2], minima.shape[1]
    product = np.empty((num, width), rows.dtype)
    queries = how.queries[first:last]
    for start in range(0, size, width):
        tile, lane = how.first_tile[cloud] + start // width, start % lanes
        np.dot(queries, how.tiles[tile], product)
        weights, of_points = how.weights[tile], how.of_points[tile]
        for i in range(num):
            own, of_query = product[i], how.of_queries[first + i]
            keys, least = rows[i, start : start + width], minima[i, lane : lane + width]
            for j in range(width):
                key = ((of_points[j] + of_query) + own[j]) * weights[j]
                keys[j] = key
                least[j] = key if key < least[j] else least[j]  # NaN is no minimum
