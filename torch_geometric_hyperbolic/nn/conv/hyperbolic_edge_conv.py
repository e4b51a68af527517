r"""Edge convolution on points of a curved space."""

from collections.abc import Callable
from typing import Any, Optional, Union

import torch
from torch import Tensor
from torch_geometric.nn.inits import reset
from torch_geometric.typing import Adj, PairTensor

from torch_geometric_hyperbolic.checks import (
    check_edge_index,
    check_frame,
    check_manifold,
    check_offsets,
    check_points,
    check_precision,
    check_weight,
)
from torch_geometric_hyperbolic.geometry._precision import HALF, working_dtype
from torch_geometric_hyperbolic.kernels import edge_values, exp0, fused_engine
from torch_geometric_hyperbolic.kernels.group_edges import checked_edges, targets_of_edges
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._adjacency import (
    group_adjacency,
    is_grouped,
    with_int64,
)
from torch_geometric_hyperbolic.nn.conv._edge_messages import EdgeMessages
from torch_geometric_hyperbolic.nn.conv._edge_terms import (
    Terms,
    edge_terms,
    relative_vectors,
    window_terms,
)
from torch_geometric_hyperbolic.nn.conv._first_linear import (
    Split,
    split_first_linear,
    takes_any_order,
)
from torch_geometric_hyperbolic.nn.conv._fused_edges import fused_edges
from torch_geometric_hyperbolic.nn.conv._pair import sources_and_targets
from torch_geometric_hyperbolic.nn.conv._window import Description, in_local_frame
from torch_geometric_hyperbolic.nn.resolver import acts_on_points, resolve_aggr


