"""Means of points from their definitions, in float64, one group at a time, and points to try.

Nothing here calls the package's geometry. Points are written in the coordinates of the Poincare
ball; :func:`to_model` and :func:`to_ball` carry them to a manifold's own coordinates and back.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import (
    FrechetMeanAggregation,
    MidpointAggregation,
    TangentAggregation,
)

C = 0.7
MANIFOLDS = (PoincareBall(C), Lorentz(C), Euclidean())
HYPERBOLIC = MANIFOLDS[:2]

#: Groups of twelve points: not sorted, groups 1, 3 and 5 empty, group 6 of one point.
INDEX = torch.tensor([4, 0, 0, 2, 2, 6, 0, 4, 4, 2, 0, 2])
SIZE = 7
#: The same groups without the empty ones.
DENSE_INDEX = INDEX.unique(return_inverse=True)[1]


def tangent_mean(*, manifold: Manifold) -> TangentAggregation:
    return TangentAggregation("mean", manifold=manifold)


#: The three means of points, each called with ``manifold=``.
MEANS = (tangent_mean, MidpointAggregation, FrechetMeanAggregation)


def norm(v: Tensor) -> Tensor:
    return v.norm(dim=-1, keepdim=True)


def gap(x: Tensor, c: float) -> Tensor:
    return 1 - c * norm(x) ** 2


def random_points(
    num: int = len(INDEX), channels: int = 3, radius: float = 2.5, c: float = C, seed: int = 0
) -> Tensor:
    """Points at hyperbolic distances, times sqrt(c), up to ``radius`` from the origin."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(num, channels, generator=generator, dtype=torch.float64)
    distance = radius * torch.rand(num, 1, generator=generator, dtype=torch.float64)
    return direction / norm(direction) * torch.tanh(distance / 2) / c**0.5


def random_weight(num: int = len(INDEX), seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.2 + torch.rand(num, generator=generator, dtype=torch.float64)


def curvature(manifold: Manifold) -> float:
    """``c`` as a number, learnable or not."""
    return torch.as_tensor(manifold.c, dtype=torch.float64).item()


def to_hyperboloid(x: Tensor, c: float) -> Tensor:
    time = (2 - gap(x, c)) / (c**0.5 * gap(x, c))
    return torch.cat([time, 2 * x / gap(x, c)], dim=-1)


def to_model(x: Tensor, manifold: Manifold) -> Tensor:
    """Points of the ball in the coordinates of ``manifold``."""
    return to_hyperboloid(x, curvature(manifold)) if isinstance(manifold, Lorentz) else x


def to_ball(x: Tensor, manifold: Manifold) -> Tensor:
    """Points of ``manifold`` in the coordinates of the ball."""
    if not isinstance(manifold, Lorentz):
        return x
    return x[..., 1:] / (1 + curvature(manifold) ** 0.5 * x[..., :1])


def on_a_line(positions: Tensor, direction: Tensor, c: float) -> Tensor:
    """Points of a geodesic through the origin, at signed distances ``positions`` from it."""
    return torch.tanh(c**0.5 * positions[:, None] / 2) / c**0.5 * direction / norm(direction)


def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Geodesic distance of points of the ball, ``[...]``; Euclidean for ``c == 0``."""
    if c == 0:
        return norm(x - y)[..., 0]
    cosh = 1 + 2 * c * norm(x - y) ** 2 / (gap(x, c) * gap(y, c))
    return torch.acosh(cosh[..., 0]) / c**0.5


def log_origin(x: Tensor, c: float) -> Tensor:
    if c == 0:
        return x
    length = c**0.5 * norm(x)
    return x * torch.atanh(length) / length


def exp_origin(v: Tensor, c: float) -> Tensor:
    if c == 0 or not v.any():
        return v
    length = c**0.5 * norm(v)
    return v * torch.tanh(length) / length


def lorentz_centroid(x: Tensor, weight: Tensor, c: float) -> Tensor:
    """The weighted sum of the points of the hyperboloid, scaled back onto it."""
    total = (weight[:, None] * to_hyperboloid(x, c)).sum(dim=0)
    total = total / (c * (total[0] ** 2 - total[1:] @ total[1:])).sqrt()
    return total[1:] / (1 + c**0.5 * total[0])


def einstein_midpoint(x: Tensor, weight: Tensor, c: float) -> Tensor:
    """The mean of Klein coordinates, weighted with Lorentz factors too."""
    klein = 2 * x / (2 - gap(x, c))
    share = weight[:, None] / gap(klein, c).sqrt()
    mean = (share * klein).sum(dim=0) / share.sum()
    return mean / (1 + gap(mean, c).sqrt())


def gyromidpoint(x: Tensor, weight: Tensor, c: float) -> Tensor:
    """Half of the weighted mean with conformal factors, halved as a gyrovector."""
    conformal = 2 / gap(x, c)
    weight = weight[:, None]
    sum_ = (weight * conformal * x).sum(dim=0) / (weight * (conformal - 1)).sum()
    length = c**0.5 * norm(sum_)
    return torch.tanh(torch.atanh(length) / 2) * sum_ / length


def mean_by_definition(x: Tensor, weight: Tensor, c: float) -> Tensor:
    """The plain weighted mean."""
    return (weight[:, None] * x).sum(dim=0) / weight.sum()


def per_group(
    mean: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, index: Tensor, size: int
) -> Tensor:
    """One mean per group, the origin for empty groups."""
    rows = []
    for group in range(size):
        own = (index == group).nonzero()[:, 0]
        rows.append(mean(x[own], weight[own]) if len(own) else torch.zeros_like(x[0]))
    return torch.stack(rows)


def force(mean: Tensor, x: Tensor, weight: Tensor, c: float) -> Tensor:
    """Riemannian length of the gradient of ``sum_j w_j d(m, x_j)^2 / sum_j w_j d(m, x_j)``."""
    point = mean.detach().double().requires_grad_()
    lengths = distance(point, x, c)
    (grad,) = torch.autograd.grad((weight * lengths**2).sum(), point)
    return norm(grad) * gap(mean, c) / 2 / (weight * lengths).sum().detach()
