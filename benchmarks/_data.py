"""Labelled samples held as one tensor, and their split."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Labelled samples of equal shape; batches are made by indexing, nothing is collated.

    Args:
        x (torch.Tensor): Inputs, `[M, ...]` (point clouds: `[M, P, 3]`).
        y (torch.Tensor): Labels, `[M]`.
        class_names (list of str): One name per class.
    """

    x: Tensor
    y: Tensor
    class_names: Sequence[str]

    def __len__(self) -> int:
        return self.y.numel()

    def __getitem__(self, index: Tensor | slice) -> "Samples":
        return Samples(self.x[index], self.y[index], self.class_names)

    def to(self, device: torch.device) -> "Samples":
        """The same samples on a device."""
        return Samples(self.x.to(device), self.y.to(device), self.class_names)


def path_name(path: str) -> str:
    """The last part of a path, also of `.` and `..`; links keep their own name."""
    return Path(os.path.abspath(path)).name


def hold_out(samples: Samples, config: Mapping[str, Any]) -> tuple[Samples, Samples]:
    """The samples to fit, and those to validate on."""
    kept, held = stratified_split(samples.y, *split_of(config))
    return samples[kept], samples[held]


def split_of(config: Mapping[str, Any]) -> tuple[float, int]:
    """The share of every class that is held out, and the seed that chooses which."""
    seed = config.get("split_seed")
    return config["val_fraction"], config["seed"] if seed is None else seed


def stratified_split(y: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits sample numbers by class.

    Args:
        y (torch.Tensor): Labels, `[M]`.
        fraction (float): Share of every class that is held out, rounded (a class of few samples may
            keep them all).
        seed (int): Chooses which.

    Returns:
        The numbers of the kept and of the held-out samples, each in ascending order.
    """
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(y.numel(), dtype=torch.bool)
    for label in y.unique().tolist():
        members = (y == label).nonzero().flatten()
        order = torch.randperm(members.numel(), generator=generator)
        held[members[order[: round(fraction * members.numel())]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
