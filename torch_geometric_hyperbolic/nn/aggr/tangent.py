r"""Aggregation in the tangent space at the origin."""

from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.checks import check_manifold
from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr._groups import Groups, as_column, check_dim, groups_of

REDUCTIONS = ("max", "min", "mean", "sum")


class TangentAggregation(Aggregation):
    r"""Reduces vectors of the tangent space at the origin coordinate by coordinate.

    .. math::
        \mathbf{v}_i = \operatorname{reduce}_{j} \; w_j \mathbf{v}_j

    (for ``'mean'`` divided by :math:`\sum_j w_j`). Without a ``manifold`` it takes and returns
    tangent vectors, ``[*, channels]``: this is what ``aggr='max'`` means in the layers of this
    package. With a ``manifold`` it takes and returns *points*,
    :math:`\exp_0 \operatorname{reduce}_j w_j \log_0 \mathbf{x}_j`, and so can be used wherever
    :class:`MidpointAggregation` can. An empty group gives the origin.

    Equivariant to rotations about the origin for ``'mean'`` and ``'sum'``, not to translations. On
    points it can be differentiated only once where the kernels are fused. Cost :math:`O(E F)`.

    Args:
        reduce (str, optional): ``'max'``, ``'min'``, ``'mean'`` or ``'sum'``.
            (default: :obj:`'max'`)
        manifold (Manifold, optional): the space of the points. (default: :obj:`None`)

    Shapes:
        - **input:** tangent vectors at the origin :math:`(|\mathcal{E}|, F)`, or points on
          ``manifold`` :math:`(|\mathcal{E}|, F_{ambient})`; weights :math:`(|\mathcal{E}|)`
          *(optional)*
        - **output:** one vector, or point, per group

    Raises:
        TypeError, ValueError: naming the argument, for another ``reduce``, or a ``manifold``
            that is neither None nor a :class:`~torch_geometric_hyperbolic.manifolds.Manifold`.

    Example:
        >>> import torch
        >>> aggr = TangentAggregation("max")
        >>> aggr(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
        tensor([[1., 2.]])
    """

    def __init__(self, reduce: str = "max", manifold: Manifold | None = None) -> None:
        super().__init__()
        check_reduction(reduce)
        if manifold is not None:
            check_manifold(manifold)
        self.reduction = reduce
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
        """One row per group, ``[G, F]``.

        Args:
            x (torch.Tensor): Points on ``manifold``, or vectors, ``[N, F]``.
            index (torch.Tensor, optional): Group of each row, ``[N]``, in any order.
            ptr (torch.Tensor, optional): Offsets of the groups, ``[G + 1]``, of sorted rows.
            dim_size (int, optional): Number of groups; as many as ``index`` tells if not given.
            dim (int, optional): Dimension of the rows. (default: :obj:`-2`)
            weight (torch.Tensor, optional): Weight of each row, ``[N]``.
        """
        groups = groups_of(x, index, ptr, dim_size, dim)
        return reduce_vectors(x, groups, weight, self.reduction, self.manifold)

    def __repr__(self) -> str:
        space = "" if self.manifold is None else f", manifold={self.manifold}"
        return f"{type(self).__name__}({self.reduction!r}{space})"


def check_reduction(reduce: object) -> None:
    """Raise a :class:`ValueError` unless PyG reduces so."""
    if reduce not in REDUCTIONS:
        raise ValueError(f"'reduce' must be one of {REDUCTIONS} (got {reduce!r})")


def reduce_vectors(
    x: Tensor, groups: Groups, weight: OptTensor, reduction: str, manifold: Manifold | None
) -> Tensor:
    """:class:`TangentAggregation` as a function."""
    if manifold is not None:
        check_dim(x, groups.dim)
    v = x if manifold is None else log0(x, manifold)
    if weight is None:
        out = groups.reduce(v, reduction)
    else:
        weight = as_column(weight, v, groups.dim)
        out = groups.reduce(weight * v, "sum" if reduction == "mean" else reduction)
        if reduction == "mean":
            total = groups.reduce(weight, "sum")
            out = out / total.where(total != 0, 1.0)
    return out if manifold is None else exp0(out, manifold)
