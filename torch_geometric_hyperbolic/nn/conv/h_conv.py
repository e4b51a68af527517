r"""Hyperbolic convolution over a graph whose edges carry the offset of a window."""

import math
from typing import Any, Optional, Union

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptTensor, PairTensor
from torch_geometric.utils import is_sparse

from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_integers,
    check_manifold,
    is_readable,
    validation_enabled,
)
from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._adjacency import num_edges, with_int64
from torch_geometric_hyperbolic.nn.conv._pair import checked_pair


class HConv(MessagePassing):
    r"""H-Conv of "Geometric Deep Learning for Inverse Graphics" (S. Kozlukov, 2020): a convolution
    whose weight depends on the offset :math:`o` of a neighbour in its window.

    .. math::
        \text{H-Conv 0.2:} \quad
        \mathbf{x}^{\prime}_i &= \operatorname{move} \Bigl( \mathbf{z}_i, \;
        \sum_{j \in \mathcal{N}(i)} \mathbf{W}_{o_{ij}}
        \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j) + \mathbf{b} \Bigr)

        \text{H-Conv 0.1:} \quad
        \mathbf{x}^{\prime}_i &= \exp_0 \Bigl(
        \sum_{j \in \mathcal{N}(i)} \mathbf{W}_{o_{ij}} \log_0 \mathbf{x}_j + \mathbf{b} \Bigr)

    The pivot of a window is its target node :math:`\mathbf{x}_i`. The base point
    :math:`\mathbf{z}_i` is the pivot itself when in- and out-channels agree, and otherwise
    :math:`\exp_0(\mathbf{A} \log_0 \mathbf{x}_i)` with a learnable linear map :math:`\mathbf{A}`,
    which starts semi-orthogonal so that pivots keep their radius. A missing neighbour contributes
    the zero vector. Over the graph of an image,
    :func:`~torch_geometric_hyperbolic.nn.grid_graph`, it is
    :class:`~torch_geometric_hyperbolic.nn.HConv2d` (where windows are not centred on the pixel of
    their own number, the windows' pivots are to be the targets: see :doc:`/notes/graphs`).
    Neither is invariant to isometries.

    Messages are summed per window and offset, then meet the weights in one matrix product:
    :math:`O(E F + N K F F')` with :math:`K` offsets.

    Args:
        in_channels (int): Dimension of the input space.
        out_channels (int): Dimension of the output space.
        num_offsets (int): Number :math:`K` of offsets in a window.
        manifold (Manifold): The space of the input and output points.
        pivot (bool, optional): H-Conv 0.2 if :obj:`True`, else 0.1. (default: :obj:`True`)
        bias (bool, optional): Learn an additive bias, a tangent vector. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing` other than ``aggr``, which is the sum.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))` if bipartite,
          edge indices :math:`(2, |\mathcal{E}|)`, offsets :math:`(|\mathcal{E}|)` (in the order
          of the entries for a sparse adjacency)
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}_t|, F_{out})`

    Raises:
        TypeError, ValueError: naming the argument, for a wrong last dimension, dtype or manifold.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import grid_graph
        >>> ball = PoincareBall()
        >>> conv = HConv(3, 8, num_offsets=9, manifold=ball)
        >>> edge_index, offset = grid_graph(5, 5, kernel_size=3, padding=1)
        >>> conv(ball.random(25, 3), edge_index, offset).shape
        torch.Size([25, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        *,
        manifold: Manifold,
        pivot: bool = True,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_counts(in_channels=in_channels, out_channels=out_channels, num_offsets=num_offsets)
        super().__init__(aggr="sum", **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_offsets = num_offsets
        self.manifold = manifold
        self.pivot = pivot
        self.weight = torch.nn.Parameter(torch.empty(out_channels, in_channels, num_offsets))
        self.bias = torch.nn.Parameter(torch.empty(out_channels)) if bias else None
        self.lin_pivot = (
            torch.nn.Linear(in_channels, out_channels, bias=False)
            if pivot and in_channels != out_channels
            else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_window(self.weight, self.bias, self.lin_pivot)

    def forward(self, x: Union[Tensor, PairTensor], edge_index: Adj, offset: Tensor) -> Tensor:
        source, target, sizes = checked_pair(self, x, edge_index, self.in_channels, self.weight)
        self._check_offset(offset, edge_index)

        p: Any = (None, None)
        s: Any = (None, None)
        absolute: Any = (None, None)
        if self.pivot:
            p_j, s_j = self.manifold.chart(source)
            p_i, s_i = (p_j, s_j) if source is target else self.manifold.chart(target)
            p, s = (p_j, p_i), (s_j, s_i)
        else:
            log = self.manifold.log0(source)
            absolute = log if source is target else (log, None)
        windows = self.propagate(
            with_int64(edge_index),
            p=p,
            s=s,
            absolute=absolute,
            offset=offset,
            size=sizes,
            num_targets=sizes[1],
        )
        weight = self.weight.transpose(1, 2).flatten(1)  # [out_channels, num_offsets * in_channels]
        v = torch.nn.functional.linear(windows.to(weight.dtype), weight, self.bias)
        if not self.pivot:
            return self.manifold.exp0(v)
        return self.manifold.move(base_point(target, self.lin_pivot, self.manifold), v)

    def _check_offset(self, offset: Tensor, edge_index: Adj) -> None:
        check_integers(offset, "offset", or_bools=True)
        if not isinstance(edge_index, Tensor) and not is_sparse(edge_index):
            return  # PyG raises its own error
        if offset.dim() != 1 or offset.numel() != num_edges(edge_index):
            raise ValueError(f"'offset' must have one entry per edge (got {tuple(offset.shape)})")
        if (is_readable(offset) or validation_enabled()) and offset.numel():
            low, high = int(offset.min()), int(offset.max())
            if low < 0 or high >= self.num_offsets:
                raise ValueError(
                    f"'offset' must lie in [0, {self.num_offsets}) (got {low} to {high})"
                )

    def message(
        self,
        p_i: OptTensor,
        p_j: OptTensor,
        s_i: OptTensor,
        s_j: OptTensor,
        absolute_j: OptTensor,
    ) -> Tensor:
        if absolute_j is not None:
            return absolute_j
        alpha, beta = self.manifold.rel_coefficients(p_i, s_i, p_j, s_j)
        return alpha * (p_j - p_i) - beta * p_i

    def aggregate(
        self,
        inputs: Tensor,
        index: Tensor,
        offset: Tensor,
        dim_size: int,
        num_targets: Optional[int] = None,
    ) -> Tensor:
        """Sum the messages of every window and offset, side by side as the last dimension."""
        if num_targets is not None:  # PyG counts the first of a pair where the flow is reversed
            dim_size = num_targets
        slot = index * self.num_offsets + offset
        slots = self.aggr_module(
            inputs, slot, dim_size=dim_size * self.num_offsets, dim=self.node_dim
        )
        slots = slots.unflatten(self.node_dim, (dim_size, self.num_offsets))
        of_offsets = self.node_dim % inputs.dim() + 1
        return slots.movedim(of_offsets, -2).flatten(-2)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"num_offsets={self.num_offsets}, manifold={self.manifold}, pivot={self.pivot})"
        )


def reset_window(
    weight: Tensor, bias: Optional[Tensor], lin_pivot: Optional[torch.nn.Linear]
) -> None:
    """Initialise as :class:`torch.nn.Conv2d` does; the map of the pivot keeps lengths."""
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = weight[0].numel() ** -0.5
        torch.nn.init.uniform_(bias, -bound, bound)
    if lin_pivot is not None:
        torch.nn.init.orthogonal_(lin_pivot.weight)


def base_point(pivot: Tensor, lin_pivot: Optional[torch.nn.Linear], manifold: Manifold) -> Tensor:
    """Where H-Conv 0.2 starts from: the pivot, or its image under a linear map of log0."""
    if lin_pivot is None:
        return pivot
    return exp0(lin_pivot(log0(pivot, manifold)), manifold)
