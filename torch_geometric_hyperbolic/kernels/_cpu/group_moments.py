"""Moments of groups of points, a group at a time: see :mod:`kernels.group_moments`."""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled, compiled_in_order


@compiled
def _positive(mass):
    return mass if mass > 0 else 1.0


@compiled_in_order
def _share(weight, mass):
    """Exactly 1 for a point alone, whose mean it is, to the last bit."""
    return weight / _positive(mass)


@compiled_in_order
def _less(offset, rest):
    """Apart, as the compiler would take ``rest`` and the mean together, where it is lost."""
    return offset - rest


@compiled
def moments(start, stop, points, weight, rowptr, order, mean, variance, mass):
    """Those of groups ``start`` to ``stop``."""
    means, channels = weight.shape[1], points.shape[1]
    for group in range(start, stop):
        mean[group] = 0
        variance[group] = 0
        mass[group] = 0
        for position in range(rowptr[group], rowptr[group + 1]):
            mass[group] += weight[order[position]]
        for position in range(rowptr[group], rowptr[group + 1]):
            e = order[position]
            for s in range(means):
                share = _share(weight[e, s], mass[group, s])
                for f in range(channels):
                    mean[group, s, f] += share * points[e, f]
        for position in range(rowptr[group], rowptr[group + 1]):
            e = order[position]
            for s in range(means):
                squared = 0.0
                for f in range(channels):
                    squared += (points[e, f] - mean[group, s, f]) ** 2
                variance[group, s] += _share(weight[e, s], mass[group, s]) * squared


@compiled
def gradients(
    start, stop, points, weight, rowptr, order, mean, variance, mass, d_mean, d_variance, d_mass,
    d_points, d_weight,
):  # fmt: skip
    r"""Gradients by points and weights of groups ``start`` to ``stop``.

    :math:`db / dp = w / M`, :math:`dV / dp = 2 w (p - b) / M`, :math:`db / dw = (p - b) / M` and
    :math:`dV / dw = (\|p - b\|^2 - V) / M`: what moves the mean alone does not change the variance.
    For that the offsets :math:`p - b` must cancel to the last bit, so those of the rounded mean are
    taken less their own mean.
    """
    channels = points.shape[1]
    rest = np.empty((weight.shape[1], channels))
    for group in range(start, stop):
        rest[:] = 0
        for position in range(rowptr[group], rowptr[group + 1]):
            e = order[position]
            for s in range(weight.shape[1]):
                share = _share(weight[e, s], mass[group, s])
                for f in range(channels):
                    rest[s, f] += share * (points[e, f] - mean[group, s, f])
        for position in range(rowptr[group], rowptr[group + 1]):
            e = order[position]
            d_points[e] = 0
            for s in range(weight.shape[1]):
                total, of_variance = _positive(mass[group, s]), d_variance[group, s]
                share = _share(weight[e, s], mass[group, s])
                along, squared = 0.0, 0.0
                for f in range(channels):
                    offset = _less(points[e, f] - mean[group, s, f], rest[s, f])
                    along += d_mean[group, s, f] * offset
                    squared += offset * offset
                    d_points[e, f] += share * (d_mean[group, s, f] + 2 * of_variance * offset)
                by_share = along + of_variance * (squared - variance[group, s])
                d_weight[e, s] = by_share / total + d_mass[group, s]
