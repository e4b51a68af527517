r"""The conformal picture of points in one pass: see :meth:`Manifold.to_ball`."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.manifolds import Manifold, PoincareBall
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import ball
    from torch_geometric_hyperbolic.kernels._cpu.compiled import parallel


def to_ball(x: Tensor, manifold: Manifold) -> tuple[Tensor, Tensor]:
    r"""Points of the ball and their gaps, as ``manifold.to_ball(x)``.

    One pass over memory for float32 points of the Poincare ball on the CPU; any others take the
    manifold's own formula.

    Args:
        x (torch.Tensor): points of ``manifold``, ``[..., ambient_dim]``.
        manifold (Manifold): the space of ``x``.

    Returns:
        Points of the ball ``[..., n]`` and their gaps ``[..., 1]`` in float64. Cost :math:`O(n)`
        per point.

    Example:
        >>> points, gap = to_ball(torch.tensor([[0.5, 0.5]]), PoincareBall())
        >>> gap
        tensor([[0.5000]], dtype=torch.float64)
    """
    if not runs_on(manifold, x):
        return manifold.to_ball(x)
    return project(x, torch.as_tensor(manifold.c, dtype=torch.float64))


def runs_on(manifold: Manifold, *points: Tensor) -> bool:
    """Whether the fused operators of the ball take these points."""
    return (
        isinstance(manifold, PoincareBall)
        and all(x.dtype == torch.float32 for x in points)
        and fused_engine(points[0]) == "numba"
    )


@torch.library.custom_op("tgh::project", mutates_args=())
def project(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Projected points and their gaps, ``x`` float32 and ``c`` float64."""
    points = x.new_empty(x.shape)
    gap = x.new_empty(*x.shape[:-1], 1, dtype=torch.float64)
    rows = as_rows(x)
    parallel(ball.project, len(rows), rows, c.item(), as_rows(points), gap.flatten())
    return points, gap


@project.register_fake
def _(x, c):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), x.new_empty(*x.shape[:-1], 1, dtype=torch.float64)


def as_rows(x: Tensor) -> Tensor:
    """``[..., n]`` as ``[N, n]``, contiguous."""
    return x.contiguous().flatten(0, -2)


def num_blocks(rows: Tensor) -> int:
    """Number of blocks of rows, each with its own sum."""
    return -(-len(rows) // ball.BLOCK)


@torch.library.custom_op("tgh::project_backward", mutates_args=())
def project_backward(
    grad_points: Tensor, grad_gap: Tensor, x: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients by points and curvature."""
    rows, d_x = as_rows(x), x.new_empty(x.shape)
    blocks = num_blocks(rows)
    d_c = c.new_empty(blocks)
    grads = as_rows(grad_points), grad_gap.contiguous().flatten()
    parallel(ball.grad_project, blocks, *grads, rows, c.item(), as_rows(d_x), d_c)
    return d_x, d_c.sum()


@project_backward.register_fake
def _(grad_points, grad_gap, x, c):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), torch.empty_like(c)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_points, grad_gap):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("the fused ball")
    return project_backward(grad_points, grad_gap, *ctx.saved_tensors)


project.register_autograd(_backward, setup_context=_setup_context)
