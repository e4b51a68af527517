r"""The maps along rays that every layer begins and ends with, in one pass over the points."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.kernels._space import constants, curvature, fuses, fuses_points
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA, WITH_TRITON

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import radial
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel
if WITH_TRITON:
    from torch_geometric_hyperbolic.kernels._triton import radial as triton_radial


def ball_and_log(
    x: Tensor, manifold: Manifold, c: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """``(*manifold.to_ball(x), manifold.log0(x))``, equal up to rounding.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[..., ambient_dim]``, float32 or float64.
        manifold (Manifold): their space.
        c (torch.Tensor, optional): its :func:`curvature`, as for :func:`to_ball`.

    Returns:
        Points of the ball ``[..., channels]`` (float64 for the hyperboloid), their gaps
        ``[..., 1]`` in float64, and tangent vectors at the origin ``[..., channels]``.
        :math:`O(N F)`; differentiable once where fused.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> ball_and_log(torch.tensor([[0.5]]), PoincareBall())
        (tensor([[0.5000]]), tensor([[0.7500]], dtype=torch.float64), tensor([[0.5493]]))
    """
    if not fuses_points(x, manifold):
        return (*manifold.to_ball(x), manifold.log0(x))
    rows, c = x.flatten(0, -2), curvature(manifold, x) if c is None else c
    point, gap, log = _ball_and_log(rows, c, isinstance(manifold, Lorentz))
    shape = x.shape[:-1]
    return (
        point.unflatten(0, shape),
        gap.unflatten(0, shape),
        log.unflatten(0, shape),
    )


def exp0(v: Tensor, manifold: Manifold) -> Tensor:
    """``manifold.exp0(v)``, equal up to rounding.

    Args:
        v (torch.Tensor): tangent vectors at the origin, ``[..., channels]``.
        manifold (Manifold): the space.

    Returns:
        Points on ``manifold``, ``[..., ambient_dim]``. :math:`O(N F)`; differentiable once where
        fused.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> exp0(torch.tensor([[0.5493]]), PoincareBall())
        tensor([[0.5000]])
    """
    if not fuses(v, manifold):
        return manifold.exp0(v)
    rows = v.flatten(0, -2)
    x = _exp0(rows, curvature(manifold, v), isinstance(manifold, Lorentz))
    return x.unflatten(0, v.shape[:-1])


def log0(x: Tensor, manifold: Manifold) -> Tensor:
    """``manifold.log0(x)``, equal up to rounding.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[..., ambient_dim]``.
        manifold (Manifold): their space.

    Returns:
        Tangent vectors at the origin, ``[..., channels]``. :math:`O(N F)`; differentiable once
        where fused.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> log0(torch.tensor([[0.5]]), PoincareBall())
        tensor([[0.5493]])
    """
    return ball_and_log(x, manifold)[2] if fuses_points(x, manifold) else manifold.log0(x)


@torch.library.custom_op("tgh::ball_and_log", mutates_args=(), device_types="cpu")
def _ball_and_log(x: Tensor, c: Tensor, hyperboloid: bool) -> tuple[Tensor, Tensor, Tensor]:
    outputs = _ball_and_log_outputs(x, c, hyperboloid)
    parallel(radial.ball_and_log, len(x), x, *constants(x, c), hyperboloid, *outputs)
    return outputs


@_ball_and_log.register_fake
def _ball_and_log_outputs(x: Tensor, c: Tensor, hyperboloid: bool) -> tuple[Tensor, Tensor, Tensor]:
    size = (x.size(0), x.size(1) - int(hyperboloid))  # torch 2.6 traces no bool in a size
    point = x.new_empty(size, dtype=torch.float64 if hyperboloid else x.dtype)
    return point, x.new_empty(x.size(0), 1, dtype=torch.float64), x.new_empty(size)


@torch.library.custom_op("tgh::ball_and_log_backward", mutates_args=(), device_types="cpu")
def _ball_and_log_backward(
    x: Tensor, c: Tensor, hyperboloid: bool, grad_point: Tensor, grad_gap: Tensor, grad_log: Tensor
) -> tuple[Tensor, Tensor]:
    d_x, d_c = _like(x), torch.empty(len(x), dtype=torch.float64)
    grads = (grad_point, grad_gap, grad_log)
    parallel(
        radial.ball_and_log_gradients, len(x), x, *constants(x, c), hyperboloid, *grads, d_x, d_c
    )
    return d_x, sum_in_order(d_c)


@_ball_and_log_backward.register_fake
def _(x, c, hyperboloid, grad_point, grad_gap, grad_log):  # type: ignore[no-untyped-def]
    return _like(x), torch.empty_like(c)


@torch.library.custom_op("tgh::exp0", mutates_args=(), device_types="cpu")
def _exp0(v: Tensor, c: Tensor, hyperboloid: bool) -> Tensor:
    x = _exp0_output(v, c, hyperboloid)
    parallel(radial.exp0, len(v), v, *constants(v, c), hyperboloid, x)
    return x


@_exp0.register_fake
def _exp0_output(v: Tensor, c: Tensor, hyperboloid: bool) -> Tensor:
    return v.new_empty(v.size(0), v.size(1) + int(hyperboloid))


@torch.library.custom_op("tgh::exp0_backward", mutates_args=(), device_types="cpu")
def _exp0_backward(v: Tensor, c: Tensor, hyperboloid: bool, grad: Tensor) -> tuple[Tensor, Tensor]:
    d_v, d_c = _like(v), torch.empty(len(v), dtype=torch.float64)
    parallel(radial.exp0_gradients, len(v), v, *constants(v, c), hyperboloid, grad, d_v, d_c)
    return d_v, sum_in_order(d_c)


@_exp0_backward.register_fake
def _(v, c, hyperboloid, grad):  # type: ignore[no-untyped-def]
    return _like(v), torch.empty_like(c)


def _like(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    x, c, ctx.hyperboloid = inputs
    ctx.save_for_backward(x, c)


def _backward_ball_and_log(ctx, *grads):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("ball_and_log")
    return (*_ball_and_log_backward(*ctx.saved_tensors, ctx.hyperboloid, *grads), None)


def _backward_exp0(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("exp0")
    return (*_exp0_backward(*ctx.saved_tensors, ctx.hyperboloid, grad), None)


_ball_and_log.register_autograd(_backward_ball_and_log, setup_context=_setup_context)
_exp0.register_autograd(_backward_exp0, setup_context=_setup_context)


if WITH_TRITON:

    @_ball_and_log.register_kernel("cuda")
    def _ball_and_log_cuda(
        x: Tensor, c: Tensor, hyperboloid: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        outputs = _ball_and_log_outputs(x, c, hyperboloid)
        triton_radial.ball_and_log(x, c, hyperboloid, *outputs)
        return outputs

    @_ball_and_log_backward.register_kernel("cuda")
    def _ball_and_log_backward_cuda(
        x: Tensor, c: Tensor, hyperboloid: bool, *grads: Tensor
    ) -> tuple[Tensor, Tensor]:
        d_x, d_c = _like(x), c.new_empty(len(x))
        triton_radial.ball_and_log_gradients(x, c, hyperboloid, *grads, d_x, d_c)
        return d_x, d_c.sum()

    @_exp0.register_kernel("cuda")
    def _exp0_cuda(v: Tensor, c: Tensor, hyperboloid: bool) -> Tensor:
        x = _exp0_output(v, c, hyperboloid)
        triton_radial.exp0(v, c, hyperboloid, x)
        return x

    @_exp0_backward.register_kernel("cuda")
    def _exp0_backward_cuda(
        v: Tensor, c: Tensor, hyperboloid: bool, grad: Tensor
    ) -> tuple[Tensor, Tensor]:
        d_v, d_c = _like(v), c.new_empty(len(v))
        triton_radial.exp0_gradients(v, c, hyperboloid, grad, d_v, d_c)
        return d_v, d_c.sum()
