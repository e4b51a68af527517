r"""The closed-form mean of hyperbolic points."""

from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.checks import check_manifold
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.kernels import to_ball
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr._weights import (
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
    the origin. Cost :math:`O(E F)`, differentiable in points, weights and curvature, once where the
    kernels are fused.

    Args:
        manifold (Manifold): the space of the points.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{E}|, F_{ambient})`; non-negative
          weights :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** one point on ``manifold`` per group

    Raises:
        TypeError, ValueError: naming the argument, for no manifold or other points.

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
        return midpoint(x, groups_of(index, ptr, dim_size, dim), weight, self.manifold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(manifold={self.manifold})"


def midpoint(x: Tensor, groups: Groups, weight: OptTensor, manifold: Manifold) -> Tensor:
    """:class:`MidpointAggregation` as a function."""
    check_dim(x, groups.dim)

    def mean(values: Tensor) -> Tensor:
        return groups.reduce(share * values, "sum") / safe_mass

    p, gap = to_ball(x, manifold)
    p = p.double()  # weights differ by factors of exp(2 radius)
    share = as_column(weight, p, groups.dim) / gap
    check_mass(weight)
    mass = groups.reduce(share, "sum")
    safe_mass = mass.where(mass > 0, 1.0)
    centre = mean(p)
    offset = p - centre.index_select(groups.dim, groups.of_elements(p.size(groups.dim)))
    spread = mean(dot(offset, offset))
    h = mean(gap).where(mass > 0, 1.0)
    root = (h.square() + 4 * manifold.c * spread).sqrt()
    return from_ball(2 * centre / (2 - h + root), x, manifold)


def from_ball(p: Tensor, x: Tensor, manifold: Manifold) -> Tensor:
    """Points of the ball as points of the manifold, in the dtype for those of ``x``."""
    return manifold.from_ball(p).to(manifold.projx(x[:0]).dtype)
