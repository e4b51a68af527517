r"""Gradients of the largest values alone: where the moments have none, no other edge has any.

.. math::
    z_e = A_i + \alpha_e (R_j - R_i) - \beta_e R_i, \qquad e = (j \to i)

for one edge ``e`` of every target and channel, a channel at a time. Where a target has few edges,
whose sources lie in the cache, going through all of them is faster; where it has many that do not,
this is far faster.
"""

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled


@compiled
def grad_targets(
    start, stop, relative_i, relative_j, alpha, beta, col, edge, grad, d_absolute, d_relative_i,
    d_alpha, d_beta,
):  # fmt: skip
    """Gradients that belong to targets and edges, added to what is there but for ``d_absolute``."""
    for i in range(start, stop):
        for k in range(edge.shape[1]):
            e = edge[i, k]
            d_absolute[i, k] = grad[i, k] if e >= 0 else 0.0
            if e >= 0:
                d, r_i = np.float64(grad[i, k]), relative_i[i, k]
                d_relative_i[i, k] -= (np.float64(alpha[e]) + np.float64(beta[e])) * d
                d_alpha[e] += d * (relative_j[col[e], k] - r_i)
                d_beta[e] -= d * r_i


@compiled
def grad_sources(start, stop, alpha, col, edge, grad, d_relative_j):
    """Gradients that belong to sources ``start`` to ``stop``, added to what is there. A look at
    every chosen edge, whosever it is, costs less than to sort them by their sources.
    """
    for i in range(len(edge)):
        for k in range(edge.shape[1]):
            e = edge[i, k]
            if e >= 0 and start <= col[e] < stop:
                d_relative_j[col[e], k] += np.float64(alpha[e]) * np.float64(grad[i, k])
