r"""The point reached along a vector in one pass: see :meth:`Manifold.move`."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives, sum_in_order
from torch_geometric_hyperbolic.kernels._space import constants, curvature, fuses_points
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import move as loops
    from torch_geometric_hyperbolic.kernels._cpu import pixels
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel


def move(x: Tensor, v: Tensor, manifold: Manifold) -> Tensor:
    r"""The point reached from ``x`` along ``v``: ``manifold.move(x, v)``, equal up to rounding.

    One pass over as many points as vectors of the Poincare ball and the hyperboloid on the CPU; any
    others take the manifold's own formula.

    Args:
        x (torch.Tensor): points of ``manifold``, ``[..., ambient_dim]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., channels]``.
        manifold (Manifold): the space of ``x``.

    Returns:
        Points of ``manifold``, ``[..., ambient_dim]``. :math:`O(N F)`; differentiable once where
        fused.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> move(torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2), PoincareBall())
        tensor([[0.5000, 0.5000]])
    """
    alike = x.shape == (*v.shape[:-1], manifold.ambient_dim(v.size(-1))) and x.dtype == v.dtype
    if not (alike and fuses_points(x, manifold) and fused_engine(x) == "numba"):
        return manifold.move(x, v)
    return _move(x, v, curvature(manifold, x), isinstance(manifold, Lorentz))


@torch.library.custom_op("tgh::move", mutates_args=(), device_types="cpu")
def _move(x: Tensor, v: Tensor, c: Tensor, hyperboloid: bool) -> Tensor:
    out = x.new_empty(x.shape)
    given, rows = _rows(x, v), _rows(out)
    parallel(loops.move, len(rows[0]), *given, *constants(x, c), hyperboloid, *rows)
    return out


@_move.register_fake
def _(x, v, c, hyperboloid):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


@torch.library.custom_op("tgh::move_backward", mutates_args=(), device_types="cpu")
def _move_backward(
    grad: Tensor, x: Tensor, v: Tensor, c: Tensor, hyperboloid: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by points, vectors and curvature, the last summed block by block."""
    given = _rows(pixels.contiguous(grad), x, v)
    blocks = -(-len(given[0]) // loops.BLOCK)
    d_x, d_v, d_c = x.new_empty(x.shape), v.new_empty(v.shape), c.new_empty(blocks)
    grads = (*_rows(d_x, d_v), d_c)
    parallel(loops.move_gradients, blocks, *given, *constants(x, c), hyperboloid, *grads)
    return d_x, d_v, sum_in_order(d_c)


@_move_backward.register_fake
def _(grad, x, v, c, hyperboloid):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), v.new_empty(v.shape), torch.empty_like(c)


def _rows(*tensors: Tensor) -> list[Tensor]:
    """All leading dimensions as one."""
    return [tensor.flatten(0, -2) for tensor in tensors]


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, ctx.hyperboloid = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("move")
    return (*_move_backward(grad, *ctx.saved_tensors, ctx.hyperboloid), None)


_move.register_autograd(_backward, setup_context=_setup_context)
