r"""The convolution of windows of an image with what each pivot sees in its window.

:math:`v = \sum_o W_o \operatorname{rel}(x, x_o)` over the ball (all of space for :math:`c = 0`),
where :func:`rel <torch_geometric_hyperbolic.geometry.poincare.rel>` is
:math:`u\,a(q)\,[(p_o - p) / g_o - q\,p]`. The relative vectors are computed for a few images at a
time, meet the weight in one matrix product, and are computed again for the gradient.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu.compiled import parallel
    from torch_geometric_hyperbolic.kernels._cpu.relative_windows import fill, refill

#: Numbers held at a time, unless one image alone needs more: few enough to stay in the cache.
BLOCK = 2**22


@torch.library.custom_op("tgh::relative_windows", mutates_args=())
def relative_windows(
    points: Tensor, gap: Tensor, c: Tensor, weight: Tensor, table: Tensor, centre: int, unit: float
) -> Tensor:
    r"""Each window's relative vectors times the weight, on the CPU.

    Args:
        points (torch.Tensor): points of the ball, ``[B, N, F]``, float32 or float64, where ``N``
            counts the pixels of one image.
        gap (torch.Tensor): their gaps :math:`1 - c\|p\|^2`, ``[B, N, 1]``, float64.
        c (torch.Tensor): the curvature is ``-c``, float64.
        weight (torch.Tensor): ``[F', K * F]`` in the dtype of the result.
        table (torch.Tensor): pixels of each of an image's windows, ``[M, K]``, int32; -1 for
            padding, which contributes the zero vector.
        centre (int): which of the ``K`` is the pivot; the origin where that is padding.
        unit (float): length of a relative vector over that in the ball.

    Returns:
        Tangent vectors at the origin ``[B, M, F']``. Cost :math:`O(B M K F F')`; memory for
        :data:`BLOCK` numbers beside the result.
    """
    (images, _, channels), (windows, pixels) = points.shape, table.shape
    out = weight.new_empty(images, windows, len(weight))
    for block, patches in _blocks(weight, images, (windows, pixels, channels)):
        few = (points[block].contiguous(), gap[block, :, 0].reciprocal())
        size = patches.size(0)
        parallel(fill, size, *few, c.item(), unit, table, centre, patches)
        torch.mm(patches.flatten(1), weight.t(), out=out[block].flatten(0, 1))
    return out


@relative_windows.register_fake
def _(points, gap, c, weight, table, centre, unit):  # type: ignore[no-untyped-def]
    return weight.new_empty(len(points), len(table), len(weight))


@torch.library.custom_op("tgh::relative_windows_backward", mutates_args=())
def relative_windows_backward(
    grad: Tensor,
    points: Tensor,
    gap: Tensor,
    c: Tensor,
    weight: Tensor,
    table: Tensor,
    centre: int,
    unit: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by points, gaps, curvature and weight; a thread owns whole images."""
    (images, nodes, channels), (windows, pixels) = points.shape, table.shape
    d_points = points.new_empty(points.shape)
    d_gap, d_c = gap.new_empty(images, nodes), gap.new_empty(images)
    d_weight = torch.zeros_like(weight)
    for block, patches in _blocks(weight, images, (windows, pixels, channels)):
        few = (points[block].contiguous(), gap[block, :, 0].reciprocal())
        pull = grad[block].flatten(0, 1)
        torch.mm(pull, weight, out=patches.flatten(1))
        parallel(
            refill,
            few[0].size(0),
            *few,
            c.item(),
            unit,
            table,
            centre,
            patches,
            d_points[block],
            d_gap[block],
            d_c[block],
        )
        d_weight.addmm_(pull.t(), patches.flatten(1))
    return d_points, d_gap.unsqueeze(-1), sum_in_order(d_c), d_weight


@relative_windows_backward.register_fake
def _(grad, points, gap, c, weight, table, centre, unit):  # type: ignore[no-untyped-def]
    return (
        points.new_empty(points.shape),
        gap.new_empty(gap.shape),
        torch.empty_like(c),
        torch.empty_like(weight),
    )


def _blocks(
    weight: Tensor, images: int, sizes: tuple[int, int, int]
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the batch, and memory for the windows of each: ``[images * M, K, F]``.

    A power of two of images, so that threads get even shares.
    """
    windows, pixels, channels = sizes
    fit = BLOCK // max(1, windows * pixels * channels)
    step = min(1 << max(0, fit.bit_length() - 1), max(1, images))
    buffer = weight.new_empty(step * windows, pixels, channels)
    for start in range(0, images, step):
        few = min(step, images - start)
        yield slice(start, start + few), buffer[: few * windows]


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:5])
    ctx.centre, ctx.unit = inputs[5:]


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("relative windows")
    grads = relative_windows_backward(grad, *ctx.saved_tensors, ctx.centre, ctx.unit)
    return *grads, None, None, None


relative_windows.register_autograd(_backward, setup_context=_setup_context)
