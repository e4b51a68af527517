r"""The exact Riemannian mean of points."""

import torch
from torch import Tensor
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.geometry import poincare
from torch_geometric_hyperbolic.geometry._numerics import project
from torch_geometric_hyperbolic.kernels import curvature, to_ball
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.frechet_mean import directions, frechet_mean
from torch_geometric_hyperbolic.kernels.group_edges import sum_of_groups
from torch_geometric_hyperbolic.kernels.solve_hessian import solve_hessian
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr._groups import Groups, as_column, groups_of
from torch_geometric_hyperbolic.nn.aggr.midpoint import (
    MidpointAggregation,
    from_ball,
    midpoint,
)


class FrechetMeanAggregation(MidpointAggregation):
    r"""The weighted Frechet (Karcher) mean of each group.

    .. math::
        \bar x = \operatorname*{arg\,min}_m \; \sum_j w_j\, d(m, x_j)^2 ,

    Found from the midpoint by safeguarded Newton steps, in float64. Gradients are those of the
    implicit function :math:`\sum_j w_j \operatorname{rel}(\bar x, x_j) = 0`, as in
    `"Differentiating through the Frechet Mean" <https://arxiv.org/abs/2003.00335>`_: one linear
    solve with the Hessian, nothing stored per step. It can be differentiated once where the kernels
    are fused, and twice otherwise.

    Equivariant to every isometry. In Euclidean space it is the weighted mean. An empty group gives
    the origin. Cost :math:`O(E F)` per step, 3 to 8 steps for points within a few units of length.
    See :class:`MidpointAggregation` for a closed form that is close to it.

    Args:
        manifold (Manifold): the space of the points.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{E}|, F_{ambient})`; non-negative
          weights :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** one point on ``manifold`` per group

    Raises:
        TypeError, ValueError: naming the argument, if ``manifold`` is not a
            :class:`~torch_geometric_hyperbolic.manifolds.Manifold`, or points are not as above.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> aggr = FrechetMeanAggregation(manifold=PoincareBall())
        >>> aggr(torch.tensor([[0.5, 0.0], [-0.5, 0.0]]), torch.tensor([0, 0]))
        tensor([[0., 0.]])
    """

    def forward(
        self,
        x: Tensor,
        index: OptTensor = None,
        ptr: OptTensor = None,
        dim_size: int | None = None,
        dim: int = -2,
        weight: OptTensor = None,
    ) -> Tensor:
        """One mean per group, ``[G, F]``; arguments as for :class:`MidpointAggregation`."""
        self.assert_two_dimensional_input(x, dim)
        return frechet_means(x, groups_of(x, index, ptr, dim_size, dim), weight, self.manifold)


def frechet_means(x: Tensor, groups: Groups, weight: OptTensor, manifold: Manifold) -> Tensor:
    """:class:`FrechetMeanAggregation` of points ``[N, ambient_dim]`` as a function."""
    if manifold.flat:
        return midpoint(x, groups, weight, manifold)  # the weighted mean, both
    c = curvature(manifold, x)
    points = to_ball(x, manifold, c)[0].double()
    group = groups.of_elements(x.size(0))

    with torch.no_grad():
        start = midpoint(x, groups, weight, manifold)
        start = manifold.to_ball(start)[0].double().detach()
    share = as_column(weight, points, groups.dim)
    total = sum_of_groups(share, group, start.size(0))
    share = share / total.where(total > 0, 1.0)[group]
    mean = frechet_mean(points.detach(), share.detach(), group, start, c.detach())

    # Newton steps of length zero have the derivatives of the implicit function: one order each.
    for _ in range(2 if fused_engine(points) is None else 1):
        relative = poincare.rel(mean[group], points, c=c)
        unit, zeta = directions(relative.detach(), c.detach())
        force = sum_of_groups(share * relative, group, mean.size(0))
        step = solve_hessian(force, share.detach(), unit, zeta, group)
        mean = poincare.move(mean, step, c=c)
    return from_ball(*project(mean, c), x, manifold)  # gaps of the same c: gradients by it cancel
