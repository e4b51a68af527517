"""Edges sorted by their targets, by their sources, and into clouds."""

from typing import Any

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def cloud_cuts(rowptr, col, num_sources, shared):
    """Where targets can be cut into clouds whose edges share no source with other clouds' edges: 0,
    ..., M. Only 0 and M if one cloud would have more than half of the edges.

    Where targets are the sources (``shared``), no cloud's sources are targets of another, either.
    """
    targets = len(rowptr) - 1
    least, most = np.empty(targets + 1, np.int32), np.empty(targets, np.int32)
    least[targets] = num_sources
    for i in range(targets):
        low, high = np.int32(num_sources), np.int32(-1)
        for e in range(rowptr[i], rowptr[i + 1]):
            low = col[e] if col[e] < low else low
            high = col[e] if col[e] > high else high
        least[i], most[i] = low, high
    for i in range(targets - 1, -1, -1):
        least[i] = min(least[i], least[i + 1])  # of this and all that follow
    cuts = np.empty(targets + 1, np.int64)
    cuts[0] = 0
    count, reached, largest = 1, -1, 0
    for i in range(targets):
        reached = max(reached, most[i])
        apart = reached < least[i + 1] and (not shared or reached <= i < least[i + 1])
        if apart and rowptr[i + 1] > rowptr[cuts[count - 1]]:
            largest = max(largest, rowptr[i + 1] - rowptr[cuts[count - 1]])
            cuts[count] = i + 1
            count += 1
    if 2 * largest > len(col) or count == 1:
        return np.array([0, targets])
    cuts[count - 1] = targets
    return cuts[:count].copy()


@compiled
def _offsets(ascending, size):
    """Where each of the numbers below ``size`` begins."""
    offsets = np.empty(size + 1, np.int64)
    reached = 0
    for e in range(len(ascending)):
        for i in range(reached, ascending[e] + 1):
            offsets[i] = e
        reached = ascending[e] + 1
    offsets[reached:] = len(ascending)
    return offsets


@compiled
def by_target(source, target, num_targets):
    """Offsets of each target's edges and the sources in that order: by a stable counting sort,
    unless edges come in that order, as those of most graphs do.
    """
    descents = 0
    for e in range(1, len(target)):
        descents += target[e] < target[e - 1]
    if descents == 0:
        return _offsets(target, num_targets), source.astype(np.int32)
    rowptr = np.zeros(num_targets + 1, np.int64)
    for e in range(len(target)):
        rowptr[target[e] + 1] += 1
    for i in range(num_targets):
        rowptr[i + 1] += rowptr[i]
    free = rowptr[:-1].copy()
    col = np.empty(len(source), np.int32)
    for e in range(len(target)):
        col[free[target[e]]] = source[e]
        free[target[e]] += 1
    return rowptr, col


def by_source(rowptr: Any, col: Any, num_sources: int) -> tuple[Any, Any, Any]:
    """Edges in the order of their sources: offsets of each source, edge, and its target."""
    edges, targets = np.arange(len(col)), np.arange(len(rowptr) - 1, dtype=np.int32)
    colptr, order = by_target(edges, col, num_sources)
    return colptr, order, np.repeat(targets, np.diff(rowptr))[order]