class HyperbolicEdgeConv(EdgeMessages):
    r"""The hyperbolic edge convolution of "Geometric Deep Learning for Inverse Graphics"
    (S. Kozlukov, 2020), the `EdgeConv <https://arxiv.org/abs/1801.07829>`_ of points of a manifold.

    .. math::
        \mathbf{x}^{\prime}_i = \exp_0 \Bigl( \square_{j \in \mathcal{N}(i)} \;
        h_{\mathbf{\Theta}} \bigl( \log_0 \mathbf{x}_i \, \Vert \,
        \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j) \bigr) \Bigr)

    where :math:`\operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j)` is
    :math:`\log_{\mathbf{x}_i} \mathbf{x}_j` carried to the origin. Drop-in for
    :class:`torch_geometric.nn.EdgeConv`, which it is on
    :class:`~torch_geometric_hyperbolic.manifolds.Euclidean`. Not invariant to isometries:
    :math:`\operatorname{rel}` turns by one rotation per node under a translation, and
    :math:`\log_0 \mathbf{x}_i` depends on the origin.

    With ``frame='local'`` it is exactly invariant: the vectors of a node's edges are written in an
    orthonormal frame that turns with them, and their mean takes the place of
    :math:`\log_0 \mathbf{x}_i`,

    .. math::
        \mathbf{x}^{\prime}_i = \exp_0 \Bigl( \square_{j \in \mathcal{N}(i)} \;
        h_{\mathbf{\Theta}} \bigl( \mathbf{Q}_i^{\top} \bar{\mathbf{r}}_i \, \Vert \,
        \mathbf{Q}_i^{\top} \mathbf{r}_{ij} \bigr) \Bigr), \qquad
        \mathbf{r}_{ij} = \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j)

    where :math:`\mathbf{Q}_i` comes from the window by Gram-Schmidt, the longest and most central
    vectors first. If the window spans fewer dimensions than there are, the remaining coordinates
    are 0. Where vectors are equally long and central, the first of them leads, which makes a
    difference only if the window is not symmetric (`"LLoCa" <https://arxiv.org/abs/2505.20280>`_
    has such frames for Minkowski space). With a frame the layer takes no static graphs: ``x`` must
    have two dimensions. Cost :math:`O(E F \min(k, F) + E F F')` and :math:`O(E (F + F'))` memory;
    on a GPU, which waits for no window's size, :math:`F` takes the place of the minimum.

    If ``nn`` is a linear layer :math:`[W_1 \, W_2]`, or begins with one and is a
    :class:`torch.nn.Sequential` or PyG's :class:`~torch_geometric.nn.MLP` (in training, one without
    dropout), that layer is applied to nodes, since
    :math:`\operatorname{rel} = \alpha_{ij} (\mathbf{p}_j - \mathbf{p}_i) - \beta_{ij} \mathbf{p}_i`
    is linear in per-edge scalars: :math:`O(N F F' + E (F + F'))` instead of :math:`O(E F F')`.
    Exact to rounding: the products are taken in float64, as their differences cancel. Where a batch
    norm and a monotone activation follow, nothing of size :math:`E F'` is stored, see
    :doc:`/notes/performance`. Fused in this way, the layer can be differentiated only once.

    Args:
        nn (torch.nn.Module): A neural network :math:`h_{\mathbf{\Theta}}` from tangent vectors
            :obj:`[-1, 2 * in_channels]` to :obj:`[-1, out_channels]`.
        aggr (str or Aggregation, optional): Any aggregation of PyG, on tangent vectors at the
            origin; or one of this package that holds ``manifold``, on points (``'midpoint'``,
            ``'frechet_mean'``). (default: :obj:`"max"`)
        manifold (Manifold): The space of the input and output points.
        frame (str, optional): :obj:`'local'` for the invariant form. (default: :obj:`None`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))` if bipartite,
          edge indices :math:`(2, |\mathcal{E}|)`; or a pair, edges grouped by their targets: the
          offsets of each target's edges :math:`(|\mathcal{V}_t| + 1)` and their sources
          :math:`(|\mathcal{E}|)`, which spares sorting them
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{out})` or
          :math:`(|\mathcal{V}_t|, F_{out})` if bipartite; the origin for a node without edges

        (:math:`F` counts coordinates: ``manifold.ambient_dim(channels)``.)

    Raises:
        TypeError, ValueError: naming the argument, for a wrong last dimension, dtype or manifold.
        IndexError: on the CPU where kernels are fused, if edges name nodes that do not exist.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball = PoincareBall(c=1.0)
        >>> conv = HyperbolicEdgeConv(torch.nn.Linear(2 * 3, 16), manifold=ball)
        >>> x, edge_index = ball.random(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> conv(x, edge_index).shape
        torch.Size([4, 16])
    """

    def __init__(
        self,
        nn: Callable[[Tensor], Tensor],
        aggr: Any = "max",
        *,
        manifold: Manifold,
        frame: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        check_manifold(manifold)
        check_frame(frame)
        super().__init__(aggr=resolve_aggr(aggr, manifold, kwargs.get("aggr_kwargs")), **kwargs)
        self.nn = nn
        self.manifold = manifold
        self.frame = frame
        self.reset_parameters()

    def _description(self) -> Optional[Description]:
        return in_local_frame if self.frame == "local" else None

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset(self.nn)

    def forward(self, x: Union[Tensor, PairTensor], edge_index: Union[Adj, PairTensor]) -> Tensor:
        source, target = sources_and_targets(x)
        # A message of a subclass's own may call ``nn`` on other inputs.
        split = split_first_linear(self.nn) if self._keeps("message") else None
        self._check(source, target, split)
        if isinstance(edge_index, tuple):
            if len(edge_index) != 2:
                raise ValueError(
                    f"'edge_index' must be offsets and sources if a tuple (got {len(edge_index)})"
                )
            rowptr, col = edge_index
            return self._convolve_pair(source, target, rowptr, col, split)
        sizes = (source.shape[self.node_dim], target.shape[self.node_dim])
        check_edge_index(edge_index, sizes, self.flow)
        if split is not None and self._may_fuse(source):
            graph = group_adjacency(edge_index, sizes, self.flow)
            if graph is not None and self._may_group(edge_index, split, graph[1].size(0)):
                return self._convolve_grouped(source, target, *graph, split)
        return self._convolve(source, target, with_int64(edge_index), split)

    def _convolve_pair(
        self, source: Tensor, target: Tensor, rowptr: Tensor, col: Tensor, split: Optional[Split]
    ) -> Tensor:
        """Over edges that the caller has grouped."""
        size = target.shape[self.node_dim]
        check_offsets(rowptr, col, source.shape[self.node_dim], size)
        if split is not None and self._may_fuse(source):
            if torch.compiler.is_compiling():
                rowptr, col = checked_edges(rowptr, col, source.size(0))
            return self._convolve_grouped(source, target, rowptr.long(), col.int(), split)
        pair = (col.long(), targets_of_edges(rowptr, col.size(0)))
        edge_index = torch.stack(pair if self.flow == "source_to_target" else pair[::-1])
        return self._convolve(source, target, edge_index, split, rowptr.long())

    def _check(self, source: Tensor, target: Tensor, split: Optional[Split]) -> None:
        described = self._description() is not None
        dim = 2 if described else None
        check_points(source, "x", dim=dim, min_dim=2, width=self._width(split))
        check_points(target, "x", min_dim=2, like=source)
        if target.dim() != source.dim():
            raise ValueError(
                f"'x' must have {source.dim()} dimensions as the other input "
                f"(got shape {tuple(target.shape)})"
            )
        if described:
            check_precision(source, "x")
        if split is not None:
            check_weight(source, "x", split.linear.weight)

    def _width(self, split: Optional[Split]) -> Optional[int]:
        """Coordinates of an input point, as far as ``nn`` tells."""
        if split is None:
            return None
        inputs = split.linear.weight.size(1)
        if inputs % 2:
            raise ValueError(f"'nn' must take 2 * in_channels inputs (got {inputs})")
        return self.manifold.ambient_dim(inputs // 2)

    def _may_fuse(self, x: Tensor) -> bool:
        """Whether there are kernels for such points, and no hook looks at message passing."""
        usual = x.dim() == 2 and (x.dtype not in HALF or torch.is_autocast_enabled(x.device.type))
        known = usual and self.aggr_module is not None and fused_engine(x) is not None
        return known and self._is_plain()

    def _may_group(self, edge_index: Adj, split: Split, edges: int) -> bool:
        """Whether edges may be in the order of their targets when ``nn`` and the rest see them."""
        return (
            fused_edges(split, self.aggr_module, edges) is not None
            or takes_any_order(*split.rest, self.aggr_module)
            or is_grouped(edge_index, self.flow)
        )

    def _convolve_grouped(
        self, source: Tensor, target: Tensor, rowptr: Tensor, col: Tensor, split: Split
    ) -> Tensor:
        """Without message passing: edges come grouped by their targets."""
        describe = self._description()
        terms: Terms
        if describe is None:
            terms = edge_terms(split.linear, source, target, rowptr, col, self.manifold)
        else:
            vectors = relative_vectors(source, target, rowptr, col, self.manifold)
            described = describe(vectors, rowptr, working_dtype(target))
            terms = window_terms(split.linear, *described, rowptr)
        fused = fused_edges(split, self.aggr_module, col.size(0))
        if fused is not None:
            return exp0(fused.reduced(terms), self.manifold)
        messages = split.follow(edge_values(*terms.as_edge_terms()))
        if messages.size(0) != col.size(0):
            raise ValueError(
                f"'nn' must return a row for each of {col.size(0)} edges (got {messages.size(0)})"
            )
        if acts_on_points(self.aggr_module):
            messages = exp0(messages, self.manifold)
        index = targets_of_edges(rowptr, col.size(0))
        out = self.aggregate(messages, index, dim_size=target.size(0), rowptr=rowptr)
        return out if acts_on_points(self.aggr_module) else exp0(out, self.manifold)

    def __repr__(self) -> str:
        frame = f", frame={self.frame!r}" if self.frame else ""
        return f"{self.__class__.__name__}(nn={self.nn}, manifold={self.manifold}{frame})"
