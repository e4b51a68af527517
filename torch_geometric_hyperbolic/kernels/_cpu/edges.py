r"""Passes over edges grouped by target: every edge's value is computed where it is used.

.. math::
    z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i, \qquad e = (j \to i)

in float64 registers. A thread owns whole targets, or whole sources, or whole clouds, so no two
threads write the same row and every sum has one order.
"""

from typing import Any

import numpy as np
import torch
from numba.extending import overload
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import empty_gradients
from torch_geometric_hyperbolic.kernels._cpu import chosen_edges, graphs
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
from torch_geometric_hyperbolic.kernels._slopes import Activated, Given, Selected


def _weight(how: Any, i: int, e: int, channel: int, z: float) -> float:
    """Derivative of target ``i``'s result by the value ``z`` of its edge ``e``."""
    raise NotImplementedError


@overload(_weight, inline="always")
def _(how, i, e, channel, z):
    if how.instance_class is Selected:
        return lambda how, i, e, channel, z: 1.0 if how.edge[i, channel] == e else 0.0
    if how.instance_class is Given:
        return lambda how, i, e, channel, z: how.grad[e, channel]
    return lambda how, i, e, channel, z: 1.0 if z > 0 else how.slope


@compiled
def scalars(alpha, beta, e):
    """Both scalars of one edge."""
    return np.float64(alpha[e]), np.float64(beta[e])


@compiled
def value(absolute, r_i, r_j, a, b):
    """The value z of one edge in one channel. The difference first: of equal points it is 0."""
    return absolute + (a * (r_j - r_i) - b * r_i)


@compiled
def values(start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, out):
    """The value z of every edge."""
    for i in range(start, stop):
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            a, b = scalars(alpha, beta, e)
            for k in range(absolute.shape[1]):
                out[e, k] = value(absolute[i, k], relative_i[i, k], relative_j[j, k], a, b)


@compiled
def activated_sums(
    start, stop, absolute, relative_i, relative_j, alpha, beta, rowptr, col, slope, out
):
    """Sum over every target's edges of z where positive, ``slope * z`` elsewhere."""
    channels = absolute.shape[1]
    total = np.empty(channels)
    for i in range(start, stop):
        total[:] = 0
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            a, b = scalars(alpha, beta, e)
            for k in range(channels):
                z = value(absolute[i, k], relative_i[i, k], relative_j[j, k], a, b)
                total[k] += z if z > 0 else slope * z
        out[i] = total


@compiled
def grad_targets(
    start,
    stop,
    absolute,
    relative_i,
    relative_j,
    alpha,
    beta,
    rowptr,
    col,
    how,
    grad,
    constant,
    linear,
    d_absolute,
    d_relative_i,
    d_alpha,
    d_beta,
    cuts,
    d_relative_j,
):
    """Gradients that belong to targets and edges; ``constant + linear * z`` is that of moments.
    Those of :math:`R` are added to what is there.

    With ``cuts`` (see :func:`graphs.cloud_cuts`) ``start`` and ``stop`` count clouds instead of
    targets, and the gradients that belong to sources are added to ``d_relative_j``.
    """
    channels = absolute.shape[1]
    by_a, by_r = np.empty(channels), np.empty(channels)
    if cuts is not None:
        start, stop = cuts[start], cuts[stop]
    for i in range(start, stop):
        by_a[:] = 0
        by_r[:] = 0
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            a, b = scalars(alpha, beta, e)
            along, against = 0.0, 0.0
            for k in range(channels):
                z = value(absolute[i, k], relative_i[i, k], relative_j[j, k], a, b)
                d = constant[k] + linear[k] * z + grad[i, k] * _weight(how, i, e, k, z)
                by_a[k] += d
                by_r[k] += (a + b) * d
                if d_relative_j is not None:
                    d_relative_j[j, k] += a * d
                along += d * (relative_j[j, k] - relative_i[i, k])
                against += d * relative_i[i, k]
            d_alpha[e] = along
            d_beta[e] = -against
        d_absolute[i] = by_a
        for k in range(channels):
            d_relative_i[i, k] -= by_r[k]


@compiled
def grad_sources(
    start,
    stop,
    absolute,
    relative_i,
    relative_j,
    alpha,
    beta,
    colptr,
    order,
    target,
    how,
    grad,
    constant,
    linear,
    d_relative_j,
):
    """Gradients that belong to sources, edges grouped by them (see :func:`graphs.by_source`), are
    added to ``d_relative_j``.
    """
    channels = absolute.shape[1]
    by_r = np.empty(channels)
    for j in range(start, stop):
        by_r[:] = 0
        for position in range(colptr[j], colptr[j + 1]):
            e = order[position]
            i = target[position]
            a, b = scalars(alpha, beta, e)
            for k in range(channels):
                z = value(absolute[i, k], relative_i[i, k], relative_j[j, k], a, b)
                d = constant[k] + linear[k] * z + grad[i, k] * _weight(how, i, e, k, z)
                by_r[k] += a * d
        for k in range(channels):
            d_relative_j[j, k] += by_r[k]


def gradients(
    absolute: Tensor,
    relative_i: Tensor,
    relative_j: Tensor,
    alpha: Tensor,
    beta: Tensor,
    rowptr: Tensor,
    col: Tensor,
    how: Selected | Given | Activated,
    grad: Tensor,
    constant: Tensor,
    linear: Tensor,
    shared: bool = False,
    moments: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the first five arguments; where both R are one tensor (``shared``), its whole
    gradient as that of the second, and no rows as that of the first.

    One pass, a thread for whole clouds, where the graph falls into clouds; otherwise a pass by
    targets, then a pass by sources, both over the selected edges alone where these have no
    ``moments``. Which, depends on the graph and on the last two arguments alone.
    """
    given = (absolute, relative_i, relative_j, alpha, beta)
    grads = empty_gradients(given, [1] if shared else [])
    d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta = grads
    d_relative_j.zero_()
    of_targets = d_relative_j if shared else d_relative_i.zero_()
    by = (how, grad, constant, linear)
    graph, out = (rowptr, col), (d_absolute, of_targets, d_alpha, d_beta)
    cuts = graphs.cloud_cuts(rowptr.numpy(), col.numpy(), len(relative_j), shared)
    if len(cuts) > 2:
        clouds = (torch.from_numpy(cuts), d_relative_j)
        args = (*given, *graph, *by, *out, *clouds)
        parallel(grad_targets, len(cuts) - 1, *args, offsets=rowptr[clouds[0]])
    elif isinstance(how, Selected) and not moments:
        of_edges = torch.zeros(2, len(col), dtype=torch.float64)  # sums over channels
        chosen = (col, how.edge, grad)
        rest = (relative_i, relative_j, alpha, beta, *chosen, d_absolute, of_targets, *of_edges)
        parallel(chosen_edges.grad_targets, len(absolute), *rest, offsets=rowptr)
        parallel(chosen_edges.grad_sources, len(relative_j), alpha, *chosen, d_relative_j)
        d_alpha.copy_(of_edges[0])
        d_beta.copy_(of_edges[1])
    else:
        first = (*given, *graph, *by, *out, None, None)
        parallel(grad_targets, len(absolute), *first, offsets=rowptr)
        order = graphs.by_source(rowptr.numpy(), col.numpy(), len(relative_j))
        second = (*given, *order, *by, d_relative_j)
        parallel(grad_sources, len(relative_j), *second, offsets=order[0])
    return d_absolute, d_relative_i, d_relative_j, d_alpha, d_beta
