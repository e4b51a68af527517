r"""Edge convolution over a graph of nearest neighbours, rebuilt at every call."""

from collections.abc import Callable
from typing import Any, Optional, Union

from torch import Tensor
from torch_geometric.typing import OptTensor, PairOptTensor, PairTensor

from torch_geometric_hyperbolic.checks import check_counts
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._pair import sources_and_targets
from torch_geometric_hyperbolic.nn.conv.hyperbolic_edge_conv import HyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.pool.knn import as_offsets, check_engine, neighbour_table


class DynamicHyperbolicEdgeConv(HyperbolicEdgeConv):
    r"""The :class:`HyperbolicEdgeConv` over the graph of the ``k`` nearest neighbours by the
    manifold's distance, rebuilt at every call from the points themselves.

    Drop-in for :class:`torch_geometric.nn.DynamicEdgeConv`; as there, a point is among its
    own neighbours. Cost of the graph: see :func:`torch_geometric_hyperbolic.nn.knn`.

    Args:
        nn (torch.nn.Module): A neural network :math:`h_{\mathbf{\Theta}}` from tangent vectors
            :obj:`[-1, 2 * in_channels]` to :obj:`[-1, out_channels]`.
        k (int): Number of nearest neighbours.
        aggr (str or Aggregation, optional): See :class:`HyperbolicEdgeConv`.
            (default: :obj:`"max"`)
        num_workers (int, optional): Part of PyG's signature, but not used: the search runs on as
            many threads as PyTorch does. (default: :obj:`1`)
        manifold (Manifold): The space of the input and output points.
        engine (str, optional): The search, see :func:`torch_geometric_hyperbolic.nn.knn`.
            (default: :obj:`"auto"`)
        frame (str, optional): :obj:`'local'` for the invariant form, see
            :class:`HyperbolicEdgeConv`; distances are invariant, so the graph is too.
            (default: :obj:`None`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or a pair of such if
          bipartite; sorted batch vector :math:`(|\mathcal{V}|)` or a pair *(optional)*, or in its
          place the number ``batch_size`` of clouds, which are then all of one size *(optional)*
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{out})` or
          :math:`(|\mathcal{V}_t|, F_{out})` if bipartite

    Raises:
        TypeError: as for :class:`HyperbolicEdgeConv` and :func:`torch_geometric_hyperbolic.nn.knn`.
        ValueError: if there is no such ``engine``, or ``k`` is less than one or more than the
            number of points of a cloud.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import Lorentz
        >>> hyperboloid = Lorentz()
        >>> conv = DynamicHyperbolicEdgeConv(torch.nn.Linear(6, 16), k=4, manifold=hyperboloid)
        >>> conv(hyperboloid.random(10, 3)).shape
        torch.Size([10, 17])
    """

    def __init__(
        self,
        nn: Callable[[Tensor], Tensor],
        k: int,
        aggr: Any = "max",
        num_workers: int = 1,
        *,
        manifold: Manifold,
        engine: str = "auto",
        frame: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        check_counts(k=k)
        check_engine(engine)
        super().__init__(
            nn, aggr, manifold=manifold, frame=frame, flow="source_to_target", **kwargs
        )
        self.k = int(k)
        self.engine = engine

    def forward(
        self,
        x: Union[Tensor, PairTensor],
        batch: Union[OptTensor, Optional[PairTensor]] = None,
        batch_size: Optional[int] = None,
    ) -> Tensor:
        source, target = sources_and_targets(x)
        pair: PairOptTensor = batch if isinstance(batch, (tuple, list)) else (batch, batch)
        given = (source, target, self.k, pair[0], pair[1], self.manifold)
        table = neighbour_table(*given, engine=self.engine, batch_size=batch_size)
        return super().forward((source, target), as_offsets(table))

    def __repr__(self) -> str:
        frame = f", frame={self.frame!r}" if self.frame else ""
        return (
            f"{self.__class__.__name__}(nn={self.nn}, k={self.k}, manifold={self.manifold}{frame})"
        )
