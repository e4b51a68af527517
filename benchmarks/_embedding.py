"""Two-dimensional pictures of learnt points, by principal components at their Frechet mean."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_geometric_hyperbolic.manifolds import Euclidean, PoincareBall
from torch_geometric_hyperbolic.nn import global_frechet_mean_pool

FILL = 0.95  # nearly all points are drawn inside this radius of the unit disk


def principal_components(v: Tensor) -> tuple[Tensor, float]:
    """The two leading components `[M, 2]` of vectors, and their share of the squared length.

    Where vectors have but one, the other is 0.
    """
    _, lengths, axes = torch.linalg.svd(v, full_matrices=False)
    axes = axes[:2] * axes[:2].sum(1, keepdim=True).sign()  # a fixed choice of sign
    flat = pad(v @ axes.T, (0, 2 - len(axes)))
    return flat, float(lengths[:2].square().sum() / lengths.square().sum())


@torch.no_grad()
def project(manifold: Any, points: Tensor) -> dict[str, Any]:
    """Coordinates to draw points of a manifold in the unit disk.

    The points are seen from their Frechet mean (`rel`), reduced to two principal components, scaled
    so that nearly all fit, and put on the Poincare disk by `exp0`; Euclidean points stay in the
    plane.

    Args:
        manifold (Manifold): Where the points live.
        points (torch.Tensor): Points on `manifold`, `[M, A]`.

    Returns:
        `xy` (nested list), `kind` (`disk` or `plane`), `scale`, and `explained` (share of the
        squared length that the two components hold).
    """
    manifold, points = deepcopy(manifold).cpu().double(), points.cpu().double()
    centre = global_frechet_mean_pool(points, None, manifold=manifold)
    rel: Tensor = manifold.rel(centre.expand_as(points), points)
    flat, explained = principal_components(rel)
    reach = flat.norm(dim=1).quantile(0.98).clamp_min(1e-12)
    if isinstance(manifold, Euclidean):
        kind, scale = "plane", FILL / reach
        xy = scale * flat
    else:
        kind, scale = "disk", torch.tensor(FILL).double().atanh() / reach
        xy = PoincareBall(c=1.0).exp0(scale * flat)
    return {
        "kind": kind,
        "scale": round(float(scale), 6),
        "explained": round(explained, 4),
        "xy": [[round(a, 4), round(b, 4)] for a, b in xy.tolist()],
    }
