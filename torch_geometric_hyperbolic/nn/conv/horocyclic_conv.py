r"""A convolution that sees a neighbourhood through its Fourier coefficients."""

from typing import Any, Union

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, PairTensor

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_manifold,
)
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._adjacency import with_int64
from torch_geometric_hyperbolic.nn.conv._pair import checked_pair
from torch_geometric_hyperbolic.nn.dense import HorocyclicWaves


class HorocyclicConv(MessagePassing):
    r"""A convolution whose basis is not a set of offsets but the waves of the space.

    .. math::
        \mathbf{x}^{\prime}_i = \exp_0 \Bigl( \mathbf{W} \,
        \frac{1}{|\mathcal{N}(i)|} \sum_{j \in \mathcal{N}(i)} f(\mathbf{y}_{ij}) + \mathbf{b}
        \Bigr), \qquad
        \mathbf{y}_{ij} = \exp_0 \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j)

    with the horocyclic waves :math:`f` of :class:`~torch_geometric_hyperbolic.nn.HorocyclicWaves`.
    The :math:`\mathbf{y}_{ij}` are the neighbours of a node, moved so that the node itself lies at
    the origin. Point masses on them make a signal, and the mean of one wave over them is a
    coefficient of its Helgason-Fourier transform (Helgason, "Groups and Geometric Analysis", 1984),
    at a learnt frequency and direction. So a window is described by how much of each wave it holds,
    however many neighbours it has and in whatever order, and :math:`\mathbf{W}` acts on these
    coefficients. In flat space they are values of the characteristic function of the differences
    :math:`\mathbf{x}_j - \mathbf{x}_i`.

    Not invariant to isometries: they turn all :math:`\operatorname{rel}(\mathbf{x}_i, \cdot)` of a
    node by one rotation, which does the same as turning all directions by its inverse, and differs
    from node to node.

    Cost :math:`O(E K n + N K F')` for :math:`K` waves, memory for :math:`E K n` float64 numbers.

    Args:
        in_channels (int): Dimension :math:`n` of the input space.
        out_channels (int): Dimension :math:`F'` of the output space.
        num_waves (int, optional): Number :math:`K` of waves. (default: :obj:`16`)
        manifold (Manifold): The space of the input and output points.
        bias (bool, optional): Learn an additive bias, a tangent vector. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr``, which is the mean.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))` if bipartite,
          edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}_t|, F_{out})`;
          :math:`\exp_0 \mathbf{b}` for a node without edges

    Raises:
        TypeError, ValueError: naming the argument, for a wrong last dimension, dtype or manifold.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall()
        >>> conv = HorocyclicConv(3, 8, manifold=ball)
        >>> x, edge_index = ball.random(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> conv(x, edge_index).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_waves: int = 16,
        *,
        manifold: Manifold,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(out_channels=out_channels)
        super().__init__(aggr="mean", **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_waves = num_waves
        self.manifold = manifold
        self.waves = HorocyclicWaves(in_channels, num_waves, manifold=manifold)
        self.lin = torch.nn.Linear(2 * num_waves, out_channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.waves.reset_parameters()
        self.lin.reset_parameters()

    def forward(self, x: Union[Tensor, PairTensor], edge_index: Adj) -> Tensor:
        weight = self.lin.weight
        source, target, sizes = checked_pair(self, x, edge_index, self.in_channels, weight)
        coefficients = self.propagate(
            with_int64(edge_index), x=(source, target), size=sizes, num_targets=sizes[1]
        )
        return self.manifold.exp0(self.lin(coefficients))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        # In float64, and never as a point: points of the ball forget how far out they are.
        v = self.manifold.rel(x_i.double(), x_j.double())
        return self.waves.of_vectors(v).to(self.waves.direction.dtype)

    def aggregate(self, inputs: Tensor, index: Tensor, num_targets: int) -> Tensor:
        # PyG's dim_size counts the first of a pair where the flow is reversed.
        return self.aggr_module(inputs, index, dim_size=num_targets, dim=self.node_dim)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"num_waves={self.num_waves}, manifold={self.manifold})"
        )
