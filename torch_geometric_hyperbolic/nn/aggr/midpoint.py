r"""The closed-form mean of hyperbolic points."""

import torch
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.checks import check_manifold
from torch_geometric_hyperbolic.kernels import curvature, group_moments, to_ball
from torch_geometric_hyperbolic.kernels.group_edges import sum_of_groups
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr._groups import (
    Groups,
    as_column,
    check_dim,
    check_mass,
    groups_of,
)


class MidpointAggregation(Aggregation):
    r"""The weighted gyromidpoint of the Poincare ball, which is also the Einstein midpoint of the
    Klein model and the centroid of the hyperboloid,
    :math:`\sum_j w_j X_j / (\sqrt c\,\|\sum_j w_j X_j\|_L)`, from
    `"Hyperbolic Neural Networks++" <https://arxiv.org/abs/2006.08210>`_ (section 4.1).

    Computed in the ball, from gaps :math:`g_j = 1 - c\|x_j\|^2`, as a sum of positive terms:

    .. math::
        b = \frac{\sum_j (w_j/g_j)\, x_j}{\sum_j w_j/g_j}, \quad
        V = \frac{\sum_j (w_j/g_j)\, \|x_j - b\|^2}{\sum_j w_j/g_j}, \quad
        h = \frac{\sum_j w_j}{\sum_j w_j/g_j}, \quad
        \bar x = \frac{2\, b}{2 - h + \sqrt{h^2 + 4 c V}} .

    Equivariant to every isometry. In Euclidean space it is the weighted mean. An empty group gives
    the origin. Cost :math:`O(E F)`. Differentiable in points, weights and curvature, but only once
    where the kernels are fused.

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
        >>> aggr = MidpointAggregation(manifold=PoincareBall())
        >>> aggr(torch.tensor([[0.5, 0.0], [-0.5, 0.0]]), torch.tensor([0, 0]))
        tensor([[0., 0.]])
    """

    def __init__(self, manifold: Manifold) -> None:
        super().__init__()
        check_manifold(manifold)
        self.manifold = manifold

    def forward(
        self,
        x: Tensor,
        index: OptTensor = None,
        ptr: OptTensor = None,
        dim_size: int | None = None,
        dim: int = -2,
        weight: OptTensor = None,
    ) -> Tensor:
        """One midpoint per group, ``[G, F]``.

        Args:
            x (torch.Tensor): Points on ``manifold``, ``[N, F]``.
            index (torch.Tensor, optional): Group of each row, ``[N]``, in any order.
            ptr (torch.Tensor, optional): Offsets of the groups, ``[G + 1]``, of sorted rows.
            dim_size (int, optional): Number of groups; as many as ``index`` tells if not given.
            dim (int, optional): Dimension of the rows. (default: :obj:`-2`)
            weight (torch.Tensor, optional): Weight of each row, ``[N]``, not negative.
        """
        return midpoint(x, groups_of(x, index, ptr, dim_size, dim), weight, self.manifold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(manifold={self.manifold})"


def midpoint(x: Tensor, groups: Groups, weight: OptTensor, manifold: Manifold) -> Tensor:
    """:class:`MidpointAggregation` as a function."""
    check_dim(x, groups.dim)
    x = x.movedim(groups.dim, 0)
    index, size, others = groups.of_elements(x.size(0)), groups.how_many(), x.shape[1:-1]
    share = as_column(weight, x[..., :1].double(), 0).expand(*x.shape[:-1], 1)
    check_mass(weight)
    many = others.numel()  # each of them has groups of its own
    index = (many * index[:, None] + torch.arange(many, device=x.device)).flatten()
    means = midpoints(x.flatten(0, -2), share.flatten(0, -2), index, many * size, manifold)
    return means.view(size, *others, means.size(-1)).movedim(0, groups.dim)


def midpoints(
    x: Tensor, weight: Tensor, index: Tensor, num_groups: int, manifold: Manifold
) -> Tensor:
    """As many midpoints of each group of points ``[E, F]`` as a point has weights, ``[E, S]``:
    ``[G, S, F]``.
    """
    c = curvature(manifold, x)
    p, gap = to_ball(x, manifold, c)
    weight = weight.double()
    # Weights in the ball differ by factors of exp(2 radius).
    centre, spread, mass = group_moments(p.double(), weight / gap, index, num_groups)
    total = sum_of_groups(weight, index, num_groups)
    h = torch.where(mass > 0, total / mass.where(mass > 0, 1.0), 1.0)
    root = (h.square() + 4 * c * spread).sqrt()[..., None]
    both = 2 - h[..., None] + root
    return from_ball(2 * centre / both, 2 * root / both, x, manifold)


def from_ball(p: Tensor, gap: OptTensor, x: Tensor, manifold: Manifold) -> Tensor:
    """Points of the ball as points of the manifold, in the dtype for those of ``x``."""
    return manifold.from_ball(p, gap).to(manifold.projx(x[:0]).dtype)
