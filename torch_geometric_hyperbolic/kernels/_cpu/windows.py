r"""Windows of vectors :math:`v_e = \alpha_e (R_j - R_i) - \beta_e R_i`, one at a time, in float64.

They are made where they are used, in the cache, and so are their gradients.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._cpu import edges, graphs
from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled
from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
from torch_geometric_hyperbolic.kernels._slopes import Given
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors


class Gradients(NamedTuple):
    """Of the terms of :class:`EdgeVectors`."""

    relative_i: Any
    relative_j: Any
    alpha: Any
    beta: Any


@compiled
def largest(start, stop, rowptr):
    """Size of the largest window."""
    size = 0
    for i in range(start, stop):
        size = max(size, rowptr[i + 1] - rowptr[i])
    return size


@compiled
def vectors(v, i, rowptr, window):
    """The vectors of one window as rows."""
    for a in range(rowptr[i + 1] - rowptr[i]):
        e = rowptr[i] + a
        j = v.col[e]
        alpha, beta = edges.scalars(v.alpha, v.beta, e)
        for f in range(v.relative_i.shape[1]):
            window[a, f] = edges.value(0.0, v.relative_i[i, f], v.relative_j[j, f], alpha, beta)


@compiled
def pull(v, i, first, size, total, d_v):
    """Gradients ``total`` of some vectors of one window, handed to what they are made of."""
    for a in range(size):
        e = first + a
        j = v.col[e]
        alpha, beta = edges.scalars(v.alpha, v.beta, e)
        along, against = 0.0, 0.0
        for f in range(v.relative_i.shape[1]):
            d = total[a, f]
            d_v.relative_j[j, f] += alpha * d
            d_v.relative_i[i, f] -= (alpha + beta) * d
            along += d * (v.relative_j[j, f] - v.relative_i[i, f])
            against += d * v.relative_i[i, f]
        d_v.alpha[e] = along
        d_v.beta[e] = -against


@compiled
def transpose(v, first, size, columns):
    """Some rows as columns, in float64."""
    for a in range(size):
        for f in range(v.shape[1]):
            columns[f, a] = v[first + a, f]


@compiled
def inner_products(x, first, count, y, columns, width, out):
    """Inner products of ``count`` rows of x with ``columns`` rows of y, the first ``width`` numbers
    of each. Two by two, so that numbers are read half as often: of both one row more is read.
    """
    for a in range(0, count, 2):
        p = first + a
        for b in range(0, columns, 2):
            aa, ab, ba, bb = 0.0, 0.0, 0.0, 0.0
            for f in range(width):
                aa += x[p, f] * y[b, f]
                ab += x[p, f] * y[b + 1, f]
                ba += x[p + 1, f] * y[b, f]
                bb += x[p + 1, f] * y[b + 1, f]
            out[a, b], out[a, b + 1], out[a + 1, b], out[a + 1, b + 1] = aa, ab, ba, bb


def gradients(
    loop: Any, v: EdgeVectors, rowptr: Tensor, *rest: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the vectors' terms by ``loop(start, stop, v, rowptr, *rest, cuts, d_v)``, where
    ``start`` and ``stop`` count clouds: see :func:`graphs.cloud_cuts`.

    One pass, a thread for whole clouds, where the graph falls into clouds; otherwise gradients of
    the vectors themselves are stored first. Which, depends on the graph alone.
    """
    cuts = graphs.cloud_cuts(rowptr.numpy(), v.col.numpy(), len(v.relative_j), False)
    if len(cuts) > 2:
        return _of_clouds(loop, v, rowptr, rest, torch.from_numpy(cuts))
    none = torch.zeros_like(v.relative_i)
    terms = v.terms(none, rowptr)
    values = torch.empty(len(v.col), none.size(1), dtype=torch.float64)
    parallel(edges.values, len(none), *terms, values, offsets=rowptr)
    own = EdgeVectors.stored(values, rowptr)
    d_values = _of_clouds(loop, own, rowptr, rest, torch.arange(len(rowptr))).relative_j
    moments = none.new_zeros(none.size(1))
    by = (Given(d_values.numpy()), torch.ones_like(none), moments, moments)
    return edges.gradients(*terms, *by)[1:]


def _of_clouds(
    loop: Any, v: EdgeVectors, rowptr: Tensor, rest: tuple[Tensor, ...], cuts: Tensor
) -> Gradients:
    out = Gradients(*(torch.empty(term.shape, dtype=term.dtype) for term in v[:4]))
    out.relative_j.zero_()
    args = (v, rowptr, *rest, cuts, out)
    parallel(loop, len(cuts) - 1, *args, offsets=rowptr[cuts], always=True)
    return out
