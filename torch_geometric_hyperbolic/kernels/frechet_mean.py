r"""Weighted Frechet (Karcher) means of groups of points.

The mean minimises :math:`f(m) = \tfrac12 \sum_j w_j d(m, x_j)^2`, which is strictly convex on
hyperbolic space. In the frame of ``rel`` at :math:`m` its gradient is
:math:`-\sum_j w_j \operatorname{rel}(m, x_j)` and its Hessian

.. math::
    H v = \sum_j w_j \bigl[\zeta_j v + (1 - \zeta_j) \langle u_j, v \rangle u_j \bigr], \qquad
    \zeta_j = s_j \coth s_j, \quad s_j = \sqrt c\, d(m, x_j),

with :math:`u_j` the direction of :math:`\operatorname{rel}(m, x_j)` (Pennec, "Hessian of the
Riemannian squared distance" (2017)). The step with :math:`\sum w_j / \sum w_j \zeta_j` always
descends (Zhang and Sra, `"First-order Methods for Geodesically Convex Optimization"
<https://arxiv.org/abs/1602.06053>`_, lemma 5); Newton's step is taken where it descends further.
Weights here sum to one in each group. Euclidean space is :math:`c = 0`, all :math:`\zeta_j = 1`.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import has_values
from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.kernels._space import constants
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.group_edges import group_elements, sum_of_groups
from torch_geometric_hyperbolic.kernels.solve_hessian import solve_hessian_reference
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import frechet_mean as loops
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

MAX_STEPS = 100


def frechet_mean_reference(
    points: Tensor, weight: Tensor, index: Tensor, start: Tensor, c: Tensor
) -> Tensor:
    """:func:`frechet_mean` in plain PyTorch, all groups at once."""
    mean = start.clone(memory_format=torch.contiguous_format)
    groups = len(start)

    def cost(candidate: Tensor) -> Tensor:
        length = _lengths(poincare.rel(candidate[index], points, c=c))
        return sum_of_groups(weight * length.square(), index, groups)

    value = cost(mean)
    for _ in range(MAX_STEPS):
        relative = poincare.rel(mean[index], points, c=c)
        downhill = sum_of_groups(weight * relative, index, groups)
        unit, zeta = directions(relative, c)
        slope = sum_of_groups(weight * zeta, index, groups)
        safe = downhill / torch.where(slope > 0, slope, 1.0)
        newton = solve_hessian_reference(downhill, weight, unit, zeta, index)
        by_safe, by_newton = poincare.move(mean, safe, c=c), poincare.move(mean, newton, c=c)
        value_safe, value_newton = cost(by_safe), cost(by_newton)
        better = value_newton <= value_safe
        step = torch.where(better, by_newton, by_safe)
        step_value = torch.where(better, value_newton, value_safe)
        descends = step_value < value
        if not bool(descends.any()):
            break
        mean = torch.where(descends, step, mean)
        value = torch.where(descends, step_value, value)
    return mean


def frechet_mean(points: Tensor, weight: Tensor, index: Tensor, start: Tensor, c: Tensor) -> Tensor:
    """Frechet means, to about the root of float64's rounding, as well as the cost tells them; the
    compiled loops take one more Newton step, which makes them exact to rounding.

    Args:
        points (torch.Tensor): points of the ball, ``[E, n]``, float64.
        weight (torch.Tensor): non-negative, summing to one in each group, ``[E, 1]``, float64.
        index (torch.Tensor): group of each point, ``[E]``.
        start (torch.Tensor): points of the ball near the means, ``[G, n]``, float64; returned for
            groups without points.
        c (torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[G, n]``, float64. Cost :math:`O(E n)` per step; steps stop when the
        cost no longer falls, at most :data:`MAX_STEPS`.
    """
    given = (points, weight, index, start, c)
    if fused_engine(points) is None and has_values(points):
        return frechet_mean_reference(*given)
    return _frechet_mean(*given)  # steps that depend on values are not traced


@torch.library.custom_op("tgh::frechet_mean", mutates_args=())
def _frechet_mean(
    points: Tensor, weight: Tensor, index: Tensor, start: Tensor, c: Tensor
) -> Tensor:
    return frechet_mean_reference(points, weight, index, start, c)


@_frechet_mean.register_fake
def _(points, weight, index, start, c):  # type: ignore[no-untyped-def]
    return start.new_empty(start.shape)


def _lengths(v: Tensor) -> Tensor:
    return num.safe_sqrt(dot(v, v))


def directions(relative: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    r"""Unit vectors :math:`u_j` and :math:`\zeta_j` of the Hessian from ``rel(m, x_j)``."""
    length = _lengths(relative)
    s = 2 * c.sqrt() * length
    zeta = torch.where(s > 0, s / torch.where(s > 0, s, 1.0).tanh(), 1.0)
    return relative / torch.where(length > 0, length, 1.0), zeta


if WITH_NUMBA:

    @_frechet_mean.register_kernel("cpu")
    def _frechet_mean_cpu(
        points: Tensor, weight: Tensor, index: Tensor, start: Tensor, c: Tensor
    ) -> Tensor:
        if fused_engine(points) is None:
            return frechet_mean_reference(points, weight, index, start, c)
        out = start.new_empty(start.shape)
        groups = group_elements(index, len(start))
        rest = (start, *constants(points, c), MAX_STEPS, out)
        given = (points, weight, *groups, *rest)
        parallel(loops.means, len(start), *given, offsets=groups[0], always=True)
        return out
