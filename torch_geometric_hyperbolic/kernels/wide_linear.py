r"""A linear map whose results are to be subtracted from each other: in float64."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import wide_linear as loops
    from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

#: Fewest and most rows of a block; weights too large for that are left to PyTorch.
FEWEST, MOST = 16, 1024
#: Parts of the rows whose gradients of the weight are summed before they join.
PARTS = 16


def wide_linear(x: Tensor, weight: Tensor) -> Tensor:
    r""":math:`x W^\top` in float64, without a copy of ``x`` in float64 on the CPU.

    Args:
        x (torch.Tensor): ``[N, F]``, float32 or float64.
        weight (torch.Tensor): ``[F', F]``, float32 or float64.

    Returns:
        ``[N, F']``, float64. :math:`O(N F F')`; differentiable once where fused.

    Example:
        >>> import torch
        >>> wide_linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.5]]))
        tensor([[1.5000]], dtype=torch.float64)
    """
    if fused_engine(x) == "numba" and x.dim() == 2 and 0 < weight.numel() <= PRODUCT // FEWEST:
        return _wide_linear(x, weight)
    return linear(x.double(), weight.double())


def _blocks(x: Tensor, weight: Tensor) -> tuple[int, int]:
    """How many rows a block has, and how many blocks there are."""
    rows = min(MOST, PRODUCT // weight.numel())
    return rows, -(-len(x) // rows)


@torch.library.custom_op("tgh::wide_linear", mutates_args=(), device_types="cpu")
def _wide_linear(x: Tensor, weight: Tensor) -> Tensor:
    out = torch.empty(len(x), len(weight), dtype=torch.float64)
    rows, blocks = _blocks(x, weight)
    parallel(loops.products, blocks, x, weight.double().t(), rows, out, always=True)
    return out


@_wide_linear.register_fake
def _(x, weight):  # type: ignore[no-untyped-def]
    return x.new_empty(x.size(0), weight.size(0), dtype=torch.float64)


@torch.library.custom_op("tgh::wide_linear_backward", mutates_args=(), device_types="cpu")
def _wide_linear_backward(x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    d_x = x.new_empty(x.shape)
    rows, blocks = _blocks(x, weight)
    parts = min(blocks, PARTS)
    cuts = torch.arange(parts + 1) * blocks // max(1, parts)
    d_weight = torch.empty(parts, *weight.shape, dtype=torch.float64)
    given = (x, weight.double(), rows, grad, cuts)
    parallel(loops.gradients, parts, *given, d_x, d_weight, always=True)
    return d_x, sum_in_order(d_weight).to(weight.dtype)


@_wide_linear_backward.register_fake
def _(x, weight, grad):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("wide_linear")
    return _wide_linear_backward(*ctx.saved_tensors, grad)


_wide_linear.register_autograd(_backward, setup_context=_setup_context)
