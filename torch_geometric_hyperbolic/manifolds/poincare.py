"""The Poincare ball as a manifold object."""

from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics, poincare
from torch_geometric_hyperbolic.manifolds.hyperbolic import Hyperbolic


class PoincareBall(Hyperbolic):
    r"""The Poincare ball of curvature :math:`-c` and radius :math:`1/\sqrt c`.

    Points of the ``n``-dimensional space are ``[..., n]``. The metric at the origin is four times
    the Euclidean one: ``log0`` and ``rel`` return vectors half as long as the distance they span.
    Formulas: :mod:`torch_geometric_hyperbolic.geometry.poincare`.

    Args:
        c (float, optional): the curvature is ``-c``. (default: :obj:`1.0`)
        learnable (bool, optional): learn the curvature, starting at ``c``.
            (default: :obj:`False`)

    Raises:
        ValueError: if ``c`` is not positive and finite.
        TypeError: if ``c`` is not a number; in every verb, if a tensor is not float32 or float64.

    Example:
        >>> import torch
        >>> ball = PoincareBall(c=0.5)
        >>> x, v = ball.random(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
        >>> torch.allclose(ball.rel(x, ball.move(x, v)), v)
        True
    """

    name = "PoincareBall"
    geometry = poincare

    def ambient_dim(self, channels: int) -> int:
        return channels

    def chart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return poincare.with_gap(x, c=self.c)

    def to_ball(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return poincare.with_wide_gap(x, c=self.c)

    def from_ball(self, p: Tensor, gap: Tensor | None = None) -> Tensor:
        return self.projx(p)

    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        product = poincare.inner(x, u, u if v is None else v, c=self.c)
        return product if keepdim else product.squeeze(-1)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Every vector is tangent to the ball: ``u`` itself."""
        return u

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        largest = (1 - _numerics.gap(x.detach(), self.c)).max().item() if x.numel() else 0.0
        if largest < 1:
            return True, None
        return False, f"'x' must have c * |x|^2 < 1 (got {largest:.6g})"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return True, None
