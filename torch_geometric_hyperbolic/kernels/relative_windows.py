r"""The convolution of windows of an image with what each pivot sees in its window.

:math:`v = b + \sum_o W_o \operatorname{rel}(x, x_o)` over the ball (all of space for
:math:`c = 0`), where :func:`rel <torch_geometric_hyperbolic.geometry.poincare.rel>` is
:math:`u\,a(q)\,[(p_o - p) / g_o - q\,p]`. The relative vectors are computed for a few windows at a
time, meet the weight, and are computed again for the gradient: with few channels in a core's cache,
with many for a few images at a time.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import relative_windows as loops
    from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT, parallel

#: Largest ``F F'`` for which everything happens in the cache.
FEW = 2**12
#: Windows of a block in the cache: fewest that are worth a product with the whole weight, forward
#: and backward, and most.
FEWEST, MOST = (16, 64), 128
#: Parts of a batch whose gradients of the weight are summed before they join.
PARTS = 16
#: Numbers held at a time where there are many channels, unless one image alone needs more.
BLOCK = 2**22


@torch.library.custom_op("tgh::relative_windows", mutates_args=())
def relative_windows(
    points: Tensor,
    gap: Tensor,
    c: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    table: Tensor,
    pivots: Tensor,
    unit: float,
) -> Tensor:
    r"""Each window's relative vectors times the weight, plus the bias, on the CPU.

    Args:
        points (torch.Tensor): points of the ball, ``[B, N, F]``, float32 or float64, where ``N``
            counts the pixels of one image.
        gap (torch.Tensor): their gaps :math:`1 - c\|p\|^2`, ``[B, N, 1]``, float64.
        c (torch.Tensor): the curvature is ``-c``, float64.
        weight (torch.Tensor): ``[F', K * F]`` in the dtype of the result.
        bias (torch.Tensor, optional): ``[F']``.
        table (torch.Tensor): pixels of each of an image's windows, ``[M, K]``, int32; -1 for
            padding, which contributes the zero vector.
        pivots (torch.Tensor): the pixel from where each window is seen, ``[M]``, int32; -1 for the
            origin.
        unit (float): length of a relative vector over that in the ball.

    Returns:
        Tangent vectors at the origin ``[B, M, F']``. Cost :math:`O(B M K F F')`; memory for a block
        of windows per thread (and for :data:`PARTS` weights in the backward pass), or for
        :data:`BLOCK` numbers, beside the result.
    """
    images, (windows, pixels) = len(points), table.shape
    out = weight.new_empty(images, windows, len(weight))
    inverse, how = gap[..., 0].reciprocal(), (c.item(), unit, table, pivots)
    if weight.numel() <= FEW * pixels:
        matrices, rows = _matrices(weight, pixels, FEWEST[0])
        blocks = images * -(-windows // rows)
        parallel(loops.convolve, blocks, points, inverse, *how, matrices.mT, bias, rows, out)
        return out
    for block, patches in _blocks(weight, images, windows):
        few = (points[block], inverse[block])
        parallel(loops.fill, len(patches), *few, *how, patches.view(1, -1, pixels, points.size(2)))
        to = out[block].flatten(0, 1)
        torch.mm(patches, weight.t(), out=to)
        if bias is not None:
            to += bias
    return out


@relative_windows.register_fake
def _(points, gap, c, weight, bias, table, pivots, unit):  # type: ignore[no-untyped-def]
    return weight.new_empty(len(points), len(table), len(weight))


@torch.library.custom_op("tgh::relative_windows_backward", mutates_args=())
def relative_windows_backward(
    grad: Tensor,
    points: Tensor,
    gap: Tensor,
    c: Tensor,
    weight: Tensor,
    table: Tensor,
    pivots: Tensor,
    unit: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by points, gaps, curvature and weight; a thread owns whole images."""
    (images, nodes, channels), (windows, pixels) = points.shape, table.shape
    d_points, d_gap = points.new_empty(points.shape), gap.new_empty(images, nodes)
    d_c = gap.new_empty(images)
    inverse, how = gap[..., 0].reciprocal(), (c.item(), unit, table, pivots)
    if weight.numel() <= FEW * pixels:
        matrices, rows = _matrices(weight, pixels, FEWEST[1])
        parts = min(images, PARTS)
        cuts = torch.arange(parts + 1) * images // max(1, parts)
        by_part = weight.new_empty(parts, *matrices.shape)
        given = (points, inverse, *how, matrices, rows, grad, cuts)
        parallel(loops.gradients, parts, *given, d_points, d_gap, d_c, by_part)
        d_weight = torch.from_numpy(by_part.numpy().sum(0)).movedim(0, 1).flatten(1)
        return d_points, d_gap.unsqueeze(-1), sum_in_order(d_c), d_weight
    d_weight = weight.new_zeros(weight.shape)
    for block, patches in _blocks(weight, images, windows):
        few, of_few = (points[block], inverse[block]), (d_points[block], d_gap[block], d_c[block])
        pull = grad[block].flatten(0, 1)
        torch.mm(pull, weight, out=patches)
        vectors = patches.view(1, -1, pixels, channels)
        parallel(loops.refill, len(few[0]), *few, *how, vectors, *of_few)
        d_weight.addmm_(pull.t(), patches)
    return d_points, d_gap.unsqueeze(-1), sum_in_order(d_c), d_weight


@relative_windows_backward.register_fake
def _(grad, points, gap, c, weight, table, pivots, unit):  # type: ignore[no-untyped-def]
    return (
        points.new_empty(points.shape),
        gap.new_empty(gap.shape),
        torch.empty_like(c),
        weight.new_empty(weight.shape),
    )


def _matrices(weight: Tensor, pixels: int, fewest: int) -> tuple[Tensor, int]:
    """Weights of all pixels ``[1, F', K * F]`` or of each ``[K, F', F]``; windows of a block."""
    whole = fewest * weight.numel() <= PRODUCT
    matrices = weight.unflatten(1, (1 if whole else pixels, -1)).movedim(1, 0)
    return matrices, max(1, min(MOST, PRODUCT // max(1, matrices[0].numel())))


def _blocks(weight: Tensor, images: int, windows: int) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the batch, and memory for the windows of each: ``[images * M, K * F]``.

    A power of two of images, so that threads get even shares.
    """
    numbers = weight.size(1)
    fit = BLOCK // max(1, windows * numbers)
    step = min(1 << max(0, fit.bit_length() - 1), max(1, images))
    buffer = weight.new_empty(step * windows, numbers)
    for start in range(0, images, step):
        few = min(step, images - start)
        yield slice(start, start + few), buffer[: few * windows]


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, bias, table, pivots, ctx.unit = inputs
    ctx.save_for_backward(*tensors, table, pivots)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("relative windows")
    grads = relative_windows_backward(grad, *ctx.saved_tensors, ctx.unit)
    d_bias = grad.sum((0, 1)) if ctx.needs_input_grad[4] else None
    return *grads, d_bias, None, None, None


relative_windows.register_autograd(_backward, setup_context=_setup_context)
