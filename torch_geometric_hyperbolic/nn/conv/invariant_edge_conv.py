r"""Edge convolution whose messages are made of inner products alone."""

from collections.abc import Callable
from typing import Any, Optional

from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._first_linear import Split
from torch_geometric_hyperbolic.nn.conv._window import Description, in_lengths
from torch_geometric_hyperbolic.nn.conv.hyperbolic_edge_conv import HyperbolicEdgeConv


class InvariantEdgeConv(HyperbolicEdgeConv):
    r"""An edge convolution that reads windows through distances and angles only, and so is
    invariant to every isometry of the space applied to all points.

    .. math::
        \mathbf{x}^{\prime}_i = \exp_0 \Bigl( \square_{j \in \mathcal{N}(i)} \;
        h_{\mathbf{\Theta}} \bigl( s_i, \; |\bar{\mathbf{r}}_i|, \; |\mathbf{r}_{ij}|, \;
        \tfrac{1}{s_i} \operatorname*{mean}_k \langle \mathbf{r}_{ij}, \mathbf{r}_{ik} \rangle, \;
        \tfrac{1}{s_i} \operatorname*{rms}_k \, \langle \mathbf{r}_{ij}, \mathbf{r}_{ik} \rangle
        \bigr) \Bigr), \qquad \mathbf{r}_{ij} = \operatorname{rel}(\mathbf{x}_i, \mathbf{x}_j)

    with the window's mean vector :math:`\bar{\mathbf{r}}_i` and its root mean square length
    :math:`s_i`. The vectors of a window all turn by one rotation or reflection under an isometry,
    which leaves their Gram matrix alone; the five numbers are lengths made from it. They tell how
    far a neighbour is, how central, and how much of the window lies along it, but not everything:
    for that see ``frame='local'`` of :class:`HyperbolicEdgeConv`.

    Cost :math:`O(k^2 F_{in} + k F_{out})` per node. Fused where :class:`HyperbolicEdgeConv` is,
    and then differentiable once, with :math:`O(E + N (F_{in} + F_{out}))` memory for the maximum
    over batches of clouds on the CPU; otherwise :math:`O(E (F_{in} + F_{out}))`.

    Args:
        nn (torch.nn.Module): A neural network :math:`h_{\mathbf{\Theta}}` from the invariants
            :obj:`[-1, 5]` (:attr:`num_invariants`) to tangent vectors :obj:`[-1, out_channels]`.
        aggr (str or Aggregation, optional): See :class:`HyperbolicEdgeConv`.
            (default: :obj:`"max"`)
        manifold (Manifold): The space of the input and output points.
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))` if bipartite,
          edge indices :math:`(2, |\mathcal{E}|)`
        - **output:** points on ``manifold`` :math:`(|\mathcal{V}|, F_{out})` or
          :math:`(|\mathcal{V}_t|, F_{out})` if bipartite; the origin for a node without edges

    Raises:
        TypeError, ValueError: naming the argument, for another number of inputs of ``nn``, points
            that are not as above, or a ``manifold`` that is no
            :class:`~torch_geometric_hyperbolic.manifolds.Manifold`.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.testing import random_isometry
        >>> ball = PoincareBall()
        >>> conv = InvariantEdgeConv(torch.nn.Linear(5, 16), manifold=ball).double()
        >>> x, edge_index = ball.random(3, 4).double(), torch.tensor([[0, 1, 2, 0], [1, 2, 0, 2]])
        >>> phi = random_isometry(ball, 4)
        >>> torch.allclose(conv(phi(x), edge_index), conv(x, edge_index))
        True
    """

    num_invariants = 5

    def __init__(
        self,
        nn: Callable[[Tensor], Tensor],
        aggr: Any = "max",
        *,
        manifold: Manifold,
        **kwargs: Any,
    ) -> None:
        super().__init__(nn, aggr, manifold=manifold, frame=None, **kwargs)

    def _description(self) -> Optional[Description]:
        return in_lengths

    def _width(self, split: Optional[Split]) -> Optional[int]:
        if split is not None and split.linear.weight.size(1) != self.num_invariants:
            raise ValueError(
                f"'nn' must take {self.num_invariants} invariants "
                f"(got {split.linear.weight.size(1)} input channels)"
            )
        return None
