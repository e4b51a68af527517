r"""Weighted means of groups of points, and how far the points lie from them."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.kernels._autograd import refuse_second_derivatives
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.kernels.group_edges import group_elements, sum_of_groups
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import group_moments as loops
    from torch_geometric_hyperbolic.kernels._cpu.threads import parallel

Moments = tuple[Tensor, Tensor, Tensor]


def group_moments(points: Tensor, weight: Tensor, index: Tensor, num_groups: int) -> Moments:
    r"""Weighted means of groups of points, variances about them, and the weights' sums: as many of
    each group as a point has weights.

    .. math::
        M_{gs} = \sum_{e \in g} w_{es}, \qquad
        b_{gs} = \frac{1}{M_{gs}} \sum_{e \in g} w_{es}\, p_e, \qquad
        V_{gs} = \frac{1}{M_{gs}} \sum_{e \in g} w_{es} \|p_e - b_{gs}\|^2

    Differences come before squares, so that a variance keeps its digits however far away the points
    lie. :math:`O(E S n)` time; on the CPU :math:`O(E (S + n) + G S n)` memory, elsewhere
    :math:`O(E S n)`.

    Args:
        points (torch.Tensor): :math:`p`, ``[E, n]``, float64.
        weight (torch.Tensor): :math:`w`, not negative, ``[E, S]``, float64.
        index (torch.Tensor): group of each point, ``[E]``, in any order.
        num_groups (int): :math:`G`.

    Returns:
        Means ``[G, S, n]``, variances ``[G, S]`` and sums ``[G, S]``; 0 where all weights are 0, as
        in a group without points. Differentiable once in points and weights where fused.

    Example:
        >>> import torch
        >>> points, weight = torch.tensor([[0.0], [4.0]]).double(), torch.tensor([[1, 1], [1, 3]])
        >>> mean, variance, mass = group_moments(points, weight.double(), torch.zeros(2).long(), 1)
        >>> mean[0, :, 0].tolist(), variance.tolist(), mass.tolist()
        ([2.0, 3.0], [[4.0, 3.0]], [[2.0, 4.0]])
    """
    if fused_engine(points) == "numba":
        return _group_moments(points, weight, index, num_groups)
    mass = sum_of_groups(weight, index, num_groups)
    share = weight / torch.where(mass > 0, mass, 1.0)[index]
    mean = sum_of_groups(share[:, :, None] * points[:, None], index, num_groups)
    squared = (points[:, None] - mean[index]).square().sum(-1)
    return mean, sum_of_groups(share * squared, index, num_groups), mass


@torch.library.custom_op("tgh::group_moments", mutates_args=(), device_types="cpu")
def _group_moments(points: Tensor, weight: Tensor, index: Tensor, num_groups: int) -> Moments:
    outputs = _outputs(points, weight, index, num_groups)
    groups = group_elements(index, num_groups)
    parallel(loops.moments, num_groups, points, weight, *groups, *outputs, offsets=groups[0])
    return outputs


@_group_moments.register_fake
def _outputs(points: Tensor, weight: Tensor, index: Tensor, num_groups: int) -> Moments:
    mean = points.new_empty(num_groups, weight.size(1), points.size(1))
    return mean, mean.new_empty(mean.shape[:2]), mean.new_empty(mean.shape[:2])


@torch.library.custom_op("tgh::group_moments_backward", mutates_args=(), device_types="cpu")
def _group_moments_backward(
    points: Tensor,
    weight: Tensor,
    index: Tensor,
    mean: Tensor,
    variance: Tensor,
    mass: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
    grad_mass: Tensor,
) -> tuple[Tensor, Tensor]:
    d_points, d_weight = points.new_empty(points.shape), weight.new_empty(weight.shape)
    outputs = (mean, variance, mass, grad_mean, grad_variance, grad_mass)
    groups = group_elements(index, len(mean))
    given = (points, weight, *groups, *outputs, d_points, d_weight)
    parallel(loops.gradients, len(mean), *given, offsets=groups[0])
    return d_points, d_weight


@_group_moments_backward.register_fake
def _(points, weight, *others):  # type: ignore[no-untyped-def]
    return points.new_empty(points.shape), weight.new_empty(weight.shape)


def _setup_context(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:3], *output)


def _backward(ctx, *grads):  # type: ignore[no-untyped-def]
    refuse_second_derivatives("group_moments")
    return *_group_moments_backward(*ctx.saved_tensors, *grads), None, None


_group_moments.register_autograd(_backward, setup_context=_setup_context)
