r"""A network that moves with every isometry of its space."""

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor

from torch_geometric_hyperbolic.checks import check_counts, check_points
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv import EquivariantConv


class EquivariantGNN(torch.nn.Module):
    r"""Layers of :class:`~torch_geometric_hyperbolic.nn.EquivariantConv` on points known only up to
    an isometry of their space: :math:`O(n, 1)`-equivariant end to end.

    The scalars it returns are the same wherever the points lie; the points it returns move with the
    input points. Pool the scalars to classify graphs; read the points where positions are wanted.
    With ``manifold=Euclidean()`` it is equivariant to :math:`E(n)`. Cost and derivatives are those
    of its layers.

    Args:
        in_channels (int): Size of the scalars given with each node; 0 for none.
        out_channels (int): Size of the scalars returned.
        manifold (Manifold): The space of the points.
        hidden_channels (int, optional): Size of the scalars between layers. (default: :obj:`32`)
        num_layers (int, optional): Number of layers. (default: :obj:`3`)
        num_points (int, optional): Points that each node carries between layers and at the end.
            (default: :obj:`4`)

    Shapes:
        - **input:** scalars :math:`(|\mathcal{V}|, F_{in})` or :obj:`None`, points on ``manifold``
          :math:`(|\mathcal{V}|, F)`, edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** scalars :math:`(|\mathcal{V}|, F_{out})`, points on ``manifold``
          :math:`(|\mathcal{V}|, P, F)`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong shape, dtype or manifold.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import knn_graph
        >>> ball = PoincareBall()
        >>> model, x = EquivariantGNN(0, 8, manifold=ball), ball.random(10, 3)
        >>> scalars, points = model(None, x, knn_graph(x, k=4, manifold=ball))
        >>> scalars.shape, points.shape
        (torch.Size([10, 8]), torch.Size([10, 4, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        manifold: Manifold,
        hidden_channels: int = 32,
        num_layers: int = 3,
        num_points: int = 4,
    ) -> None:
        super().__init__()
        check_counts(hidden_channels=hidden_channels, num_layers=num_layers, num_points=num_points)
        self.manifold = manifold
        channels = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        points = [1, *[num_points] * num_layers]
        self.convs = torch.nn.ModuleList(
            EquivariantConv(*channels[i : i + 2], *points[i : i + 2], manifold=manifold)
            for i in range(num_layers)
        )

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        for conv in self.convs:
            conv.reset_parameters()  # type: ignore[operator]

    def forward(self, h: OptTensor, x: Tensor, edge_index: Adj) -> tuple[Tensor, Tensor]:
        """Scalars of each node, and its points."""
        check_points(x, "x", dim=2)
        points = x[:, None]
        for i, conv in enumerate(self.convs):
            h, points = conv(h if h is None or i == 0 else h.relu(), points, edge_index)
        return h, points
