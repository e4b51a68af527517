r"""The conformal picture of points in one pass: see :meth:`Manifold.to_ball`."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import convert, poincare
from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.kernels._space import constants, curvature, fuses_points
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.radial import ball_and_log
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import radial
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel


#: What :meth:`Manifold.to_ball` computes, by a curvature that is given.
FORMULAS = {PoincareBall: poincare.with_wide_gap, Lorentz: convert.lorentz_to_ball}


def to_ball(x: Tensor, manifold: Manifold, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""``manifold.to_ball(x)``, equal up to rounding.

    One pass over points of the Poincare ball and the hyperboloid where there is an engine; any
    others take the manifold's own formula.

    Args:
        x (torch.Tensor): points of ``manifold``, ``[..., ambient_dim]``.
        manifold (Manifold): the space of ``x``.
        c (torch.Tensor, optional): its :func:`curvature`, where other operators are given the same
            one: the gradients by a learnable curvature, which may cancel, are then added in float64
            before the parameter's dtype rounds them.

    Returns:
        Points of the ball ``[..., channels]`` (float64 for the hyperboloid) and their gaps
        ``[..., 1]`` in float64. :math:`O(N F)`; differentiable once where fused.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> points, gap = to_ball(torch.tensor([[0.5, 0.5]]), PoincareBall())
        >>> gap
        tensor([[0.5000]], dtype=torch.float64)
    """
    if not fuses_points(x, manifold):
        formula = FORMULAS.get(type(manifold))
        return manifold.to_ball(x) if c is None or formula is None else formula(x, c=c)
    if fused_engine(x) == "triton":
        return ball_and_log(x, manifold, c)[:2]  # bound by memory, so the logarithm costs nothing
    rows, c = x.flatten(0, -2), curvature(manifold, x) if c is None else c
    point, gap = _to_ball(rows, c, isinstance(manifold, Lorentz))
    return point.unflatten(0, x.shape[:-1]), gap.unflatten(0, x.shape[:-1])


@torch.library.custom_op("tgh::to_ball", mutates_args=(), device_types="cpu")
def _to_ball(x: Tensor, c: Tensor, hyperboloid: bool) -> tuple[Tensor, Tensor]:
    outputs = _outputs(x, c, hyperboloid)
    parallel(radial.to_ball, len(x), x, *constants(x, c), hyperboloid, *outputs)
    return outputs


@_to_ball.register_fake
def _outputs(x: Tensor, c: Tensor, hyperboloid: bool) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if hyperboloid else x.dtype
    point = x.new_empty(x.size(0), x.size(1) - int(hyperboloid), dtype=dtype)
    return point, x.new_empty(x.size(0), 1, dtype=torch.float64)


@torch.library.custom_op("tgh::to_ball_backward", mutates_args=(), device_types="cpu")
def _to_ball_backward(
    x: Tensor, c: Tensor, hyperboloid: bool, grad_point: Tensor, grad_gap: Tensor
) -> tuple[Tensor, Tensor]:
    d_x, d_c = x.new_empty(x.shape), c.new_empty(len(x))
    grads = (grad_point, grad_gap)
    parallel(radial.to_ball_gradients, len(x), x, *constants(x, c), hyperboloid, *grads, d_x, d_c)
    return d_x, sum_in_order(d_c)


@_to_ball_backward.register_fake
def _(x, c, hyperboloid, grad_point, grad_gap):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), torch.empty_like(c)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    x, c, ctx.hyperboloid = inputs
    ctx.save_for_backward(x, c)


def _backward(ctx, *grads):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("to_ball")
    return (*_to_ball_backward(*ctx.saved_tensors, ctx.hyperboloid, *grads), None)


_to_ball.register_autograd(_backward, setup_context=_setup_context)
