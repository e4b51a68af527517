r"""The k nearest neighbours by brute force, without a matrix of distances.

Points come in tiles, transposed, so that one instruction takes several of them. A first
pass fills a row of rough keys :math:`\|x_j - y\|^2 / g_j` in the points' own dtype. The row is cut
into lanes, every 64th entry for instance: if k lanes hold a key of at most :math:`t`, so do k
points, and few others do. Those that rounding lets be among the first k, usually hardly more than
k, and found in few lanes, are then ordered by their keys in float64.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, compiled_in_order

#: Points of a tile, for small and for large clouds: long loops cost less to enter.
TILES = 256, 1024
#: Channels taken at a time; tiles and queries have a multiple of them, filled up with zeros.
CHANNELS = 4
#: Queries that share the loads of a tile.
QUERIES = 4


@compiled
def search(
    start, stop, point_ptr, query_ptr, tiles, weights, points, gap, padded, queries, k, loop,
    slack, least, table,
):  # fmt: skip
    """Fill the rows of ``table`` whose first pair is one of ``start`` to ``stop``.

    Pairs of a query and a point of its cloud are counted through, cloud by cloud, so that threads
    get equal work. ``weights`` are ``1 / gap``, NaN where a tile has no point.
    """
    pairs = first_tile = most = 0
    width = tiles.shape[2]
    for cloud in range(len(point_ptr) - 1):
        most = max(most, point_ptr[cloud + 1] - point_ptr[cloud])
    rows = np.empty((QUERIES, -(-most // width) * width), tiles.dtype)
    minima = np.empty((QUERIES, width), tiles.dtype)
    folded, near, best = np.empty(width, tiles.dtype), np.empty(width + 1, np.int64), np.empty(k)
    for cloud in range(len(point_ptr) - 1):
        origin, size = point_ptr[cloud], point_ptr[cloud + 1] - point_ptr[cloud]
        num = query_ptr[cloud + 1] - query_ptr[cloud]
        num_tiles = -(-size // width)
        if num > 0:
            begin = query_ptr[cloud] + max(0, -((pairs - start) // size))
            end = query_ptr[cloud] + min(num, max(0, -((pairs - stop) // size)))
            for first in range(begin, end, QUERIES):
                last = min(first + QUERIES, end)
                minima[:] = np.inf
                for tile in range(num_tiles):
                    for i in range(first, last):
                        row = rows[i - first, tile * width : (tile + 1) * width]
                        _fill(tiles[first_tile + tile], padded[i], weights[first_tile + tile],
                              row, minima[i - first])  # fmt: skip
                for i in range(first, last):
                    own = -1 if loop else i - query_ptr[cloud]
                    folded[:] = minima[i - first]
                    bound = slack * _small(folded, k if loop else k + 1) + least
                    _choose(
                        rows[i - first, :size], minima[i - first], bound, own, slack, least, near,
                        best, points[origin : origin + size], gap[origin : origin + size],
                        queries[i], table[i],
                    )  # fmt: skip
                    table[i] += origin
        pairs += num * size
        first_tile += num_tiles


@compiled
def _fill(tile, query, weight, keys, minima):
    """Rough keys of a tile, and the least of each position in all tiles so far."""
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
def _small(minima, k):
    """The k-th smallest of the lanes' minima, after folding them to few lanes, but 3 k."""
    lanes = len(minima)
    while lanes >= 6 * k:
        lanes //= 2
        for j in range(lanes):
            other = minima[lanes + j]
            minima[j] = other if other < minima[j] else minima[j]
    if lanes < k:
        return np.inf
    kth = 0.0
    for i in range(lanes):
        smaller = 0
        for j in range(lanes):
            smaller += minima[j] < minima[i]
        if smaller < k:
            kth = max(kth, minima[i])
    return kth


@compiled
def _choose(
    row, minima, bound, own, slack, least, near, best, points, gap, query, found
):  # fmt: skip
    """The first k of the points whose rough key is not above ``bound``, by their keys in float64,
    equal ones by index.
    """
    limit = row.dtype.type(bound)
    lanes = 0
    for lane in range(len(minima)):
        near[lanes] = lane
        lanes += not minima[lane] > limit
    k, count = len(found), 0
    for lane in near[:lanes]:
        for j in range(lane, len(row), len(minima)):
            if j == own or row[j] > limit:
                continue
            key = _key(points[j], query, gap[j])
            if count < k:
                place = count
                count += 1
            elif _before(key, j, best[k - 1], found[k - 1]):
                place = k - 1
            else:
                continue
            while place > 0 and _before(key, j, best[place - 1], found[place - 1]):
                best[place], found[place] = best[place - 1], found[place - 1]
                place -= 1
            best[place], found[place] = key, j
            if count == k:
                limit = min(limit, row.dtype.type(slack * best[k - 1] + least))


@compiled
def _before(key, j, other, i):
    """Whether point ``j`` stands before ``i``, given their keys."""
    return key < other or (key == other and j < i)


@compiled_in_order
def _key(point, query, gap):
    """The key in float64, coordinates in order as in the other engines; NaN is farthest."""
    squared = 0.0
    for f in range(len(point)):
        d = np.float64(query[f]) - np.float64(point[f])
        squared += d * d
    key = squared / gap
    return np.inf if np.isnan(key) else key
