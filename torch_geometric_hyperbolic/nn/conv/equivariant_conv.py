r"""Message passing by which points move with every isometry and scalars stay."""

from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn import Linear, Sequential, SiLU
from torch.nn.functional import softplus
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.inits import reset
from torch_geometric.typing import Adj, OptTensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_edge_index,
    check_manifold,
    check_points,
    check_weight,
)
from torch_geometric_hyperbolic.geometry._numerics import LEAST_WEIGHT
from torch_geometric_hyperbolic.geometry._precision import working_dtype
from torch_geometric_hyperbolic.kernels import pair_distances
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr.midpoint import midpoints
from torch_geometric_hyperbolic.nn.conv._adjacency import with_int64


class EquivariantConv(MessagePassing):
    r"""Message passing by which points move with every isometry of their space and scalars stay.

    Every node carries several points of the space and a vector of ordinary numbers, its *scalars*.
    Distances between points are all that the networks see of the points, and the networks' outputs
    are the points' weights:

    .. math::
        \mathbf{m}_{ij} &= \phi_m \bigl( \mathbf{h}_i \, \Vert \, \mathbf{h}_j \, \Vert \,
        [d(\mathbf{x}^a_i, \mathbf{x}^b_j)]_{ab} \bigr), \qquad
        \mathbf{h}^{\prime}_i = \phi_h \bigl( \mathbf{h}_i \, \Vert \,
        \tfrac{1}{|\mathcal{N}(i)|} \textstyle\sum_j \mathbf{m}_{ij} \bigr)

        \mathbf{x}^{\prime a}_i &= \operatorname{normalise} \Bigl( \sum_b u^{ab}_i \mathbf{x}^b_i +
        \sum_{j \in \mathcal{N}(i)} \sum_b w^{ab}_{ij} \mathbf{x}^b_j \Bigr), \qquad
        w^{ab}_{ij} = \operatorname{softplus}(\mathbf{W} \mathbf{m}_{ij})_{ab} + \epsilon

    with sums of points taken on the hyperboloid and scaled back to it, as in
    :class:`~torch_geometric_hyperbolic.nn.MidpointAggregation`, in any model (in flat space it is
    the weighted mean). :math:`\epsilon` is the rounding of the points' dtype, so that no weight is
    0, and :math:`u_i` is computed from the mean message as :math:`w` from the messages. So
    the :math:`\mathbf{h}^{\prime}` are invariant, and the points equivariant, to every isometry
    applied to all points of all nodes: :math:`O(n, 1)` in hyperbolic space. That scalars suffice
    for every such function is shown in `"Scalars are universal"
    <https://arxiv.org/abs/2106.06610>`_; the relative in flat space is `"E(n) Equivariant Graph
    Neural Networks" <https://arxiv.org/abs/2102.09844>`_.

    Cost :math:`O(E (P (P + P') F + H (H + P (P + P'))))` for :math:`P` points per node and
    :math:`H` hidden channels, memory :math:`O(E (P (F + P + P') + H))` where the kernels are fused,
    and then differentiable once; elsewhere :math:`O(E P (P + P') F)`.

    Args:
        in_channels (int): Size of each node's vector of scalars; 0 for none.
        out_channels (int): Size of its new vector, and of the hidden layers.
        in_points (int, optional): Number of points of each node. (default: :obj:`1`)
        out_points (int, optional): Number of its new points. (default: :obj:`1`)
        manifold (Manifold): The space of the points.
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr`` and ``node_dim``.

    Shapes:
        - **input:** scalars :math:`(|\mathcal{V}|, F_{in})` or :obj:`None`, points on ``manifold``
          :math:`(|\mathcal{V}|, P, F)`, edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** scalars :math:`(|\mathcal{V}|, F_{out})`, points on ``manifold``
          :math:`(|\mathcal{V}|, P', F)`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong shape, dtype or manifold.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import Lorentz
        >>> hyperboloid = Lorentz()
        >>> conv = EquivariantConv(0, 16, in_points=1, out_points=4, manifold=hyperboloid)
        >>> x, edge_index = hyperboloid.random(3, 1, 5), torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> scalars, points = conv(None, x, edge_index)
        >>> scalars.shape, points.shape
        (torch.Size([3, 16]), torch.Size([3, 4, 6]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        in_points: int = 1,
        out_points: int = 1,
        *,
        manifold: Manifold,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(least=0, in_channels=in_channels)
        check_counts(out_channels=out_channels, in_points=in_points, out_points=out_points)
        super().__init__(aggr="mean", node_dim=0, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.in_points = in_points
        self.out_points = out_points
        self.manifold = manifold
        self.message_nn = Sequential(
            Linear(2 * in_channels + in_points**2, out_channels),
            SiLU(),
            Linear(out_channels, out_channels),
            SiLU(),
        )
        self.scalar_nn = Sequential(
            Linear(in_channels + out_channels, out_channels),
            SiLU(),
            Linear(out_channels, out_channels),
        )
        self.lin_neighbour = Linear(out_channels, out_points * in_points)
        self.lin_own = Linear(out_channels, out_points * in_points)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for module in (self.message_nn, self.scalar_nn, self.lin_neighbour, self.lin_own):
            reset(module)

    def forward(self, h: OptTensor, x: Tensor, edge_index: Adj) -> tuple[Tensor, Tensor]:
        check_points(x, "x", dim=3)
        if x.size(1) != self.in_points:
            raise ValueError(f"'x' must hold {self.in_points} points per node (got {x.size(1)})")
        check_weight(x, "x", self.lin_own.weight)
        if h is None:
            h = x.new_empty(x.size(0), 0)
        check_points(h, "h", dim=2, width=self.in_channels)
        check_weight(h, "h", self.lin_own.weight)
        if h.size(0) != x.size(0):
            raise ValueError(
                f"'h' must have one row per node of 'x', {x.size(0)} (got {h.size(0)})"
            )
        check_edge_index(edge_index, (x.size(0), x.size(0)), self.flow)
        message, points = self.propagate(
            with_int64(edge_index), h=h, x=x, own=x, size=(x.size(0), x.size(0))
        )
        return self.scalar_nn(torch.cat([h, message], dim=-1)), points

    def message(self, h_i: Tensor, h_j: Tensor, x_i: Tensor, x_j: Tensor) -> Tensor:
        """Messages, then the weights of the sources' points: ``[E, out_channels + P' * P]``."""
        distance = pair_distances(x_i, x_j, self.manifold).flatten(1)  # [E, P * P]
        message = self.message_nn(torch.cat([h_i, h_j, distance], dim=-1))
        # Together, so that an explainer's mask takes off both.
        return torch.cat([message, self._weights(self.lin_neighbour(message), x_j)], dim=-1)

    def _weights(self, logits: Tensor, x: Tensor) -> Tensor:
        """Positive weights, ``[*, P' * P]``."""
        return softplus(logits) + LEAST_WEIGHT[working_dtype(x)]

    def aggregate(
        self,
        inputs: Tensor,
        x_j: Tensor,
        own: Tensor,
        index: Tensor,
        dim_size: Optional[int] = None,
    ) -> tuple[Tensor, Tensor]:
        messages, of_neighbours = inputs.tensor_split([self.out_channels], dim=-1)
        mean = super().aggregate(messages, index, dim_size=dim_size)
        weight = torch.cat([of_neighbours, self._weights(self.lin_own(mean), own)])
        weight = weight.view(-1, self.out_points, self.in_points).transpose(1, 2)
        node = torch.cat([index, torch.arange(own.size(0), device=index.device)])
        points = midpoints(
            torch.cat([x_j, own]).flatten(0, 1),
            weight.flatten(0, 1),
            node.repeat_interleave(self.in_points),
            own.size(0),
            self.manifold,
        )
        return mean, points

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"in_points={self.in_points}, out_points={self.out_points}, manifold={self.manifold})"
        )
