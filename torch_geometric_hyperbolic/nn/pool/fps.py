r"""Farthest point sampling by a manifold's own distance."""

import sys
from numbers import Real

import torch
from torch import Tensor

from torch_geometric_hyperbolic.checks import (
    check_batch,
    check_manifold,
    check_points,
    num_clouds,
)
from torch_geometric_hyperbolic.geometry._numerics import WHOLE
from torch_geometric_hyperbolic.kernels import farthest_points, to_ball
from torch_geometric_hyperbolic.manifolds import Manifold


@torch.no_grad()
def fps(
    x: Tensor,
    batch: Tensor | None = None,
    ratio: float = 0.5,
    *,
    manifold: Manifold,
    random_start: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    r"""The farthest point sampling of `"PointNet++" <https://arxiv.org/abs/1706.02413>`_ by the
    manifold's distance: each point is as far as can be from the origin and from those before it.

    The origin stands for the point that PointNet++ draws to begin with, and is not in the result.
    So the first point is the farthest from the origin, and the choice depends neither on the order
    of the points (unless distances are equal) nor on chance; rotations about the origin and
    reflections do not change it, translations may. The first :math:`m` of a larger sample are the
    sample of :math:`m` points. With ``random_start`` each cloud begins with a point drawn at
    random, as in PyG's function, and the origin plays no part. Not differentiable. With ``batch``
    the size of the result is known only at run time, so ``torch.compile`` breaks its graph there.

    Args:
        x (torch.Tensor): points on ``manifold``, ``[N, ambient_dim]``.
        batch (torch.Tensor, optional): cloud of each point, ``[N]``, sorted.
        ratio (float, optional): share of each cloud's points, rounded up. (default: :obj:`0.5`)
        manifold (Manifold): the space the points live in.
        random_start (bool, optional): whether the first point is drawn at random, by PyTorch's
            generator. (default: :obj:`False`)
        batch_size (int, optional): see :func:`knn`. (default: :obj:`None`)

    Returns:
        Distinct indices into ``x``, cloud by cloud in the order of choice. Time
        :math:`O(P^2 n)` for a cloud of :math:`P` points.

    Raises:
        TypeError: if ``ratio`` is no number, for points of another dtype, or no manifold.
        ValueError: if ``ratio`` is not above 0 and at most 1, ``batch`` is not sorted, or the
            points are not ``batch_size`` clouds of one size.

    Example:
        >>> import torch
        >>> from torch_geometric_hyperbolic.manifolds import PoincareBall
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [-0.8]])
        >>> fps(x, ratio=0.5, manifold=PoincareBall())
        tensor([2, 3])
    """
    check_manifold(manifold)
    check_points(x, "x", dim=2)
    check_batch(batch, "batch", x)
    if isinstance(ratio, Tensor) and ratio.dim():
        raise TypeError(f"'ratio' must be one number (got shape {tuple(ratio.shape)})")
    if isinstance(ratio, bool) or not isinstance(ratio, (Real, Tensor)):
        raise TypeError(f"'ratio' must be a float (got {ratio!r})")
    if not 0 < ratio <= 1:
        raise ValueError(f"'ratio' must be above 0 and at most 1 (got {ratio})")
    clouds = num_clouds(batch_size, batch, x)
    keys = _random_keys(x) if random_start else None
    return farthest_points(*to_ball(x, manifold), batch, just_below(ratio), clouds, keys)


def _random_keys(x: Tensor) -> Tensor:
    """Keys, ``[N]``, of which any may be the largest, and all are above those of distances."""
    drawn = torch.rand(x.size(0), dtype=torch.float64, device=x.device)
    return sys.float_info.max * (1 - drawn / 2)


def just_below(ratio: float) -> float:
    """The share by which numbers of points are multiplied before they are rounded up."""
    return WHOLE * float(ratio)
