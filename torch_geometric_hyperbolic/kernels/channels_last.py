r"""Images with the channels of a pixel side by side, as every manifold takes its points."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._precision import FULL
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import pixels


def channels_last(x: Tensor) -> Tensor:
    """Images ``[B, F, H, W]`` as contiguous ``[B, H, W, F]``.

    A view where they lie in memory so already, as the output of
    :class:`~torch_geometric_hyperbolic.nn.HConv2d` does; otherwise a copy, on the CPU tile by tile.

    Example:
        >>> import torch
        >>> channels_last(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
        tensor([[[[1., 3.],
                  [2., 4.]]]])
    """
    rows = x.movedim(1, -1)
    if rows.is_contiguous() or x.dtype not in FULL or fused_engine(x) != "numba":
        return rows.contiguous()
    return _channels_last(x)


@torch.library.custom_op("tgh::channels_last", mutates_args=(), device_types="cpu")
def _channels_last(x: Tensor) -> Tensor:
    return pixels.contiguous(x.movedim(1, -1))


@_channels_last.register_fake
def _(x):  # type: ignore[no-untyped-def]
    return x.new_empty(x.movedim(1, -1).shape)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    return grad.movedim(-1, 1)


_channels_last.register_autograd(_backward)
