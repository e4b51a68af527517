"""Frechet means and their linear systems, a group at a time, whose points stay in the cache.

The formulas are those of :mod:`kernels.frechet_mean`.
"""

import math

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.move import move
from torch_geometric_hyperbolic.kernels._cpu.radial import dot, point_row, row_gap
from torch_geometric_hyperbolic.kernels._cpu.scalars import rel_factor
from torch_geometric_hyperbolic.kernels._cpu.windows import largest

EPS = np.finfo(np.float64).eps


@compiled
def means(start, stop, points, weight, rowptr, order, begin, c, step, smallest, most_steps, out):
    """The means of groups ``start`` to ``stop``."""
    channels, longest = points.shape[1], largest(start, stop, rowptr)
    x, vectors = np.empty((longest, channels)), np.empty((longest, channels))
    share, gap, zeta = np.empty(longest), np.empty(longest), np.empty(longest)
    mean, safe, newton = np.empty((1, channels)), np.empty((1, channels)), np.empty((1, channels))
    by_safe, by_newton, work = np.empty_like(mean), np.empty_like(mean), np.empty((3, channels))
    for group in range(start, stop):
        first, size = rowptr[group], rowptr[group + 1] - rowptr[group]
        for a in range(size):
            e = order[first + a]
            _, _, _, _, gap[a], _ = point_row(points, e, c, step, smallest, False, x[a])
            share[a] = weight[e, 0]
        point_row(begin, group, c, step, smallest, False, mean[0])
        value = _look(mean[0], x, gap, share, size, c, step, vectors)
        for _ in range(most_steps):
            _steps(vectors, share, size, c, zeta, work, safe[0], newton[0])
            move(0, 1, mean, safe, c, step, smallest, False, by_safe)
            move(0, 1, mean, newton, c, step, smallest, False, by_newton)
            of_safe = _look(by_safe[0], x, gap, share, size, c, step, vectors)
            of_newton = _look(by_newton[0], x, gap, share, size, c, step, vectors)
            if of_newton <= of_safe:
                by_safe[0], of_safe = by_newton[0], of_newton
            else:
                _look(by_safe[0], x, gap, share, size, c, step, vectors)
            if not of_safe < value:
                mean[0] = by_newton[0]  # the cost tells no more; Newton's step still does
                break
            mean[0], value = by_safe[0], of_safe
        out[group] = mean[0]


@compiled
def _look(mean, x, gap, share, size, c, step, relative):
    """Fills in what the mean sees of the points; returns the cost."""
    by_mean, cost = 1 / row_gap(mean, c, step), 0.0
    for a in range(size):
        squared = 0.0
        for f in range(len(mean)):
            squared += (x[a, f] - mean[f]) ** 2
        by = 1 / gap[a]
        q = c * squared * (by * by_mean) if c != 0 else 0.0
        factor, _ = rel_factor(q)
        alpha, beta = factor * by, factor * q
        for f in range(len(mean)):
            relative[a, f] = alpha * (x[a, f] - mean[f]) - beta * mean[f]
        cost += share[a] * dot(relative[a], relative[a])
    return cost


@compiled
def _steps(vectors, share, size, c, zeta, work, safe, newton):
    """The step that always descends, and Newton's; relative vectors become directions."""
    safe[:] = 0
    slope = 0.0
    for a in range(size):
        for f in range(len(safe)):
            safe[f] += share[a] * vectors[a, f]
        length = math.sqrt(dot(vectors[a], vectors[a]))
        s = 2 * math.sqrt(c) * length
        zeta[a] = s / math.tanh(s) if s > 0 else 1.0
        slope += share[a] * zeta[a]
        by = 1 / length if length > 0 else 0.0
        for f in range(len(safe)):
            vectors[a, f] *= by
    _solve(safe, share, vectors, zeta, size, work, newton)
    for f in range(len(safe)):
        safe[f] /= slope if slope > 0 else 1.0


@compiled
def _solve(rhs, share, unit, zeta, size, work, solution):
    """Conjugate gradients for one group."""
    residual, direction, image = work[0], work[1], work[2]
    solution[:], residual[:], direction[:] = 0, rhs, rhs
    square = dot(rhs, rhs)
    enough, total = square * EPS * EPS, 0.0
    for a in range(size):
        total += share[a] * zeta[a]
    for _ in range(2 * len(rhs)):
        for f in range(len(rhs)):
            image[f] = total * direction[f]
        for a in range(size):
            by = share[a] * (1 - zeta[a]) * dot(unit[a], direction)
            for f in range(len(rhs)):
                image[f] += by * unit[a, f]
        curvature = dot(direction, image)
        if not (square > enough and curvature > 0):
            break
        length = square / curvature
        for f in range(len(rhs)):
            solution[f] += length * direction[f]
            residual[f] -= length * image[f]
        previous, square = square, dot(residual, residual)
        for f in range(len(rhs)):
            direction[f] = residual[f] + square / previous * direction[f]


@compiled
def solutions(start, stop, rhs, weight, unit, zeta, rowptr, order, out):
    """``H v = rhs`` of groups ``start`` to ``stop``."""
    channels, longest = rhs.shape[1], largest(start, stop, rowptr)
    vectors, work = np.empty((longest, channels)), np.empty((3, channels))
    share, stretch = np.empty(longest), np.empty(longest)
    for group in range(start, stop):
        first, size = rowptr[group], rowptr[group + 1] - rowptr[group]
        for a in range(size):
            e = order[first + a]
            vectors[a], share[a], stretch[a] = unit[e], weight[e, 0], zeta[e, 0]
        _solve(rhs[group], share, vectors, stretch, size, work, out[group])
