r"""The point reached along a vector in one pass: see :meth:`Manifold.move`."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.to_ball import as_rows, num_blocks, runs_on
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import ball
    from torch_geometric_hyperbolic.kernels._cpu.compiled import parallel


def move(x: Tensor, v: Tensor, manifold: Manifold) -> Tensor:
    r"""The point reached from ``x`` along ``v``, as ``manifold.move(x, v)``.

    One pass over memory for float32 points of the Poincare ball on the CPU; any others take the
    manifold's own formula.

    Args:
        x (torch.Tensor): points of ``manifold``, ``[..., ambient_dim]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``.
        manifold (Manifold): the space of ``x``.

    Returns:
        Points of ``manifold``, ``[..., ambient_dim]``. Cost :math:`O(n)` per point.

    Example:
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> move(torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2), PoincareBall())
        tensor([[0.5000, 0.5000]])
    """
    if not runs_on(manifold, x, v):
        return manifold.move(x, v)
    return ball_move(x, v, torch.as_tensor(manifold.c, dtype=torch.float64))


@torch.library.custom_op("tgh::ball_move", mutates_args=())
def ball_move(x: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """Points and vectors of one shape in float32, ``c`` float64."""
    out = x.new_empty(x.shape)
    parallel(ball.move, len(as_rows(out)), as_rows(x), as_rows(v), c.item(), as_rows(out))
    return out


@ball_move.register_fake
def _(x, v, c):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


@torch.library.custom_op("tgh::ball_move_backward", mutates_args=())
def ball_move_backward(
    grad: Tensor, x: Tensor, v: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by points, vectors and curvature."""
    d_x, d_v = x.new_empty(x.shape), v.new_empty(v.shape)
    blocks = num_blocks(as_rows(d_x))
    d_c = c.new_empty(blocks)
    rows = as_rows(grad), as_rows(x), as_rows(v)
    parallel(ball.grad_move, blocks, *rows, c.item(), as_rows(d_x), as_rows(d_v), d_c)
    return d_x, d_v, d_c.sum()


@ball_move_backward.register_fake
def _(grad, x, v, c):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), v.new_empty(v.shape), torch.empty_like(c)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("the fused move")
    return ball_move_backward(grad, *ctx.saved_tensors)


ball_move.register_autograd(_backward, setup_context=_setup_context)
