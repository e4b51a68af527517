"""Euclidean space, the control in every test and every experiment."""

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import dot, safe_sqrt, unit
from torch_geometric_hyperbolic.manifolds.base import Manifold


class Euclidean(Manifold):
    r"""Euclidean space :math:`\mathbb{R}^n`, with verbs that are the limits of the others as
    :math:`c \to 0`. Its metric is that of the hyperboloid's limit. The ball's is four times as
    large: in the limit its ``dist``, ``norm`` and ``busemann`` are twice these, its ``inner`` is
    four times, and its ``egrad2rgrad`` a quarter.

    A layer on :class:`Euclidean` is the ordinary layer: its twin in a comparison.

    Example:
        >>> import torch
        >>> Euclidean().rel(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
        tensor([0.5000, 0.0000])
    """

    name = "Euclidean"
    reversible = True
    flat = True

    @property
    def c(self) -> float:
        """0.0, as Euclidean space is flat."""
        return 0.0

    def ambient_dim(self, channels: int) -> int:
        return channels

    def projx(self, x: Tensor) -> Tensor:
        """Every vector is a point: ``x`` itself."""
        return x

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        r"""Distance :math:`\|y - x\|`, gradient 0 at ``x == y``."""
        _check_widths(x=x, y=y)
        d = y - x
        wide = d.double()  # holds the square of every float32
        dtype = d.dtype if d.is_floating_point() else torch.get_default_dtype()
        distance = safe_sqrt(dot(wide, wide)).to(dtype)
        return distance if keepdim else distance.squeeze(-1)

    def log0(self, x: Tensor) -> Tensor:
        return x

    def exp0(self, v: Tensor) -> Tensor:
        return v

    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        _check_widths(x=x, y=y)
        return y - x

    def move(self, x: Tensor, v: Tensor) -> Tensor:
        _check_widths(x=x, v=v)
        return x + v

    def chart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_ones(*x.shape[:-1], 1)

    def rel_coefficients(
        self, p_x: Tensor, s_x: Tensor, p_y: Tensor, s_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        alpha = torch.ones_like(s_x + s_y)
        return alpha, torch.zeros_like(alpha)

    def to_ball(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_ones(*x.shape[:-1], 1, dtype=torch.float64)

    def from_ball(self, p: Tensor, gap: Tensor | None = None) -> Tensor:
        return p

    def busemann(self, x: Tensor, direction: Tensor) -> Tensor:
        _check_widths(x=x, direction=direction)
        return dot(x, unit(direction)).squeeze(-1)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport: ``v`` itself."""
        return v

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        return v

    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        return u

    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """Euclidean inner product."""
        v = u if v is None else v
        _check_widths(u=u, v=v)
        product = dot(u, v)
        return product if keepdim else product.squeeze(-1)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Every vector is tangent: ``u`` itself."""
        return u

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """The gradient itself."""
        return u

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        if bool(x.isfinite().all()):
            return True, None
        return False, "'x' must be finite"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return True, None

    def __repr__(self) -> str:
        return "Euclidean()"


def _check_widths(**vectors: Tensor) -> None:
    """Raise unless both have as many coordinates, which broadcasting would make up for."""
    (one, x), (other, y) = vectors.items()
    if isinstance(y, Tensor) and x.shape[-1:] != y.shape[-1:]:
        raise ValueError(
            f"'{other}' must have the last dimension of '{one}' "
            f"(got shapes {tuple(y.shape)} and {tuple(x.shape)})"
        )
