"""The curvature and constants of a manifold, as compiled operators take them."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._precision import FULL
from torch_geometric_hyperbolic.kernels.dispatch import fused_engine
from torch_geometric_hyperbolic.manifolds import Lorentz, Manifold, PoincareBall


def fuses(x: Tensor, manifold: Manifold) -> bool:
    """Whether the operators take these vectors."""
    known = type(manifold) in (PoincareBall, Lorentz)
    usual = x.dim() > 1 and x.size(-1) > 0 and x.dtype in FULL
    return known and usual and fused_engine(x) is not None


def fuses_points(x: Tensor, manifold: Manifold) -> bool:
    """Whether the operators take these points, which on the hyperboloid have a time."""
    return fuses(x, manifold) and x.size(-1) >= manifold.ambient_dim(1)


def curvature(manifold: Manifold, x: Tensor) -> Tensor:
    """``manifold.c`` as the float64 tensor that operators take, on the device of ``x``.

    Example:
        >>> import torch
        >>> curvature(PoincareBall(c=2.0), torch.zeros(3))
        tensor(2., dtype=torch.float64)
    """
    if isinstance(manifold.c, Tensor):
        return manifold.c
    return torch.full((), manifold.c, dtype=torch.float64, device=x.device)


def constants(x: Tensor, c: Tensor) -> tuple[float, float, float]:
    """The curvature, the step at which squares are split, and the smallest gap of the dtype."""
    return c.item(), float(num.split_step(c.item())), num.MIN_GAP[x.dtype]
