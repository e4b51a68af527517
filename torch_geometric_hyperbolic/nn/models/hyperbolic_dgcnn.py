r"""A classifier of point clouds from hyperbolic edge convolutions."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from safetensors.torch import load_model
from torch import Tensor
from torch_geometric.nn.aggr import MaxAggregation, MultiAggregation
from torch_geometric.typing import OptTensor

from torch_geometric_hyperbolic.checks import (
    check_batch,
    check_counts,
    check_frame,
    check_manifold,
    check_points,
    check_weight,
)
from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.kernels._autograd import overwrite
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.aggr import MidpointAggregation
from torch_geometric_hyperbolic.nn.aggr._groups import as_int64, check_size
from torch_geometric_hyperbolic.nn.conv import DynamicHyperbolicEdgeConv, HyperbolicEdgeConv
from torch_geometric_hyperbolic.nn.inits import moderate_radius_
from torch_geometric_hyperbolic.nn.models._levels import by_level, checked_ratios, fewest_points
from torch_geometric_hyperbolic.nn.models._pretrained import find_pretrained
from torch_geometric_hyperbolic.nn.pool import fps
from torch_geometric_hyperbolic.nn.pool.knn import as_offsets, neighbour_table

Self = TypeVar("Self", bound="HyperbolicDGCNN")

INITIAL_RADIUS = 1.0


class HyperbolicDGCNN(torch.nn.Module):
    r"""The network of `"Dynamic Graph CNN for Learning on Point Clouds"
    <https://arxiv.org/abs/1801.07829>`_ with hyperbolic edge convolutions.

    Coordinates enter the manifold by :math:`\exp_0`; each
    :class:`~torch_geometric_hyperbolic.nn.DynamicHyperbolicEdgeConv` maps points to points over the
    neighbours in its own input; the tangent vectors :math:`\log_0` of all layers are concatenated,
    embedded, pooled by maximum and mean over the cloud, and classified. With
    ``manifold=Euclidean()`` it is its own Euclidean twin, with the same parameters.

    ``ratios`` below 1 make it a hierarchy: each layer keeps that share of its input's points,
    chosen by farthest point sampling (:func:`~torch_geometric_hyperbolic.nn.fps`), and what
    the earlier, larger levels found is pooled by maximum and given to the classifier directly.
    Without ``dynamic`` a point's neighbours are those of its position, which is then put beside its
    features, as in `"PointNet++" <https://arxiv.org/abs/1706.02413>`_.

    With ``frame='local'`` the first edge convolution reads its windows in their own frames
    (:class:`~torch_geometric_hyperbolic.nn.HyperbolicEdgeConv`). Its output is the same under every
    isometry of the input points, and so are the later layers' and the logits. With ``ratios`` below
    1 that holds for rotations and reflections only, as sampling starts from the point farthest from
    the origin.

    The default configuration has 81,416 parameters (plus one for a learnable curvature). Points
    start at moderate radius; :meth:`radii` tells where they are.

    Cost: that of its convolutions, over :math:`k` edges per point, and of their graphs.

    Args:
        in_channels (int, optional): Coordinates of an input point. (default: :obj:`3`)
        out_channels (int, optional): Number of classes. (default: :obj:`40`)
        manifold (Manifold): The space of all points.
        hidden_channels (sequence of int, optional): Widths of the edge convolutions.
            (default: :obj:`(32, 32, 64, 96)`)
        ratios (sequence of float, optional): The share of the points that each edge convolution
            keeps. (default: all of them)
        dynamic (bool, optional): Whether neighbours are sought among features, layer by layer, or
            among positions. (default: :obj:`True`)
        emb_channels (int, optional): Width of the embedding that is pooled. (default: :obj:`128`)
        head_channels (int, optional): Width of the classifier's hidden layer; 0 for none.
            (default: :obj:`112`)
        k (int, optional): Number of neighbours; no weight depends on it. (default: :obj:`20`)
        dropout (float, optional): In the classifier. (default: :obj:`0.3`)
        frame (str, optional): :obj:`'local'` for a network that is invariant to isometries; needs
            ``dynamic``, as positions are not invariant. (default: :obj:`None`)
        aggr (str or Aggregation, optional): Of the edge convolutions. (default: :obj:`"max"`)

    Shapes:
        - **input:** Euclidean coordinates :math:`(|\mathcal{V}|, F_{in})`, best within the unit
          sphere; sorted batch vector :math:`(|\mathcal{V}|)` *(optional)*; number of clouds
          *(optional)*: without a batch vector the clouds are all of one size
        - **output:** logits, one row per cloud

    Raises:
        TypeError, ValueError: naming the argument, for sizes, ``ratios`` or a ``frame`` that do not
            fit, or a ``manifold`` that is no
            :class:`~torch_geometric_hyperbolic.manifolds.Manifold`; in use, if a cloud has fewer
            than ``k`` points at any level.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> model = HyperbolicDGCNN(manifold=PoincareBall(c=1.0), k=4)
        >>> model(torch.randn(16, 3), torch.arange(2).repeat_interleave(8)).shape
        torch.Size([2, 40])
    """

    #: What the logits stand for; pretrained networks only.
    class_names: list[str]

    #: Points of a cloud in training; pretrained networks only.
    num_points: int

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 40,
        *,
        manifold: Manifold,
        hidden_channels: Sequence[int] = (32, 32, 64, 96),
        ratios: Sequence[float] | None = None,
        dynamic: bool = True,
        emb_channels: int = 128,
        head_channels: int = 112,
        k: int = 20,
        dropout: float = 0.3,
        frame: str | None = None,
        aggr: Any = "max",
    ) -> None:
        super().__init__()
        check_manifold(manifold)
        check_counts(
            in_channels=in_channels, out_channels=out_channels, emb_channels=emb_channels, k=k
        )
        check_counts(least=0, head_channels=head_channels)
        if not isinstance(hidden_channels, Sequence) or not hidden_channels:
            raise ValueError(
                f"'hidden_channels' must be one or more ints (got {hidden_channels!r})"
            )
        for channels in hidden_channels:
            check_counts(hidden_channels=channels)
        check_frame(frame)
        if frame is not None and not dynamic:
            raise ValueError(f"'dynamic' must be True with frame={frame!r} (got {dynamic})")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.manifold = manifold
        self.ratios = checked_ratios(ratios, len(hidden_channels))
        self.dynamic = dynamic
        self.k = int(k)
        self.convs = torch.nn.ModuleList()
        width = in_channels
        for i, channels in enumerate(hidden_channels):
            if i > 0 and not dynamic:
                width += in_channels  # the position, beside the features
            nn, space = _block(2 * width, channels), {"aggr": aggr, "manifold": manifold}
            self.convs.append(
                DynamicHyperbolicEdgeConv(nn, k, frame=frame if i == 0 else None, **space)
                if dynamic
                else HyperbolicEdgeConv(nn, **space)
            )
            width = channels
        *earlier, last = map(sum, by_level(self.ratios, hidden_channels))
        self.embed = _block(last, emb_channels)
        self.pool = MultiAggregation(["max", "mean"])
        self.pool_level = MaxAggregation()
        self.midpoint = MidpointAggregation(manifold=manifold)
        self.head = _classifier(
            2 * emb_channels + sum(earlier), head_channels, out_channels, dropout
        )
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls: type[Self], name: str, k: int | None = None) -> Self:
        """A trained network that comes with the package, in evaluation mode.

        Its ``class_names`` are those of the logits, its ``num_points`` is the number of points of a
        cloud in training.

        Args:
            name (str): ``'modelnet40-85k'``, trained on ModelNet40: clouds of 1024 points, centred
                on their mean, the farthest point at radius 1, z up; or ``'modelnet40-85k-sparse'``,
                trained on clouds of 256 to 1024 of these points.
            k (int, optional): Number of neighbours, fewer for clouds of fewer points than
                :attr:`min_points`. (default: as in training)

        Raises:
            ValueError: if there is no such network.

        Example:
            >>> import torch
            >>> model = HyperbolicDGCNN.from_pretrained("modelnet40-85k")
            >>> pos = torch.nn.functional.normalize(torch.randn(1024, 3), dim=-1)
            >>> model(pos).shape, model.class_names[:2]
            (torch.Size([1, 40]), ['airplane', 'bathtub'])
        """
        about, weights = find_pretrained(name)
        given = about["model"] if k is None else about["model"] | {"k": k}
        model = cls(**given)
        load_model(model, weights)
        model.class_names, model.num_points = about["class_names"], about["num_points"]
        return model.eval()

    @property
    def min_points(self) -> int:
        """The fewest points a cloud may have, as every edge convolution needs ``k`` sources."""
        return fewest_points(self.ratios, self.k)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters of the module, except the curvature of its manifold."""
        for conv in self.convs:
            conv.reset_parameters()  # type: ignore[operator]
            moderate_radius_(conv.nn[1], INITIAL_RADIUS)  # type: ignore[index, arg-type]
        for module in (*self.embed, *self.head):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

    def points(
        self, pos: Tensor, batch: OptTensor = None, batch_size: int | None = None
    ) -> list[Tensor]:
        """The points on the manifold: of the input, ``[N, ambient_dim]``, and of each layer, of
        which one with a ratio below 1 has fewer.

        Arguments are those of :meth:`forward`. In training mode this updates the running statistics
        of the norms, as :meth:`forward` does; :meth:`radii` and :meth:`embedding` do not.
        """
        return [x for x, _ in self._points(pos, batch, batch_size)]

    def _points(
        self, pos: Tensor, batch: OptTensor, batch_size: int | None
    ) -> list[tuple[Tensor, OptTensor]]:
        """The points on the manifold, and their clouds."""
        layers = [(pos, batch), *self._layers(pos, batch, batch_size)]
        return [(exp0(v, self.manifold), own) for v, own in layers]

    def _layers(
        self, pos: Tensor, batch: OptTensor, batch_size: int | None
    ) -> list[tuple[Tensor, OptTensor]]:
        """What each level finds, in the tangent space at the origin, and its clouds."""
        check_points(pos, "pos", dim=2, width=self.in_channels)
        check_weight(pos, "pos", self.embed[0].weight)
        check_batch(batch, "batch", pos)
        check_size(batch_size, batch, "batch_size")
        clouds = batch_size if batch is None else None
        space: dict[str, Any] = {"manifold": self.manifold, "batch_size": clouds}
        x = place = exp0(pos, self.manifold)
        layers: list[tuple[Tensor, OptTensor]] = []
        for conv, ratio in zip(self.convs, self.ratios, strict=True):
            if layers and not self.dynamic:
                x = exp0(torch.cat([layers[-1][0], pos], dim=-1), self.manifold)
            sources, from_place, from_batch = x, place, batch
            if ratio < 1:
                kept = fps(place, batch, ratio, **space)
                x, pos, place = x[kept], pos[kept], place[kept]
                batch = None if batch is None else batch[kept]
            if self.dynamic:
                x = conv((sources, x), (from_batch, batch), clouds)
            else:
                table = neighbour_table(from_place, place, self.k, from_batch, batch, **space)
                x = conv((sources, x), as_offsets(table))
            layers.append((log0(x, self.manifold), batch))
        return layers

    def forward(
        self, pos: Tensor, batch: OptTensor = None, batch_size: int | None = None
    ) -> Tensor:
        """Logits of each cloud, ``[B, out_channels]``.

        Args:
            pos (torch.Tensor): Coordinates of the points, ordinary vectors, ``[N, in_channels]``.
            batch (torch.Tensor, optional): Cloud of each point, ``[N]``, sorted. One cloud if
                neither this nor ``batch_size`` is given.
            batch_size (int, optional): The number of clouds; give it to compile, or to spare a look
                at ``batch``. Without ``batch`` the clouds are all of one size; then nothing waits
                for a GPU.
        """
        if batch is None and batch_size is None:
            batch_size = 1
        levels = by_level(self.ratios, self._layers(pos, batch, batch_size))
        *earlier, (last, own) = [
            (torch.cat([v for v, _ in level], dim=-1), _clouds(*level[0], batch_size))
            for level in levels
        ]
        pooled = [self.pool(self.embed(last), own, dim_size=batch_size)]
        pooled += [self.pool_level(found, own, dim_size=batch_size) for found, own in earlier]
        return self.head(torch.cat(pooled, dim=-1))

    @torch.no_grad()
    def radii(
        self, pos: Tensor, batch: OptTensor = None, batch_size: int | None = None
    ) -> dict[str, float]:
        """Mean distance from the origin of the input points and of each layer's points, by name.
        Arguments are those of :meth:`forward`.
        """
        names = ["input", *(f"conv{i + 1}" for i in range(len(self.convs)))]
        points = self._look(pos, batch, batch_size)
        return {
            name: self.manifold.dist0(x).mean().item()
            for name, (x, _) in zip(names, points, strict=True)
        }

    @torch.no_grad()
    def embedding(
        self, pos: Tensor, batch: OptTensor = None, batch_size: int | None = None
    ) -> Tensor:
        """One point of the manifold per cloud, ``[B, ambient_dim]``: the midpoint of the last
        layer's points. Arguments are those of :meth:`forward`.
        """
        x, own = self._look(pos, batch, batch_size)[-1]
        return self.midpoint(x, _clouds(x, own, batch_size), dim_size=batch_size)

    def _look(
        self, pos: Tensor, batch: OptTensor, batch_size: int | None
    ) -> list[tuple[Tensor, OptTensor]]:
        """The points, leaving the running statistics of the norms as they were."""
        before = [buffer.clone() for buffer in self.buffers()]
        try:
            return self._points(pos, batch, batch_size)
        finally:
            for buffer, value in zip(self.buffers(), before, strict=True):
                overwrite(buffer, value)


def _clouds(x: Tensor, batch: OptTensor, batch_size: int | None) -> OptTensor:
    """The cloud of each point in int64; without ``batch`` all clouds have one size."""
    if batch is not None or batch_size is None:
        return as_int64(batch)
    size = x.size(0) // batch_size
    number = torch.arange(batch_size, device=x.device)
    return number.repeat_interleave(size, output_size=batch_size * size)


def _block(in_channels: int, out_channels: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(in_channels, out_channels, bias=False),
        torch.nn.BatchNorm1d(out_channels),
        torch.nn.LeakyReLU(0.2),
    )


def _classifier(
    in_channels: int, hidden_channels: int, out_channels: int, dropout: float
) -> torch.nn.Sequential:
    hidden = (
        _block(in_channels, hidden_channels)
        if hidden_channels
        else torch.nn.Sequential(torch.nn.BatchNorm1d(in_channels))
    )
    return torch.nn.Sequential(
        *hidden,
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden_channels or in_channels, out_channels),
    )
