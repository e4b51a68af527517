r"""What all labelled point-cloud datasets of this package share."""

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset


class PointClouds(InMemoryDataset):
    r"""An in-memory dataset of labelled clouds with equally many points.

    A subclass sets :attr:`class_names` and hands its arrays to :meth:`_set_clouds`. Nothing is
    ever written to disk.
    """

    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        r"""The number of classes, whether or not every class occurs in this split."""
        return len(self.class_names)

    def _set_clouds(self, pos: Tensor, y: Tensor) -> None:
        r"""Stores all clouds at once, without a Python loop over them.

        Args:
            pos (torch.Tensor): The points, ``[N, P, 3]``.
            y (torch.Tensor): The labels, ``[N]``.
        """
        num_clouds, num_points, _ = pos.shape
        self.data = Data(pos=pos.reshape(-1, 3), y=y)  # [N * P, 3], [N]
        self.slices = {
            "pos": num_points * torch.arange(num_clouds + 1),
            "y": torch.arange(num_clouds + 1),
        }
        if self.pre_transform is not None:
            clouds = [self.pre_transform(self.get(i)) for i in range(num_clouds)]
            self.data, self.slices = self.collate(clouds)
