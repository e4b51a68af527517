"""A classifier of images whose pixels are points."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from _cli import UsageError, integers, real
from _models import build_manifold
from torch import Tensor, nn

from torch_geometric_hyperbolic.kernels import exp0, log0
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn import (
    HConv2d,
    HyperbolicEdgeConv,
    global_midpoint_pool,
    grid_graph,
)
from torch_geometric_hyperbolic.nn.inits import moderate_radius_

LAYERS = ("hconv1", "hconv2", "edgeconv")
BRANCH = 0.1  # of H-Conv 0.2's usual weights: a step away from the pivot is learnt from a small one


def add_image_net_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that size the image network."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--layer",
        default="hconv2",
        choices=LAYERS,
        help="H-Conv 0.1, H-Conv 0.2, or the hyperbolic edge convolution of the grid graph",
    )
    group.add_argument(
        "--channels",
        type=integers,
        default=(32, 32, 64, 64),
        metavar="F,F,..",
        help="channels of the layers, whose windows are 3 x 3",
    )
    group.add_argument(
        "--strides",
        type=integers,
        metavar="S,S,..",
        help="step between the windows of each layer (default: 2 and 1 in turn)",
    )
    group.add_argument("--dropout", type=real(0, 1), default=0.3, help="before the classifier")


def check_image_net_arguments(args: argparse.Namespace) -> None:
    """Raises a `UsageError` for flags that contradict each other."""
    if args.strides is not None and len(args.strides) != len(args.channels):
        raise UsageError(
            f"--strides must be as many as --channels, {len(args.channels)} "
            f"(got {','.join(map(str, args.strides))})"
        )


def build_image_net(config: Mapping[str, Any], num_classes: int) -> nn.Module:
    """The image classifier of a configuration."""
    depth = len(config["channels"])
    return HyperbolicImageNet(
        config["shape"][0],
        num_classes,
        manifold=build_manifold(config),
        layer=config["layer"],
        channels=config["channels"],
        strides=config["strides"] or [2 if i % 2 == 0 else 1 for i in range(depth)],
        dropout=config["dropout"],
    )


class NormedHConv2d(nn.Module):
    """`HConv2d`, then batch norm and activation of the tangent vectors; points start at radius 1.

    Points come and go as `[B, ambient, H, W]`.
    """

    def __init__(
        self, before: int, after: int, stride: int, *, manifold: Manifold, pivot: bool
    ) -> None:
        super().__init__()
        self.conv = HConv2d(before, after, 3, stride, 1, manifold=manifold, pivot=pivot, bias=False)
        if pivot:
            self.conv.weight.data *= BRANCH
        self.norm = nn.BatchNorm2d(after)
        nn.init.constant_(self.norm.weight, after**-0.5)  # as long as one standard normal number
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        v = log0(self.conv(x).movedim(1, -1), self.manifold).movedim(-1, 1)
        v = nn.functional.leaky_relu(self.norm(v), 0.2)
        return exp0(v.movedim(1, -1), self.manifold).movedim(-1, 1)


class EdgeConv2d(nn.Module):
    """`HyperbolicEdgeConv` over the windows of an image, the norm inside as in point clouds.

    Points come and go as `[B, ambient, H, W]`.
    """

    def __init__(self, before: int, after: int, stride: int, *, manifold: Manifold) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(after)
        block = (nn.Linear(2 * before, after, bias=False), norm, nn.LeakyReLU(0.2))
        self.conv = HyperbolicEdgeConv(nn.Sequential(*block), manifold=manifold)
        moderate_radius_(norm, 1.0)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        nodes = x.movedim(1, -1)
        pivots = nodes[:, :: self.stride, :: self.stride]
        source = nodes.flatten(0, 2)
        target = source if self.stride == 1 else pivots.flatten(0, 2)
        edge_index = batched_grid(*nodes.shape[:3], self.stride, x.device)
        return self.conv((source, target), edge_index).view(*pivots.shape[:3], -1).movedim(-1, 1)


@lru_cache(maxsize=32)
def batched_grid(batch: int, height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """The 3 x 3 windows of equal images, one after the other: `[2, E]`."""
    edge_index, _ = grid_graph(height, width, 3, stride, 1, device=device)
    windows = -(-height // stride) * -(-width // stride)
    step = torch.tensor([height * width, windows], device=device).view(2, 1, 1)
    number = torch.arange(batch, device=device).view(1, -1, 1)
    return (edge_index.unsqueeze(1) + step * number).flatten(1)


class HyperbolicImageNet(nn.Module):
    """Convolutions of images of points, pooled and classified in the tangent space.

    The channels of a pixel enter the manifold by `exp0`; after the last layer `log0` is pooled by
    maximum and mean. Edge convolutions see a window as a set, so that their pixels have two more
    channels, the position in [-1, 1]. With `manifold=Euclidean()` it is its own Euclidean twin,
    with the same parameters.

    Args:
        in_channels (int): Channels of an image.
        out_channels (int): Number of classes.
        manifold (Manifold): The space of all points.
        layer (str): One of `LAYERS`.
        channels (sequence of int): Widths of the layers.
        strides (sequence of int): Steps between the windows of each layer.
        dropout (float): Before the classifier.

    Shapes:
        - **input:** Euclidean numbers `[B, in_channels, H, W]`, best within [-1, 1]
        - **output:** logits `[B, out_channels]`
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        manifold: Manifold,
        layer: str,
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.manifold = manifold
        self.positions = layer == "edgeconv"
        widths = [in_channels + 2 * self.positions, *channels]
        block: Callable[..., nn.Module] = EdgeConv2d
        if layer != "edgeconv":
            block = partial(NormedHConv2d, pivot=layer == "hconv2")
        self.convs = nn.ModuleList(
            block(before, after, stride, manifold=manifold)
            for before, after, stride in zip(widths[:-1], channels, strides, strict=True)
        )
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * channels[-1]),
            nn.Dropout(dropout),
            nn.Linear(2 * channels[-1], out_channels),
        )

    def points(self, x: Tensor) -> list[Tensor]:
        """The points `[B, ambient, H, W]`: of the input, and after each layer."""
        if self.positions:
            axes = (torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:])
            grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # [2, H, W]
            x = torch.cat([x, grid.expand(x.size(0), -1, -1, -1)], 1)
        points = [exp0(x.movedim(1, -1), self.manifold).movedim(-1, 1)]
        for conv in self.convs:
            points.append(conv(points[-1]))
        return points

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each image."""
        v = log0(self.points(x)[-1].movedim(1, -1), self.manifold).flatten(1, 2)
        return self.head(torch.cat([v.amax(1), v.mean(1)], -1))

    @torch.no_grad()
    def radii(self, x: Tensor) -> dict[str, float]:
        """Mean distance from the origin of the input's pixels and of each layer's."""
        names = ["input", *(f"conv{i + 1}" for i in range(len(self.convs)))]
        return {
            name: self.manifold.dist0(points.movedim(1, -1)).mean().item()
            for name, points in zip(names, self.points(x), strict=True)
        }

    @torch.no_grad()
    def embedding(self, x: Tensor) -> Tensor:
        """One point of the manifold per image: the midpoint of the last layer's pixels."""
        nodes = self.points(x)[-1].movedim(1, -1).flatten(1, 2)
        batch = torch.arange(x.size(0), device=x.device).repeat_interleave(nodes.size(1))
        return global_midpoint_pool(nodes.flatten(0, 1), batch, manifold=self.manifold)
