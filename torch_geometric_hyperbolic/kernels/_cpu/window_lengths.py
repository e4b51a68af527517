"""Lengths made from the Gram matrices of windows, a few rows at a time."""

import math

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.windows import (
    inner_products,
    largest,
    pull,
    transpose,
    vectors,
)

#: Rows of a Gram matrix that are there at a time; even.
STRIP = 4


@compiled
def lengths(start, stop, v, rowptr, of_windows, of_vectors):
    """The lengths of every window and of its vectors: see :func:`window_lengths`."""
    channels, longest = v.relative_i.shape[1], largest(start, stop, rowptr) + STRIP
    window, strip = np.zeros((longest, channels)), np.empty((STRIP, longest))
    own, mean, square = np.empty(longest), np.empty(longest), np.empty(longest)
    centre = np.empty(channels)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        vectors(v, i, rowptr, window)
        for top in range(0, size, STRIP):
            inner_products(window, top, STRIP, window, size, channels, strip)
            for a in range(top, min(top + STRIP, size)):
                total, squares = 0.0, 0.0
                for b in range(size):
                    total += strip[a - top, b]
                    squares += strip[a - top, b] * strip[a - top, b]
                own[a], mean[a], square[a] = strip[a - top, a], total / size, squares / size
        # Not the mean of all products: vectors that nearly cancel would leave their rounding.
        centre[:] = 0
        of_all, of_mean = 0.0, 0.0
        for a in range(size):
            of_all += own[a] / size
            for f in range(channels):
                centre[f] += window[a, f]
        for f in range(channels):
            of_mean += centre[f] * centre[f]
        root = math.sqrt(of_all)
        unit = 1 / root if root != 0 else 1.0
        of_windows[i, 0] = root
        of_windows[i, 1] = math.sqrt(of_mean) / size if size else 0.0
        for a in range(size):
            of_vectors[first + a, 0] = math.sqrt(own[a])
            of_vectors[first + a, 1] = mean[a] * unit
            of_vectors[first + a, 2] = math.sqrt(square[a]) * unit


@compiled
def length_gradients(
    start, stop, v, rowptr, of_windows, of_vectors, grad_windows, grad_vectors, cuts, d_v
):
    r"""What gradients of :func:`lengths` make of the vectors' terms, of clouds ``start`` to
    ``stop``: see :func:`windows.gradients`. Those of sources are added to ``d_v.relative_j``.

    With :math:`s` and :math:`t` of the window and :math:`e_1, e_2, e_3` of a vector :math:`a`, the
    derivatives by :math:`G_{aa}` are :math:`1 / 2 e_1` of :math:`e_1` and :math:`1 / 2 s k` of
    :math:`s`, on which :math:`e_2` and :math:`e_3` depend by :math:`-e_2 / s` and
    :math:`-e_3 / s`; by the row's mean :math:`1 / s` of :math:`e_2` and :math:`1 / 2 t k` of
    :math:`t`; by its mean square :math:`1 / 2 e_3 s^2` of :math:`e_3`.
    """
    start, stop = cuts[start], cuts[stop]
    channels, longest = v.relative_i.shape[1], largest(start, stop, rowptr) + STRIP
    window, across = np.zeros((longest, channels)), np.zeros((channels + 1, longest))
    strip, total = np.empty((STRIP, longest)), np.empty((STRIP, channels + 1))
    by_own, by_mean, by_square = np.empty(longest), np.empty(longest), np.empty(longest)
    for i in range(start, stop):
        first, size = rowptr[i], rowptr[i + 1] - rowptr[i]
        d_v.relative_i[i] = 0
        vectors(v, i, rowptr, window)
        transpose(window, 0, size, across)
        by_s = _inverse(of_windows[i, 0])
        of_s = np.float64(grad_windows[i, 0])
        of_t = grad_windows[i, 1] * _inverse(of_windows[i, 1])
        for e in range(first, first + size):
            of_s -= grad_vectors[e, 1] * of_vectors[e, 1] * by_s
            of_s -= grad_vectors[e, 2] * of_vectors[e, 2] * by_s
        for a in range(size):
            e = first + a
            by_own[a] = grad_vectors[e, 0] * _inverse(of_vectors[e, 0]) + of_s * by_s / size
            by_mean[a] = (grad_vectors[e, 1] * by_s + 0.5 * of_t / size) / size
            by_square[a] = grad_vectors[e, 2] * _inverse(of_vectors[e, 2]) * by_s * by_s / size
        for top in range(0, size, STRIP):
            bottom = min(top + STRIP, size)
            inner_products(window, top, STRIP, window, size, channels, strip)
            for a in range(top, bottom):
                for b in range(size):
                    by = by_mean[a] + by_mean[b]
                    strip[a - top, b] = by + strip[a - top, b] * (by_square[a] + by_square[b])
                strip[a - top, a] += by_own[a]
            inner_products(strip, 0, STRIP, across, channels, size, total)
            pull(v, i, first + top, bottom - top, total, d_v)


@compiled
def _inverse(length):
    """1 / length; 0 for 0, whose gradient is 0."""
    return 1 / np.float64(length) if length != 0 else 0.0
