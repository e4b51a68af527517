r"""A batch norm as a scale and a shift of every channel, from the sums of its values."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import or_zeros, refuse_second_derivatives
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import affine
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import affine as triton_affine


@torch.library.custom_op("tgh::batch_affine", mutates_args=())
def batch_affine(
    total: Tensor, squares: Tensor, weight: Tensor, bias: Tensor, count: int, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""What a batch norm in training multiplies values by and adds to them.

    .. math::
        \mu = S / n, \quad \sigma^2 = \max(Q / n - \mu^2, 0), \quad
        a = w / \sqrt{\sigma^2 + \epsilon}, \quad b = b_0 - \mu a

    for the sums :math:`S, Q` of ``count`` values and of their squares. In float64.

    Args:
        total (torch.Tensor): :math:`S`, ``[F]``, float64.
        squares (torch.Tensor): :math:`Q`, ``[F]``, float64.
        weight (torch.Tensor): :math:`w`, ``[F]``.
        bias (torch.Tensor): :math:`b_0`, ``[F]``.
        count (int): :math:`n`.
        eps (float): :math:`\epsilon`.

    Returns:
        :math:`a`, :math:`b`, :math:`\mu` and :math:`\sigma^2`, ``[F]``, float64; once
        differentiable in the four tensors.
    """
    mean = total / count
    variance = (squares / count - mean.square()).relu()  # rounding may make it negative
    scale = (variance + eps).rsqrt() * weight
    return scale, bias - mean * scale, mean, variance


@batch_affine.register_fake
def _outputs(total, squares, weight, bias, count, eps):  # type: ignore[no-untyped-def]
    return tuple(torch.empty_like(total) for _ in range(4))


@torch.library.custom_op("tgh::batch_affine_backward", mutates_args=())
def _batch_affine_backward(
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    grad_scale: Tensor,
    grad_shift: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
    count: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inverse = (variance + eps).rsqrt()
    of_scale = grad_scale - mean * grad_shift
    of_variance = grad_variance - 0.5 * inverse**3 * weight * of_scale
    of_variance = torch.where(variance > 0, of_variance, 0.0)
    of_mean = grad_mean - inverse * weight * grad_shift - 2 * mean * of_variance
    of_weight = (inverse * of_scale).to(weight.dtype)
    return of_mean / count, of_variance / count, of_weight, grad_shift.to(weight.dtype, copy=True)


@_batch_affine_backward.register_fake
def _gradients(mean, variance, weight, *others):  # type: ignore[no-untyped-def]
    return tuple(torch.empty_like(t) for t in (mean, variance, weight, weight))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    _, _, weight, _, *ctx.numbers = inputs
    ctx.save_for_backward(output[2], output[3], weight)
    ctx.set_materialize_grads(False)  # nobody differentiates by the moments


def _backward(ctx, *grads):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("batch_affine")
    mean, *others = ctx.saved_tensors
    given = [or_zeros(grad, mean.shape, mean) for grad in grads]
    return (*_batch_affine_backward(mean, *others, *given, *ctx.numbers), None, None)


batch_affine.register_autograd(_backward, setup_context=_setup_context)

if WITH_NUMBA:

    @batch_affine.register_kernel("cpu")
    def _batch_affine_cpu(*given: Any) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = _outputs(*given)
        parallel(affine.of_batch, len(outputs[0]), *given, *outputs)
        return outputs

    @_batch_affine_backward.register_kernel("cpu")
    def _batch_affine_backward_cpu(*given: Any) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = _gradients(*given)
        parallel(affine.of_batch_gradients, len(outputs[0]), *given, *outputs)
        return outputs


if WITH_TRITON:
    batch_affine.register_kernel("cuda", triton_affine.batch_affine)
    _batch_affine_backward.register_kernel("cuda", triton_affine.batch_affine_gradients)
