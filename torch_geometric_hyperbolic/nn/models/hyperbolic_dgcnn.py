r"""A classifier of point clouds from dynamic hyperbolic edge convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import MultiAggregation
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.checks import check_count, check_manifold, check_points
from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr import MidpointAggregation
from torch_geometric_hyperbolic.nn.conv import DynamicHyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.inits import moderate_radius_

INITIAL_RADIUS = 1.0


class HyperbolicDGCNN(torch.nn.Module):
    r"""The network of `"Dynamic Graph CNN for Learning on Point Clouds"
    <https://arxiv.org/abs/1801.07829>`_ with hyperbolic edge convolutions.

    Coordinates enter the manifold by :math:`\exp_0`; each
    :class:`~torch_geometric_hyperbolic.nn.DynamicHyperbolicEdgeConv` maps points to points over the
    neighbours in its own input; the tangent vectors :math:`\log_0` of all layers are concatenated,
    embedded, pooled by maximum and mean over the cloud, and classified. With
    ``manifold=Euclidean()`` it is its own Euclidean twin, with the same parameters.

    The default configuration has 81,416 parameters (plus one for a learnable curvature). Points
    start at moderate radius; :meth:`radii` tells where they are.

    Args:
        in_channels (int, optional): Coordinates of an input point. (default: :obj:`3`)
        out_channels (int, optional): Number of classes. (default: :obj:`40`)
        manifold (Manifold): The space of all points.
        hidden_channels (sequence of int, optional): Widths of the edge convolutions.
            (default: :obj:`(32, 32, 64, 96)`)
        emb_channels (int, optional): Width of the embedding that is pooled. (default: :obj:`128`)
        head_channels (int, optional): Width of the classifier. (default: :obj:`112`)
        k (int, optional): Number of neighbours. (default: :obj:`20`)
        dropout (float, optional): In the classifier. (default: :obj:`0.3`)
        aggr (str or Aggregation, optional): Of the edge convolutions. (default: :obj:`"max"`)

    Shapes:
        - **input:** Euclidean coordinates :math:`(|\mathcal{V}|, F_{in})`, best within the unit
          sphere; sorted batch vector :math:`(|\mathcal{V}|)` and number of clouds *(optional)*
        - **output:** logits, one row per cloud

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> model = HyperbolicDGCNN(manifold=PoincareBall(c=1.0), k=4)
        >>> model(torch.randn(16, 3), torch.arange(2).repeat_interleave(8)).shape
        torch.Size([2, 40])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 40,
        *,
        manifold: Manifold,
        hidden_channels: Sequence[int] = (32, 32, 64, 96),
        emb_channels: int = 128,
        head_channels: int = 112,
        k: int = 20,
        dropout: float = 0.3,
        aggr: Any = "max",
    ) -> None:
        super().__init__()
        check_manifold(manifold)
        check_count(k, "k")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.manifold = manifold
        widths = [in_channels, *hidden_channels]
        self.convs = torch.nn.ModuleList(
            DynamicHyperbolicEdgeConv(_block(2 * before, after), k, aggr=aggr, manifold=manifold)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.embed = _block(sum(hidden_channels), emb_channels)
        self.pool = MultiAggregation(["max", "mean"])
        self.midpoint = MidpointAggregation(manifold=manifold)
        self.head = torch.nn.Sequential(
            *_block(2 * emb_channels, head_channels),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(head_channels, out_channels),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module."""
        for conv in self.convs:
            conv.reset_parameters()  # type: ignore[operator]
            moderate_radius_(conv.nn[1], INITIAL_RADIUS)  # type: ignore[index, arg-type]
        for module in (*self.embed, *self.head):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

    def points(self, pos: Tensor, batch: OptTensor = None) -> list[Tensor]:
        """The points on the manifold: of the input, and after each edge convolution."""
        check_points(pos, "pos", dim=2, width=self.in_channels)
        points = [exp0(pos, self.manifold)]
        for conv in self.convs:
            points.append(conv(points[-1], batch))
        return points

    def forward(
        self, pos: Tensor, batch: OptTensor = None, batch_size: int | None = None
    ) -> Tensor:
        """Logits of each cloud; give ``batch_size`` to compile, or to spare a look at ``batch``."""
        features = [log0(x, self.manifold) for x in self.points(pos, batch)[1:]]
        embedded = self.embed(torch.cat(features, dim=-1))
        return self.head(self.pool(embedded, batch, dim_size=batch_size))

    @torch.no_grad()
    def radii(self, pos: Tensor, batch: OptTensor = None) -> dict[str, float]:
        """Mean distance from the origin of the input points and of each layer's points."""
        names = ["input", *(f"conv{i + 1}" for i in range(len(self.convs)))]
        points = self._look(pos, batch)
        return {
            name: self.manifold.dist0(x).mean().item()
            for name, x in zip(names, points, strict=True)
        }

    @torch.no_grad()
    def embedding(self, pos: Tensor, batch: OptTensor = None) -> Tensor:
        """One point of the manifold per cloud: the midpoint of the last layer's points."""
        return self.midpoint(self._look(pos, batch)[-1], batch)

    def _look(self, pos: Tensor, batch: OptTensor) -> list[Tensor]:
        """The points, leaving the running statistics of the norms as they were."""
        before = [buffer.clone() for buffer in self.buffers()]
        points = self.points(pos, batch)
        for buffer, value in zip(self.buffers(), before, strict=True):
            buffer.copy_(value)
        return points


def _block(in_channels: int, out_channels: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(in_channels, out_channels, bias=False),
        torch.nn.BatchNorm1d(out_channels),
        torch.nn.LeakyReLU(0.2),
    )
