r"""Newton's step to a Frechet mean: the inverse of its Hessian, group by group.

:math:`H v = \sum_j w_j [\zeta_j v + (1 - \zeta_j) \langle u_j, v \rangle u_j]`, see
:mod:`~torch_geometric_hyperbolic.kernels.frechet_mean`.
"""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import has_values
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.group_edges import group_elements, sum_of_groups
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import frechet_mean as loops
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel


def solve_hessian_reference(
    rhs: Tensor, weight: Tensor, unit: Tensor, zeta: Tensor, index: Tensor
) -> Tensor:
    """:func:`solve_hessian` in plain PyTorch, all groups at once."""
    groups, rhs = len(rhs), rhs.contiguous()

    def hessian(v: Tensor) -> Tensor:
        spread = v[index]
        turned = zeta * spread + (1 - zeta) * dot(unit, spread) * unit
        return sum_of_groups(weight * turned, index, groups)

    solution = torch.zeros_like(rhs)
    residual = direction = rhs
    size = dot(rhs, rhs)
    enough = size * torch.finfo(rhs.dtype).eps ** 2
    for _ in range(2 * rhs.size(1)):
        image = hessian(direction)
        curvature = dot(direction, image)
        active = (size > enough) & (curvature > 0)
        if not bool(active.any()):
            break
        length = torch.where(active, size / torch.where(active, curvature, 1.0), 0.0)
        solution = solution + length * direction
        residual = residual - length * image
        previous, size = size, dot(residual, residual)
        ratio = torch.where(active, size / torch.where(active, previous, 1.0), 0.0)
        direction = residual + ratio * direction
    return solution


def solve_hessian(rhs: Tensor, weight: Tensor, unit: Tensor, zeta: Tensor, index: Tensor) -> Tensor:
    """Solve ``H v = rhs`` in every group by conjugate gradients; differentiable in ``rhs`` only,
    once where fused or compiled, otherwise in every way.

    ``H`` is symmetric with eigenvalues between 1 and the largest ``zeta``; at most ``2 n`` steps.
    """
    given = (rhs, weight, unit, zeta, index)
    if fused_engine(rhs) is None and has_values(rhs):
        return _solve(*given)
    return _solve_hessian(*given)  # steps that depend on values are not traced


@torch.library.custom_op("tgh::solve_hessian", mutates_args=())
def _solve_hessian(
    rhs: Tensor, weight: Tensor, unit: Tensor, zeta: Tensor, index: Tensor
) -> Tensor:
    return solve_hessian_reference(rhs, weight, unit, zeta, index)


@_solve_hessian.register_fake
def _(rhs, weight, unit, zeta, index):  # type: ignore[no-untyped-def]
    return rhs.new_empty(rhs.shape)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[1:])


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("the Frechet mean")
    return _solve_hessian(grad, *ctx.saved_tensors), None, None, None, None


_solve_hessian.register_autograd(_backward, setup_context=_setup_context)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(*inputs):  # type: ignore[no-untyped-def]
        return solve_hessian_reference(*inputs)

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return _solve(grad, *ctx.saved_tensors), None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *rest):  # type: ignore[no-untyped-def]
        return _solve(tangent, *ctx.saved_tensors)

    @staticmethod
    def vmap(info, in_dims, rhs, *rest):  # type: ignore[no-untyped-def]
        ones = rhs.unbind(in_dims[0])
        return torch.stack([_solve(one, *rest) for one in ones]), 0


def _solve(*inputs: Tensor) -> Tensor:
    """The reference, for every kind of differentiation in ``rhs``."""
    solution: Tensor = _Solve.apply(*inputs)  # type: ignore[no-untyped-call]
    return solution


if WITH_NUMBA:

    @_solve_hessian.register_kernel("cpu")
    def _solve_hessian_cpu(
        rhs: Tensor, weight: Tensor, unit: Tensor, zeta: Tensor, index: Tensor
    ) -> Tensor:
        if fused_engine(rhs) is None:
            return solve_hessian_reference(rhs, weight, unit, zeta, index)
        out, groups = rhs.new_empty(rhs.shape), group_elements(index, len(rhs))
        given = (rhs, weight, unit, zeta, *groups, out)
        parallel(loops.solutions, len(rhs), *given, offsets=groups[0])
        return out
