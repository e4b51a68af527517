"""How stored images reach a network: values around zero, and augmentation."""

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from _cli import integer, real
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample


def add_augmentation_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the augmentation."""
    group = parser.add_argument_group("augmentation (training only)")
    group.add_argument(
        "--shift", type=integer(0), default=2, help="largest random shift, in whole pixels"
    )
    group.add_argument(
        "--rotate", type=real(0), default=10.0, help="largest random rotation, in degrees"
    )
    group.add_argument(
        "--scale", type=real(0, 1), default=0.1, help="largest random change of size, as a share"
    )
    group.add_argument("--flip", action="store_true", help="mirror every other image, by chance")
    group.add_argument(
        "--cutout", type=integer(0), default=0, help="side of a random square that is cut out"
    )


class ImageView:
    """How a batch of stored images becomes what the network sees, numbers in [-1, 1].

    Args:
        config (dict): The augmentation flags.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.shift: int = config["shift"]
        self.rotate: float = config["rotate"]
        self.scale: float = config["scale"]
        self.flip: bool = config["flip"]
        self.cutout: int = config["cutout"]

    def plain(self, x: Tensor) -> Tensor:
        """Bytes `[B, C, H, W]` as numbers in [-1, 1]."""
        return x.float() / 127.5 - 1

    def augmented(self, x: Tensor, generator: Generator) -> Tensor:
        """Mirrored, moved and cut images, black where nothing was stored, `[B, C, H, W]`."""

        def uniform(*size: int) -> Tensor:
            return torch.rand(*size, generator=generator, device=x.device)

        if self.flip:
            x = torch.where(uniform(x.size(0), 1, 1, 1) < 0.5, x.flip(-1), x)
        if self.shift or self.rotate or self.scale:
            angle = self.rotate * torch.pi / 180 * (2 * uniform(x.size(0)) - 1)
            size = 1 + self.scale * (2 * uniform(x.size(0)) - 1)
            pixels = ((2 * self.shift + 1) * uniform(x.size(0), 2)).floor() - self.shift
            x = moved(x.float(), angle, size, pixels)
        x = self.plain(x)
        if self.cutout:
            centre = torch.stack([uniform(x.size(0)) * n for n in x.shape[-2:]])
            x = x.masked_fill(squares(x, centre, self.cutout), 0.0)
        return x


def moved(x: Tensor, angle: Tensor, size: Tensor, pixels: Tensor) -> Tensor:
    """Images turned about their centre, scaled, then shifted right and down by `pixels` `[B, 2]`.

    Every pixel looks up where it came from: the inverse of what happens to the image.
    """
    height, width = x.shape[-2:]
    half = torch.tensor([width, height], device=x.device) / 2  # pixels of one unit of the grid
    cos, sin = angle.cos() / size, angle.sin() / size
    back = torch.stack([cos, sin, -sin, cos], 1).view(-1, 2, 2)
    matrix = back * half / half[:, None]
    offset = -(matrix @ (pixels / half).unsqueeze(-1))
    grid = affine_grid(torch.cat([matrix, offset], -1), list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False)


def squares(x: Tensor, centre: Tensor, side: int) -> Tensor:
    """Which pixels lie in the square about each image's `centre` `[2, B]`: `[B, 1, H, W]`."""
    height, width = x.shape[-2:]
    top, left = (c.floor().view(-1, 1, 1, 1) - side // 2 for c in centre)
    row = torch.arange(height, device=x.device).view(-1, 1)
    col = torch.arange(width, device=x.device)
    return (row >= top) & (row < top + side) & (col >= left) & (col < left + side)
