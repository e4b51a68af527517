"""A scale, a shift and an activation of chosen values, in one pass."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import affine
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import affine as triton_affine


@torch.library.custom_op("tgh::affine_activation", mutates_args=())
def affine_activation(
    z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float
) -> Tensor:
    r""":math:`y = a z + b` where positive, ``slope`` times it elsewhere; 0 where there is no edge.

    Computed in float64; :math:`O(M F)`.

    Args:
        z (torch.Tensor): values, ``[M, F]``, float32 or float64.
        edge (torch.Tensor): the edges they came from, ``[M, F]``, negative for none.
        scale (torch.Tensor): :math:`a`, ``[F]``, float64.
        shift (torch.Tensor): :math:`b`, ``[F]``, float64.
        slope (float): of the activation: 0 for a ReLU, 1 for none.

    Returns:
        ``[M, F]``, as ``z``; differentiable once in ``z``, ``scale`` and ``shift``.
    """
    y = scale * z + shift
    low = slope * y if slope != 0 else 0.0
    y = torch.where(y < 0, low, y)
    return torch.where(edge >= 0, y, 0.0).to(z.dtype)


@affine_activation.register_fake
def _(z, edge, scale, shift, slope):  # type: ignore[no-untyped-def]
    return z.new_empty(z.shape)


@torch.library.custom_op("tgh::affine_activation_backward", mutates_args=())
def _affine_activation_backward(
    z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients by the values, and by scale and shift, ``[2, F]``."""
    by_y = torch.where(scale * z + shift > 0, grad, slope * grad).double()
    by_y = torch.where(edge >= 0, by_y, 0.0)
    return (scale * by_y).to(z.dtype), torch.stack([(by_y * z).sum(0), by_y.sum(0)])


@_affine_activation_backward.register_fake
def _(z, edge, scale, shift, slope, grad):  # type: ignore[no-untyped-def]
    return z.new_empty(z.shape), scale.new_empty(2, scale.size(0))


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, ctx.slope = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("affine_activation")
    d_z, (d_scale, d_shift) = _affine_activation_backward(*ctx.saved_tensors, ctx.slope, grad)
    return d_z, None, d_scale, d_shift, None


affine_activation.register_autograd(_backward, setup_context=_setup_context)


if WITH_NUMBA:

    @affine_activation.register_kernel("cpu")
    def _affine_activation_cpu(
        z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float
    ) -> Tensor:
        out = z.new_empty(z.shape)
        parallel(affine.activate, len(z), z, edge, scale, shift, slope, out)
        return out

    @_affine_activation_backward.register_kernel("cpu")
    def _affine_activation_backward_cpu(
        z: Tensor, edge: Tensor, scale: Tensor, shift: Tensor, slope: float, grad: Tensor
    ) -> tuple[Tensor, Tensor]:
        blocks = -(-len(z) // affine.BLOCK)
        d_z, sums = z.new_empty(z.shape), scale.new_empty(blocks, 2, len(scale))
        parallel(affine.gradients, blocks, z, edge, scale, shift, slope, grad, d_z, sums)
        return d_z, sum_in_order(sums)


if WITH_TRITON:
    affine_activation.register_kernel("cuda", triton_affine.activate)
    _affine_activation_backward.register_kernel("cuda", triton_affine.activate_gradients)
