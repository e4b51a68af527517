"""What the models of hyperbolic space share: the curvature, and verbs that forward to geometry."""

import math
from numbers import Real
from types import ModuleType

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _ball
from torch_geometric_hyperbolic.geometry._numerics import bounded_exp
from torch_geometric_hyperbolic.manifolds.base import Manifold
from torch_geometric_hyperbolic.typing import Curvature


class Hyperbolic(Manifold):
    r"""Hyperbolic space of curvature :math:`-c` in the model of :attr:`geometry`.

    A fixed ``c`` is a Python float, exact in every dtype. A learnable one is
    :math:`c_0 e^\rho` with :math:`c_0` the given value and a free parameter :math:`\rho`,
    0 at first, so that it starts at exactly ``c``, stays positive, and learns at a rate that does
    not depend on its scale. It stays between 1e-26 and 1e26 times ``c``, where
    :math:`\rho = \pm 60`.
    """

    geometry: ModuleType

    def __init__(self, c: float = 1.0, learnable: bool = False) -> None:
        super().__init__()
        self._c = _checked(c)
        self.log_scale = torch.nn.Parameter(torch.zeros(())) if learnable else None

    @property
    def c(self) -> Curvature:
        """The curvature is ``-c``, a float, or a 0-dimensional float64 tensor when learnable."""
        if self.log_scale is None:
            return self._c
        return self._c * bounded_exp(self.log_scale.double())

    def reset_parameters(self) -> None:
        """Set a learnable curvature to its initial value. Layers and models, several of which may
        share a manifold, leave it as it is when they are reset.
        """
        if self.log_scale is not None:
            torch.nn.init.zeros_(self.log_scale)

    def get_extra_state(self) -> Tensor:
        """The initial curvature, so that a checkpoint holds the whole of a learnable one."""
        return torch.tensor(self._c, dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        self._c = _checked(float(state))

    def projx(self, x: Tensor) -> Tensor:
        """Project any finite vectors onto the manifold.

        Points well inside the ball are unchanged, and so are space parts on the hyperboloid.
        """
        return self.geometry.projx(x, c=self.c)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        distance = self.geometry.dist(x, y, c=self.c)
        return distance.unsqueeze(-1) if keepdim else distance

    def log0(self, x: Tensor) -> Tensor:
        return self.geometry.log0(x, c=self.c)

    def exp0(self, v: Tensor) -> Tensor:
        return self.geometry.exp0(v, c=self.c)

    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        return self.geometry.rel(x, y, c=self.c)

    def move(self, x: Tensor, v: Tensor) -> Tensor:
        return self.geometry.move(x, v, c=self.c)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return self.geometry.expmap(x, u, c=self.c)

    def rel_coefficients(
        self, p_x: Tensor, s_x: Tensor, p_y: Tensor, s_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.geometry.rel_coefficients(p_x, s_x, p_y, s_y, c=self.c)

    def busemann(self, x: Tensor, direction: Tensor) -> Tensor:
        return self.geometry.busemann(x, direction, c=self.c)

    def busemann0(self, v: Tensor, direction: Tensor) -> Tensor:
        p, gap = _ball.exp0_with_gap(v.double() / self.rel_unit, self.c)
        return _ball.busemann_with_gap(p, gap, direction, self.c).to(v.dtype)

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        return self.geometry.transp0(x, v, c=self.c)

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return self.geometry.transp0back(x, u, c=self.c)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return self.geometry.transp(x, y, v, c=self.c)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        return self.geometry.egrad2rgrad(x, u, c=self.c)

    def extra_repr(self) -> str:
        if self.log_scale is None:
            return f"c={self._c}"
        if self.log_scale.is_meta:
            return "learnable=True"
        scale = bounded_exp(self.log_scale.detach().cpu().double()).item()  # a GPU may lack float64
        return f"c={self._c * scale:.6g}, learnable=True"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _checked(c: object) -> float:
    """A curvature as a float."""
    if isinstance(c, bool) or not isinstance(c, Real):
        raise TypeError(f"'c' must be a float (got {c!r})")
    if not (float(c) > 0 and math.isfinite(c)):
        raise ValueError(f"'c' must be positive and finite, the curvature is -c (got {c})")
    return float(c)
