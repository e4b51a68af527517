"""Where the windows of an image convolution lie."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_hyperbolic.nn.pool.grid_graph import centre_offset


class ImageWindows(NamedTuple):
    """Windows ``[H', W', kh, kw]`` of images ``[B, H, W, n]``, as :class:`torch.nn.Conv2d` lays
    them. Each pair is of rows and columns.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def centre(self) -> tuple[int, int]:
        """Row and column of a window's pivot; the first of two in the middle."""
        return divmod(centre_offset(self.kernel_size), self.kernel_size[1])

    def spans(self) -> tuple[int, int]:
        """Rows and columns from the first to the last of a window."""
        (height, width), (down, right) = self.kernel_size, self.dilation
        return down * (height - 1) + 1, right * (width - 1) + 1

    def check(self, height: int, width: int) -> None:
        """Raise a :class:`ValueError` if an image of that size holds no window."""
        padded = [height + 2 * self.padding[0], width + 2 * self.padding[1]]
        if padded[0] < self.spans()[0] or padded[1] < self.spans()[1]:
            raise ValueError(
                f"'x' with padding must hold a window of {list(self.spans())} (got {padded})"
            )

    def pad(self, image: Tensor, value: float = 0) -> Tensor:
        """The image with padding around it.

        Zeros are the origin: every verb ignores a time that does not fit its space part.
        """
        top, left = self.padding
        return torch.nn.functional.pad(image, (0, 0, left, left, top, top), value=value)

    def of(self, padded: Tensor) -> Tensor:
        """A view of all windows of a padded image: ``[B, H', W', kh, kw, n]``."""
        rows, cols = self.spans()
        windows = padded.unfold(1, rows, self.stride[0]).unfold(2, cols, self.stride[1])
        return windows[..., :: self.dilation[0], :: self.dilation[1]].movedim(3, -1)

    def inside(self, image: Tensor) -> Tensor:
        """Whether a pixel of a window is one of the image, ``[1, H', W', kh, kw, 1]``."""
        return self.of(self.pad(torch.ones_like(image[:1, ..., :1], dtype=torch.bool)))

    def of_pivots(self, windows: Tensor) -> Tensor:
        """What windows hold at their pivots: ``[B, H', W', 1, 1, n]``."""
        row, col = self.centre()
        return windows[..., row, None, col, None, :]

    def pivots(self, image: Tensor) -> Tensor:
        """The pixel at the pivot of each window, ``[B, H', W', n]``, without copies where none is
        padding.
        """
        ends = []
        for axis in (0, 1):
            before = self.dilation[axis] * self.centre()[axis]
            after = self.spans()[axis] - 1 - before
            ends += [self.padding[axis] - before, self.padding[axis] - after]
        top, bottom, left, right = ends
        around = [max(0, end) for end in (0, 0, left, right, top, bottom)]
        padded = torch.nn.functional.pad(image, around) if any(around) else image
        rows = slice(max(0, -top), padded.size(1) - max(0, -bottom), self.stride[0])
        cols = slice(max(0, -left), padded.size(2) - max(0, -right), self.stride[1])
        return padded[:, rows, cols]
