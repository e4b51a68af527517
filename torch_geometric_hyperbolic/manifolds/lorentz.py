"""The hyperboloid as a manifold object."""

from torch import Tensor

from torch_geometric_hyperbolic.geometry import convert, lorentz
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.manifolds.hyperbolic import Hyperbolic


class Lorentz(Hyperbolic):
    r"""The hyperboloid :math:`-X_0^2 + \|X_s\|^2 = -1/c`, :math:`X_0 > 0`, of curvature :math:`-c`.

    Points of the ``n``-dimensional space are ``[..., n + 1]``, the time :math:`X_0` first; layers
    count channels by ``n``. The metric at the origin is the Euclidean one: ``log0`` and ``rel``
    return vectors as long as the distance they span. The space part is the point; a time that does
    not fit it is ignored. Formulas: :mod:`torch_geometric_hyperbolic.geometry.lorentz`.

    Args:
        c (float, optional): the curvature is ``-c``. (default: :obj:`1.0`)
        learnable (bool, optional): learn the curvature, starting at ``c``.
            (default: :obj:`False`)

    Raises:
        ValueError: if ``c`` is not positive and finite.
        TypeError: if ``c`` is not a number; in every verb, if a tensor is not float32 or float64.

    Example:
        >>> hyperboloid = Lorentz(c=4.0)
        >>> hyperboloid.origin(3)
        tensor([0.5000, 0.0000, 0.0000, 0.0000])
    """

    name = "Lorentz"
    geometry = lorentz
    rel_unit = 2.0

    def ambient_dim(self, channels: int) -> int:
        return channels + 1

    def chart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return lorentz.space_and_time(x, c=self.c)

    def to_ball(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return convert.lorentz_to_ball(x, c=self.c)

    def from_ball(self, p: Tensor, gap: Tensor | None = None) -> Tensor:
        if gap is None:
            return convert.poincare_to_lorentz(p, c=self.c)
        return convert.ball_to_lorentz(p, gap, c=self.c)

    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``: their Minkowski product, taken at
        the origin, where nothing cancels and squares are positive.
        """
        left = self.transp0back(x, u)
        product = dot(left, left if v is None else self.transp0back(x, v))
        return product if keepdim else product.squeeze(-1)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Orthogonal projection of ``u`` to the tangent space at ``x``."""
        return lorentz.proju(x, u, c=self.c)

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        if x.size(-1) < 2:
            return False, "'x' must have a time and a space part"
        time, expected = x[..., 0].double(), self.projx(x)[..., 0].double()
        if bool(((time - expected).abs() <= atol + rtol * expected).all()):
            return True, None
        return False, "'x' must have x[..., 0] = sqrt(1/c + |x[..., 1:]|^2)"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        scale = x.double().norm(dim=-1) * u.double().norm(dim=-1)
        if bool((lorentz.inner(x, u).squeeze(-1).abs() <= atol + rtol * scale).all()):
            return True, None
        return False, "'u' must have Minkowski product 0 with 'x'"
