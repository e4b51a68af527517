r"""Largest value of a linear function of edges at every node, a block of edges at a time."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.edge_max import edge_max
from torch_geometric_hyperbolic.kernels.edge_vectors import EdgeVectors
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import linear_max as loops
    from torch_geometric_hyperbolic.kernels._cpu.compiled import PRODUCT
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

#: Fewest and most edges of a block.
FEWEST, MOST = 4, 256
#: Windows whose moments are summed before they join the rest, and parts of all windows whose
#: gradients of the weight are.
PART, PARTS = 128, 16


def linear_max(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""For every target and channel the edge with the largest :math:`\pm z_e`, and moments of all.

    .. math::
        z_e = A_i + W d_e

    for numbers :math:`d_e` of each edge, where :func:`edge_max` takes numbers of nodes. On the CPU
    the products are never stored for all edges: the backward pass makes them again.
    :math:`O(E D F)` time and :math:`O(E D + N F)` memory there, otherwise :math:`O(E F)`.

    Args:
        absolute (torch.Tensor): :math:`A`, ``[M, F]``, float32 or float64.
        given (torch.Tensor): :math:`d`, grouped by target, ``[E, D]``, of the same dtype.
        weight (torch.Tensor): :math:`W`, ``[F, D]``, of the same dtype.
        rowptr (torch.Tensor): offsets of each target's edges, ``[M + 1]``, int64.
        sign (torch.Tensor): 1 for the largest, -1 for the smallest value, ``[F]``, float64.

    Returns:
        As :func:`edge_max`. Differentiable once in the first three arguments.

    Example:
        >>> import torch
        >>> absolute, given, rowptr = torch.zeros(1, 1), torch.rand(3, 2), torch.tensor([0, 3])
        >>> sign = torch.ones(1, dtype=torch.float64)
        >>> z, *_ = linear_max(absolute, given, torch.tensor([[2.0, 0.0]]), rowptr, sign)
        >>> torch.equal(z[0, 0], 2 * given[:, 0].max())
        True
    """
    if fused_engine(absolute) == "numba":
        return _linear_max(absolute, given, weight, rowptr, sign)
    values = EdgeVectors.stored(given @ weight.t(), rowptr)
    return edge_max(*values.terms(absolute, rowptr), sign)


def _rows(weight: Tensor) -> int:
    """Edges of a block."""
    return max(FEWEST, min(MOST, PRODUCT // max(1, weight.numel())))


@torch.library.custom_op("tgh::linear_max", mutates_args=(), device_types="cpu")
def _linear_max(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    z, edge, total, _ = _outputs(absolute, given, weight, rowptr, sign)
    parts = -(-len(absolute) // PART)
    moments = total.new_empty(parts, 2, len(total))
    inputs = (absolute, given, weight, rowptr, sign, PART, _rows(weight))
    parallel(loops.extremes, parts, *inputs, z, edge, moments, always=True)
    total, squares = moments.sum(0)
    return z, edge, total.clone(), squares.clone()


@_linear_max.register_fake
def _outputs(
    absolute: Tensor, given: Tensor, weight: Tensor, rowptr: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    edge = absolute.new_empty(absolute.shape, dtype=torch.int32)
    total = absolute.new_empty(absolute.size(1), dtype=torch.float64)
    return absolute.new_empty(absolute.shape), edge, total, torch.empty_like(total)


@torch.library.custom_op("tgh::linear_max_backward", mutates_args=(), device_types="cpu")
def _linear_max_backward(
    absolute: Tensor,
    given: Tensor,
    weight: Tensor,
    rowptr: Tensor,
    edge: Tensor,
    grad_z: Tensor,
    grad_total: Tensor,
    grad_squares: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    d_absolute = torch.zeros(absolute.shape, dtype=torch.float64)
    parts = max(1, min(len(absolute), PARTS))
    cuts = torch.arange(parts + 1) * len(absolute) // parts
    d_given, d_weight = given.new_empty(given.shape), weight.new_empty(parts, *weight.shape)
    inputs = (absolute, given, weight, rowptr, edge, grad_z, grad_total, 2 * grad_squares)
    outputs = (d_absolute, d_given, d_weight)
    parallel(loops.gradients, parts, *inputs, cuts, _rows(weight), *outputs, always=True)
    return d_absolute.to(absolute.dtype), d_given, sum_in_order(d_weight)


@_linear_max_backward.register_fake
def _(absolute, given, weight, *args):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (absolute, given, weight))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:4], output[1])


def _backward(ctx, grad_z, grad_edge, grad_total, grad_squares):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("linear_max")
    grads = _linear_max_backward(*ctx.saved_tensors, grad_z, grad_total, grad_squares)
    return *grads, None, None


_linear_max.register_autograd(_backward, setup_context=_setup_context)
