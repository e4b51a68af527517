r"""The k nearest neighbours by brute force, without a matrix of distances.

A first pass fills a row of rough keys :math:`\|x_j - y\|^2 / g_j`. The row is cut into lanes,
every 256th entry for instance: if k lanes hold a key of at most :math:`t`, so do k points, and few
others do. Those that rounding lets be among the first k, usually hardly more than k, and found in
few lanes, are then ordered by their keys in float64.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, compiled_in_order
from torch_geometric_hyperbolic.kernels._cpu.rough_keys import QUERIES, fill

#: Numbers of lanes for the smallest, for small and for large clouds, powers of two; also the width
#: of a tile, which is best long: entering a loop has its cost.
LANES = 8, 256, 1024
#: Points whose keys in float64 are computed side by side.
TOGETHER = 4
#: Points beside 2 k that are collected before they are put in order.
MORE = 16
#: Up to so many numbers are ranked faster by comparing all pairs, many at once, than by sorting.
PAIRED = 256
#: Keys that stay in a core's cache; clouds so large that few queries fit are taken four by four.
KEYS = 2**17


@compiled
def search(
    start, stop, point_ptr, query_ptr, how, lanes, points, gap, queries, loosen, k, loop, slack,
    least, table,
):  # fmt: skip
    """Fill the rows of ``table`` whose first pair is one of ``start`` to ``stop``.

    Pairs of a query and a point of its cloud are counted through, cloud by cloud, so that threads
    get equal work. ``how`` makes the rough keys, see :mod:`rough_keys`; every key in float64 is at
    most ``slack`` times the rough one, plus ``loosen`` of its query and ``least``, and at least the
    rough one over ``slack`` less ``least``.
    """
    pairs = most = 0
    for cloud in range(len(point_ptr) - 1):
        most = max(most, point_ptr[cloud + 1] - point_ptr[cloud])
    padded = -(-most // lanes) * lanes
    together = max(4, min(QUERIES, KEYS // max(1, padded)))
    rows = np.empty((together, padded), how.queries.dtype)
    minima = np.empty((together, lanes), how.queries.dtype)
    folded, near = np.empty(lanes, rows.dtype), np.empty(lanes + 1, np.int64)
    ranks, best = np.empty(2 * k + MORE, np.int64), np.empty(k)
    places, keys = np.empty(len(ranks) + TOGETHER, np.int64), np.empty(len(ranks) + TOGETHER)
    for cloud in range(len(point_ptr) - 1):
        origin, end = point_ptr[cloud], point_ptr[cloud + 1]
        size = end - origin
        num = query_ptr[cloud + 1] - query_ptr[cloud]
        if num > 0:
            begin = query_ptr[cloud] + max(0, -((pairs - start) // size))
            until = query_ptr[cloud] + min(num, max(0, -((pairs - stop) // size)))
            for first in range(begin, until, together):
                last = min(first + together, until)
                fill(how, cloud, size, first, last, rows, minima)
                for i in range(first, last):
                    own = -1 if loop else i - query_ptr[cloud]
                    folded[:] = minima[i - first]
                    kth = max(0.0, _small(folded, k if loop else k + 1))
                    bound = slack * (kth + loosen[i]) + least
                    _choose(
                        rows[i - first, :size], minima[i - first], bound, own, slack, least, near,
                        places, keys, ranks, best, points[origin:end], gap[origin:end], queries[i],
                        table[i],
                    )  # fmt: skip
                    table[i] += origin
        pairs += num * size


@compiled
def _small(minima, k):
    """The k-th smallest of the lanes' minima, or more, after folding them to 3 k to 6 k lanes."""
    lanes = len(minima)
    while lanes >= 6 * k:
        lanes //= 2
        for j in range(lanes):
            other = minima[lanes + j]
            minima[j] = other if other < minima[j] else minima[j]
    if lanes < k:
        return np.inf
    if lanes > PAIRED:
        return _small_of_many(minima[:lanes], k)
    kth = 0.0
    for i in range(lanes):
        smaller = 0
        for j in range(lanes):
            smaller += minima[j] < minima[i]
        if smaller < k:
            kth = max(kth, minima[i])
    return kth


@compiled
def _small_of_many(minima, k):
    """The k-th smallest."""
    return np.float64(np.partition(minima, k - 1)[k - 1])


@compiled
def _choose(
    row, minima, bound, own, slack, least, near, places, keys, ranks, best, points, gap, query,
    found,
):  # fmt: skip
    """The first k of the points whose rough key is not above ``bound``, by their keys in float64,
    equal ones by index.
    """
    limit = row.dtype.type(bound)
    lanes = 0
    for lane in range(len(minima)):
        near[lanes] = lane
        lanes += not minima[lane] > limit
    k, count, settled = len(found), 0, 0
    for lane in near[:lanes]:
        for j in range(lane, len(row), len(minima)):
            if j == own or row[j] > limit:
                continue
            places[count] = j
            count += 1
            if count == len(ranks):
                _settle(points, gap, query, places, keys, ranks, settled, count, best, found)
                count = settled = k
                places[:k], keys[:k] = found, best
                limit = min(limit, row.dtype.type(slack * best[k - 1] + least))
    _settle(points, gap, query, places, keys, ranks, settled, count, best, found)


@compiled
def _settle(points, gap, query, places, keys, ranks, settled, count, best, found):
    """The first of ``count`` points in order; the keys of ``settled`` of them are known."""
    places[count : count + TOGETHER] = places[0]
    for first in range(settled, count, TOGETHER):
        last = first + TOGETHER
        _keys(points, gap, query, places[first:last], keys[first:last])
    if count > PAIRED:
        _rank(places[:count], keys[:count], ranks)
    else:
        ranks[:count] = 0
        for i in range(count):
            key, place = keys[i], places[i]
            for j in range(count):
                ranks[j] += (key < keys[j]) | ((key == keys[j]) & (place < places[j]))
    for i in range(count):
        if ranks[i] < len(found):
            found[ranks[i]], best[ranks[i]] = places[i], keys[i]


@compiled
def _rank(places, keys, ranks):
    """The place of each in the order of keys, equal ones by index, by sorting."""
    by_index = np.argsort(places)
    for rank, i in enumerate(by_index[np.argsort(keys[by_index], kind="mergesort")]):
        ranks[i] = rank


@compiled_in_order
def _keys(points, gap, query, some, keys):
    """The keys of four points in float64, coordinates in order as in the other engines, side by
    side, as each sum waits for its last term; NaN is farthest.
    """
    p0, p1, p2, p3 = points[some[0]], points[some[1]], points[some[2]], points[some[3]]
    s0 = s1 = s2 = s3 = 0.0
    for f in range(len(query)):
        y = np.float64(query[f])
        d0, d1 = y - np.float64(p0[f]), y - np.float64(p1[f])
        d2, d3 = y - np.float64(p2[f]), y - np.float64(p3[f])
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
    keys[0], keys[1], keys[2], keys[3] = s0, s1, s2, s3
    for i in range(TOGETHER):
        key = keys[i] / gap[some[i]]
        keys[i] = np.inf if np.isnan(key) else key
