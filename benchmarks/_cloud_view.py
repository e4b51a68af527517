"""How stored point clouds reach a network: augmentation, and PyG's form of a batch."""

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from _cli import integer, real
from torch import Generator, Tensor


def add_augmentation_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the augmentation."""
    group = parser.add_argument_group("augmentation (training only)")
    group.add_argument(
        "--scale-low",
        type=real(0, open_low=True),
        default=0.67,
        help="smallest random factor, drawn per axis",
    )
    group.add_argument(
        "--scale-high",
        type=real(0, open_low=True),
        default=1.5,
        help="largest random factor, drawn per axis",
    )
    group.add_argument(
        "--shift", type=real(0), default=0.2, help="largest random shift of the cloud, per axis"
    )
    group.add_argument(
        "--jitter",
        type=real(0),
        default=0.01,
        help="standard deviation of the noise on every coordinate, cut at 5 of them",
    )
    group.add_argument(
        "--rotate",
        default="none",
        choices=["none", "z", "y", "so3"],
        help="random rotation about an axis, or any",
    )
    group.add_argument(
        "--subsample",
        default="random",
        choices=["random", "first"],
        help="which --num-points of the kept points an epoch sees; "
        "evaluation always takes the first",
    )
    group.add_argument(
        "--first-points",
        type=integer(2),
        metavar="N",
        help="points at the start of training, from where their number grows steadily to "
        "--num-points (default: all from the start)",
    )
    group.add_argument(
        "--fewest-points",
        type=integer(2),
        metavar="N",
        help="each cloud has its own random number of points, at least this (default: all have "
        "the same)",
    )


class CloudView:
    """How a batch of stored clouds becomes what the network sees.

    Args:
        config (dict): The augmentation flags and `num_points`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.num_points: int = config["num_points"]
        self.scale = (config["scale_low"], config["scale_high"])
        self.shift: float = config["shift"]
        self.jitter: float = config["jitter"]
        self.rotate: str = config["rotate"]
        self.first_points: int = config.get("first_points") or self.num_points
        self.fewest_points: int = config.get("fewest_points") or self.num_points
        self.random_subset: bool = config["subsample"] == "random"

    def plain(self, x: Tensor) -> Tensor:
        """The first points of every cloud, `[B, num_points, 3]`."""
        return x[:, : self.num_points]

    def augmented(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        """Random points, rotated, scaled, shifted and jittered, `[B, P, 3]`.

        `P` grows with the progress of training from `first_points` to `num_points`, as images do in
        "EfficientNetV2" (arXiv 2104.00298), section 4: early epochs are cheaper and see more
        different clouds. Of `P` points a cloud keeps a random number, from `fewest_points` on, as
        in "PointNet++" (arXiv 1706.02413), section 3.3; the rows of the others are NaN.
        """
        size = self.first_points + round(progress * (self.num_points - self.first_points))
        differ = self.fewest_points < size

        def uniform(*size: int) -> Tensor:
            return torch.rand(*size, generator=generator, device=x.device)

        if self.random_subset and (size < x.size(1) or differ):
            chosen = uniform(x.size(0), x.size(1)).topk(size).indices  # [B, P]
            x = x.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3))
        x = x[:, :size]
        if self.rotate == "so3":
            x = x @ any_rotations(torch.randn(x.size(0), 4, generator=generator, device=x.device))
        elif self.rotate != "none":
            x = x @ rotations(2 * torch.pi * uniform(x.size(0)), self.rotate)
        low, high = self.scale
        x = x * (low + (high - low) * uniform(x.size(0), 1, 3))
        x = x + self.shift * (2 * uniform(x.size(0), 1, 3) - 1)
        if self.jitter > 0:
            noise = torch.randn(x.shape, generator=generator, device=x.device).clamp(-5, 5)
            x = x + self.jitter * noise
        if differ:
            how: dict[str, Any] = {"generator": generator, "device": x.device}
            kept = torch.randint(self.fewest_points, size + 1, (x.size(0), 1, 1), **how)
            x = x.where(torch.arange(size, device=x.device).unsqueeze(-1) < kept, torch.nan)
        return x


def rotations(angle: Tensor, axis: str) -> Tensor:
    """Rotation matrices `[B, 3, 3]` about the z or the y axis."""
    i, j = (0, 1) if axis == "z" else (2, 0)
    matrix = torch.eye(3, device=angle.device).repeat(angle.numel(), 1, 1)
    matrix[:, i, i] = matrix[:, j, j] = angle.cos()
    matrix[:, i, j], matrix[:, j, i] = -angle.sin(), angle.sin()
    return matrix


def any_rotations(quaternion: Tensor) -> Tensor:
    """Rotation matrices `[B, 3, 3]`; uniform where the quaternions `[B, 4]` are normal vectors."""
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def as_nodes(x: Tensor) -> tuple[Tensor, Tensor]:
    """PyG's form of a batch of clouds `[B, P, 3]`: `pos` `[N, 3]` and `batch` `[N]`, where `N` is
    `B * P` without the rows of NaN.
    """
    batch = torch.arange(x.size(0), device=x.device).repeat_interleave(x.size(1))
    pos = x.reshape(-1, 3)
    points = ~pos[:, 0].isnan()
    return pos[points], batch[points]
