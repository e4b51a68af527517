r"""The convolution of windows of an image with what each pivot sees in its window.

:math:`v = b + \sum_o W_o \operatorname{rel}(x, x_o)` over the ball (all of space for
:math:`c = 0`), where :func:`rel <torch_geometric_hyperbolic.geometry.poincare.rel>` is
:math:`u\,a(q)\,[(p_o - p) / g_o - q\,p]`. The relative vectors are computed for a few windows at a
time, meet the weight, and are computed again for the gradient.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear, pad
from torch.nn.grad import conv2d_weight

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import relative_windows as loops
    from torch_geometric_hyperbolic.kernels._cpu.threads import as_arrays, in_threads

#: Numbers of relative vectors that a thread holds at a time.
BLOCK = 2**19
#: Parts of a batch that threads share, and the windows that are worth one.
PARTS, LEAST = 16, 256
#: Rows come to oneDNN as the pixels of so many images; of fewer PyTorch makes products by MKL.
DEALT = 16
#: Numbers up to which a product by MKL is quicker called.
SMALL = 2**16


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
        unit (float): length of a relative vector over that in the ball.

    Returns:
        Tangent vectors at the origin ``[B, M, F']``. Cost :math:`O(B M K F F')`; memory for
        :data:`BLOCK` numbers per thread, and for :data:`PARTS` weights in the backward pass, beside
        the result.
    """
    out = weight.new_empty(len(points), len(table), len(weight))
    inverse = gap[..., 0].reciprocal()
    given = as_arrays(points, inverse, c.item(), unit, table, pivots)
    rows = out.flatten(0, 1)
    count = _rows(weight, len(rows))

    def task(block: int) -> None:
        some = rows[block * count : (block + 1) * count]
        vectors = weight.new_empty(len(some), weight.size(1))
        loops.fill(block * count, *given, *as_arrays(vectors))
        some.copy_(_products(vectors, weight, bias))

    in_threads(task, -(-len(rows) // count))
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
    inverse = gap[..., 0].reciprocal()
    given = as_arrays(points, inverse, c.item(), unit, table, pivots)
    d_points, d_gap = points.new_zeros(points.shape), inverse.new_zeros(inverse.shape)
    d_c, pulls = gap.new_zeros(len(points)), grad.flatten(0, 1)
    count = _rows(weight, len(pulls))
    parts = min(len(points), PARTS, -(-len(pulls) // count))
    d_weight = weight.new_zeros(parts, *weight.shape)
    arrays = as_arrays(d_points, d_gap, d_c)

    def task(part: int) -> None:
        first, last = (len(points) * p // parts * len(table) for p in (part, part + 1))
        for start in range(first, last, count):
            pull = pulls[start : min(start + count, last)]
            vectors = _products(pull, weight.t())
            loops.refill(start, *given, *as_arrays(vectors), *arrays)
            d_weight[part] += _sums(pull, vectors)

    in_threads(task, parts)
    return d_points, d_gap.unsqueeze(-1), sum_in_order(d_c), sum_in_order(d_weight)


@_relative_windows_backward.register_fake
def _(grad, points, gap, c, weight, table, pivots, unit):  # type: ignore[no-untyped-def]
    return (
        points.new_empty(points.shape),
        gap.new_empty(gap.shape),
        torch.empty_like(c),
        weight.new_empty(weight.shape),
    )


def _rows(weight: Tensor, windows: int) -> int:
    """Windows of a block: as many as fit, but no more than leave each part some."""
    fit = BLOCK // max(1, weight.size(1))
    return DEALT * max(1, min(fit, max(LEAST, windows // PARTS)) // DEALT)


def _by_onednn(rows: Tensor) -> bool:
    """Whether products are worth a call of oneDNN, and it may be called."""
    usable = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    return bool(usable) and rows.dtype == torch.float32 and rows.numel() > SMALL


def _products(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows times the transposed weight, plus the bias."""
    if not _by_onednn(rows):
        return linear(rows, weight, bias)
    out = conv2d(_dealt(rows), weight[:, :, None, None], bias)
    return out.movedim(1, -1).reshape(-1, len(weight))[: len(rows)]


def _sums(pull: Tensor, rows: Tensor) -> Tensor:
    """Outer products of rows of both, summed."""
    if not _by_onednn(rows):
        return pull.t() @ rows
    size = (pull.size(1), rows.size(1), 1, 1)
    return conv2d_weight(_dealt(rows), size, _dealt(pull))[..., 0, 0]


def _dealt(rows: Tensor) -> Tensor:
    """Rows as pixels of images whose convolutions are oneDNN's, which takes half the time of a
    product by MKL where that does not know the processor.
    """
    more = -len(rows) % DEALT
    padded = pad(rows, (0, 0, 0, more)) if more else rows
    return padded.view(DEALT, -1, 1, rows.size(1)).movedim(-1, 1)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, bias, table, pivots, ctx.unit = inputs
    ctx.save_for_backward(*tensors, table, pivots)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("relative windows")
    grads = _relative_windows_backward(grad, *ctx.saved_tensors, ctx.unit)
    d_bias = grad.sum((0, 1)) if ctx.needs_input_grad[4] else None
    return *grads, d_bias, None, None, None


relative_windows.register_autograd(_backward, setup_context=_setup_context)
