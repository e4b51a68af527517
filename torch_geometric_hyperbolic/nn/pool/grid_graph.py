r"""The regular graph of an image."""

from numbers import Integral

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import check_counts

Size2 = int | tuple[int, int]


def grid_graph(
    height: int,
    width: int,
    kernel_size: Size2,
    stride: Size2 = 1,
    padding: Size2 = 0,
    dilation: Size2 = 1,
    *,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The windows of a two-dimensional convolution as a graph from input to output pixels.

    Pixels are numbered row by row. Windows are those of :class:`torch.nn.Conv2d` with the same
    arguments; an offset that falls on padding has no edge, so padding contributes the zero vector
    (as the origin would). Edges are sorted by output pixel, then by offset. Cost
    :math:`O(H W K)` for :math:`K` pixels in a window.

    Args:
        height (int): height of the input image.
        width (int): width of the input image.
        kernel_size (int or tuple): size of the window, height and width.
        stride (int or tuple, optional): step between windows. (default: :obj:`1`)
        padding (int or tuple, optional): rows and columns added on each side. (default: :obj:`0`)
        dilation (int or tuple, optional): step within a window. (default: :obj:`1`)
        device (torch.device, optional): of the result. (default: :obj:`None`)

    Returns:
        ``edge_index`` ``[2, E]``, input pixel above output pixel, and the number of each edge's
        offset in the window ``[E]``, row by row as in ``Conv2d.weight.flatten(2)``. The edge of
        offset :func:`centre_offset` comes from the output pixel's pivot.

    Raises:
        TypeError: if a size is neither an integer nor a pair of integers.
        ValueError: if a size is too small, or the window larger than the padded image.

    Example:
        >>> edge_index, offset = grid_graph(1, 3, kernel_size=(1, 3), padding=(0, 1))
        >>> edge_index
        tensor([[0, 1, 0, 1, 2, 1, 2],
                [0, 0, 1, 1, 1, 2, 2]])
        >>> offset
        tensor([1, 2, 0, 1, 2, 0, 1])
    """
    check_counts(height=height, width=width)
    kernel_size, stride = as_pair(kernel_size, "kernel_size"), as_pair(stride, "stride")
    padding, dilation = as_pair(padding, "padding", low=0), as_pair(dilation, "dilation")
    rows = _positions(height, kernel_size[0], stride[0], padding[0], dilation[0], "height", device)
    cols = _positions(width, kernel_size[1], stride[1], padding[1], dilation[1], "width", device)
    row, col = rows[:, None, :, None], cols[None, :, None, :]  # [H', 1, K, 1] and [1, W', 1, K]
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    pixel = (row * width + col).flatten(0, 1).flatten(1)  # [H' * W', K * K]
    target, offset = inside.flatten(0, 1).flatten(1).nonzero(as_tuple=True)
    return torch.stack([pixel[target, offset], target]), offset


def centre_offset(kernel_size: Size2) -> int:
    """Number of the window's centre offset (the upper left one for even sizes).

    Args:
        kernel_size (int or tuple): size of the window, height and width.

    Returns:
        The number as :func:`grid_graph` counts offsets, row by row from 0.

    Example:
        >>> centre_offset(3)
        4
    """
    height, width = as_pair(kernel_size, "kernel_size")
    return (height - 1) // 2 * width + (width - 1) // 2


def as_pair(value: Size2, name: str, low: int = 1) -> tuple[int, int]:
    """An integer or a pair of integers as a pair, at least ``low``."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, Integral) and not isinstance(v, bool) for v in pair):
        raise TypeError(f"'{name}' must be an int or a pair of ints (got {value!r})")
    if min(pair) < low:
        raise ValueError(f"'{name}' must be at least {low} (got {value!r})")
    return int(pair[0]), int(pair[1])


def _positions(
    size: int, kernel: int, stride: int, padding: int, dilation: int, name: str, device: object
) -> Tensor:
    """Position along one axis of each window's each offset, ``[windows, kernel]``."""
    windows = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if windows < 1:
        raise ValueError(
            f"'{name}' with padding must hold a window of {dilation * (kernel - 1) + 1} "
            f"(got {size + 2 * padding})"
        )
    start = torch.arange(windows, device=device) * stride - padding  # type: ignore[call-overload]
    return start[:, None] + torch.arange(kernel, device=start.device) * dilation
