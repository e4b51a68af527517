r"""Probabilities of links between points of a manifold."""

import math

import torch
from torch import Tensor
from torch_geometric.typing import PairTensor

from torch_geometric_hyperbolic.checks import (
    check_integers,
    check_manifold,
    check_points,
    check_positive,
    check_range,
    has_values,
    is_readable,
)
from torch_geometric_hyperbolic.geometry._numerics import bounded_exp
from torch_geometric_hyperbolic.kernels import pair_distances
from torch_geometric_hyperbolic.manifolds import Manifold


class FermiDiracDecoder(torch.nn.Module):
    r"""The decoder of links in `"Hyperbolic Graph Convolutional Neural Networks"
    <https://arxiv.org/abs/1910.12933>`_, the edge probability of `"Hyperbolic Geometry of Complex
    Networks" <https://arxiv.org/abs/1006.5169>`_ with a squared distance: near points are linked.

    .. math::
        p(\mathbf{x}_i, \mathbf{x}_j) = \Bigl( \exp \bigl(
        (d(\mathbf{x}_i, \mathbf{x}_j)^2 - r) / t \bigr) + 1 \Bigr)^{-1}

    It goes wherever the :class:`~torch_geometric.nn.models.InnerProductDecoder` of
    :class:`torch_geometric.nn.GAE` goes: an inner product of coordinates means nothing in a curved
    space, a distance does. Both :math:`r` and :math:`t` are learnt, :math:`t` by its
    logarithm. Invariant to isometries. Cost :math:`O(F)` per pair of nodes.

    Points more than about 10 apart have probability 0 in float32. Losses and rankings of such pairs
    want the logits (``sigmoid=False``); PyG's ``GAE.recon_loss`` and ``test`` use probabilities.

    Args:
        manifold (Manifold): The space of the points.
        r (float, optional): Squared distance at which a link is as likely as no link.
            (default: :obj:`2.0`)
        t (float, optional): By how much a squared distance must grow to make the odds of a link
            :math:`e` times smaller. (default: :obj:`1.0`)

    Raises:
        TypeError, ValueError: naming the argument, for a wrong manifold, number, shape or dtype.
        IndexError: if pairs name nodes that do not exist; on a GPU, not if indices are negative.

    Example:
        >>> import torch
        >>> from torch_geometric.nn import GAE
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> from torch_geometric_hyperbolic.nn import HyperbolicEdgeConv
        >>> ball = PoincareBall()
        >>> encoder = HyperbolicEdgeConv(torch.nn.Linear(2 * 3, 2), "mean", manifold=ball)
        >>> model = GAE(encoder, FermiDiracDecoder(ball))
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> z = model.encode(ball.random(4, 3), edge_index)
        >>> model.decode(z, edge_index).shape
        torch.Size([3])
        >>> bool(model.recon_loss(z, edge_index) > 0)
        True
    """

    def __init__(self, manifold: Manifold, r: float = 2.0, t: float = 1.0) -> None:
        super().__init__()
        check_manifold(manifold)
        check_positive(r, "r")
        check_positive(t, "t")
        self.manifold = manifold
        self._start = (float(r), float(t))
        self.r = torch.nn.Parameter(torch.empty(()))
        self.log_t = torch.nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        r, t = self._start
        torch.nn.init.constant_(self.r, r)
        torch.nn.init.constant_(self.log_t, math.log(t))

    def forward(self, z: Tensor, edge_index: Tensor | PairTensor, sigmoid: bool = True) -> Tensor:
        r"""Probabilities of some links.

        Args:
            z (torch.Tensor): Points on ``manifold``, ``[N, ambient_dim]``.
            edge_index (torch.Tensor): Pairs of nodes, ``[2, E]``, or two vectors of them.
            sigmoid (bool, optional): Whether to return probabilities, or else their logits
                :math:`(r - d^2) / t`. (default: :obj:`True`)

        Returns:
            ``[E]``.
        """
        check_points(z, "z", dim=2)
        source, target = _checked(edge_index, z.size(0))
        return self._decode(self.manifold.dist(z[source], z[target]), sigmoid)

    def forward_all(self, z: Tensor, sigmoid: bool = True) -> Tensor:
        """Probabilities of all links, ``[N, N]``, or their logits. :math:`O(N^2 F)` time, and
        :math:`O(N^2)` memory where distances are fused, which are then differentiable once.

        Args:
            z (torch.Tensor): Points on ``manifold``, ``[N, ambient_dim]``.
            sigmoid (bool, optional): Whether to return probabilities. (default: :obj:`True`)
        """
        check_points(z, "z", dim=2)
        return self._decode(pair_distances(z[None], z[None], self.manifold)[0], sigmoid)

    def _decode(self, distance: Tensor, sigmoid: bool) -> Tensor:
        logits = (self.r - distance.square()) * bounded_exp(-self.log_t)
        return logits.sigmoid() if sigmoid else logits

    def __repr__(self) -> str:
        name, r, t = type(self).__name__, self.r.detach(), bounded_exp(self.log_t.detach())
        shown = f", r={r.item():.6g}, t={t.item():.6g}" if has_values(r) else ""
        return f"{name}(manifold={self.manifold}{shown})"


def _checked(edge_index: Tensor | PairTensor, num_nodes: int) -> PairTensor:
    """Both nodes of each pair in int64, as small integers would be masks."""
    if not isinstance(edge_index, (Tensor, tuple, list)) or len(edge_index) != 2:
        got = tuple(edge_index.shape) if isinstance(edge_index, Tensor) else edge_index
        raise ValueError(f"'edge_index' must have shape [2, E], or be two vectors (got {got})")
    for nodes in edge_index:
        check_integers(nodes, "edge_index")
        if is_readable(nodes):
            check_range(nodes, "edge_index", num_nodes, "nodes")
    return edge_index[0].long(), edge_index[1].long()
