r"""The convolution of windows of an image with what each pivot sees in its window.

:math:`v = b + \sum_o W_o \operatorname{rel}(x, x_o)` over the ball (all of space for
:math:`c = 0`), where :func:`rel <torch_geometric_hyperbolic.geometry.poincare.rel>` is
:math:`u\,a(q)\,[(p_o - p) / g_o - q\,p]`. The relative vectors are computed for a few windows at a
time, meet the weight, and are computed again for the gradient.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import relative_windows as loops
    from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

#: Fewest and most windows of a block.
FEWEST, MOST = 16, 128
#: Parts of a batch, of whole images, whose gradients of the weight are summed before they join.
PARTS = 16


@torch.library.custom_op("tgh::relative_windows", mutates_args=(), device_types="cpu")
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
        unit (float): how many times as long relative vectors are as in the ball.

    Returns:
        Tangent vectors at the origin ``[B, M, F']``. Cost :math:`O(B M K F F')`; memory for
        a few windows per thread, and for :data:`PARTS` weights in the backward pass, beside the
        result.
    """
    out = weight.new_empty(len(points), len(table), len(weight))
    inverse, rows = gap[..., 0].reciprocal(), _rows(weight)
    given = (points, inverse, c.item(), unit, table, pivots, weight, bias, rows)
    flat = out.flatten(0, 1)
    parallel(loops.products, -(-len(flat) // rows), *given, flat, always=True)
    return out


@relative_windows.register_fake
def _(points, gap, c, weight, bias, table, pivots, unit):  # type: ignore[no-untyped-def]
    return weight.new_empty(points.size(0), table.size(0), weight.size(0))


@torch.library.custom_op("tgh::relative_windows_backward", mutates_args=(), device_types="cpu")
def _relative_windows_backward(
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
    inverse, rows = gap[..., 0].reciprocal(), _rows(weight)
    d_points, d_gap = points.new_zeros(points.shape), inverse.new_zeros(inverse.shape)
    parts = min(len(points), PARTS)
    cuts = torch.arange(parts + 1) * len(points) // max(1, parts)
    d_c, d_weight = gap.new_zeros(len(points)), weight.new_empty(parts, *weight.shape)
    given = (points, inverse, c.item(), unit, table, pivots, weight, rows, grad.flatten(0, 1))
    parallel(loops.gradients, parts, *given, cuts, d_points, d_gap, d_c, d_weight, always=True)
    return d_points, d_gap.unsqueeze(-1), sum_in_order(d_c), sum_in_order(d_weight)


@_relative_windows_backward.register_fake
def _(grad, points, gap, c, weight, table, pivots, unit):  # type: ignore[no-untyped-def]
    return (
        points.new_empty(points.shape),
        gap.new_empty(gap.shape),
        torch.empty_like(c),
        weight.new_empty(weight.shape),
    )


def _rows(weight: Tensor) -> int:
    """Windows of a block."""
    return max(FEWEST, min(MOST, PRODUCT // max(1, weight.numel())))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, bias, table, pivots, ctx.unit = inputs
    ctx.save_for_backward(*tensors, table, pivots)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("relative windows")
    grads = _relative_windows_backward(grad, *ctx.saved_tensors, ctx.unit)
    d_bias = grad.sum((0, 1)) if ctx.needs_input_grad[4] else None
    return *grads, d_bias, None, None, None


relative_windows.register_autograd(_backward, setup_context=_setup_context)
