"""The contract that every manifold keeps and every layer relies on."""

import abc
from typing import Literal, overload

import torch
from geoopt.manifolds import Manifold as GeooptManifold
from torch import Tensor

from torch_geometric_hyperbolic.geometry._numerics import safe_sqrt
from torch_geometric_hyperbolic.typing import Curvature


class Manifold(GeooptManifold):
    r"""A space whose points are the features of nodes.

    Layers are defined by four functions of the space, its *verbs*, on *intrinsic* vectors
    (``n = channels`` entries, whatever the number of coordinates of a point):

    ============== ==================================================== ==============
    verb           meaning                                              Euclidean twin
    ============== ==================================================== ==============
    ``log0(x)``    :math:`\log_0 x`, the absolute position              ``x``
    ``exp0(v)``    its inverse                                          ``v``
    ``rel(x, y)``  :math:`\log_x y` transported to the origin           ``y - x``
    ``move(x, v)`` :math:`\exp_x` of ``v`` transported from the origin  ``x + v``
    ============== ==================================================== ==============

    with ``exp0(log0(x)) == x`` and ``rel(x, move(x, v)) == v``. It is also a
    :class:`geoopt.Manifold`, so :class:`geoopt.ManifoldParameter` and geoopt's Riemannian
    optimisers work on it. All verbs broadcast over leading dimensions, cost :math:`O(n)` per point
    and keep the dtype (float32 or float64; under autocast half precision is lifted to float32).
    """

    name: str
    ndim = 1
    reversible = False

    #: Whether :meth:`rel` is a difference of charts, with coefficients 1 and 0.
    flat = False

    #: How many times as long :meth:`rel` is as in the ball, for the same two points.
    rel_unit = 1.0

    @property
    @abc.abstractmethod
    def c(self) -> Curvature:
        """The curvature is ``-c``; 0.0 for Euclidean space."""

    @abc.abstractmethod
    def ambient_dim(self, channels: int) -> int:
        """Number of coordinates of a point of the ``channels``-dimensional space."""

    @abc.abstractmethod
    def projx(self, x: Tensor) -> Tensor:
        """Points of the manifold from any finite vectors ``[..., ambient_dim]``; points stay, and
        may be returned as ``x`` itself.
        """

    @abc.abstractmethod
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Geodesic distance of points ``[..., ambient_dim]``: ``[...]``, or ``[..., 1]`` with
        ``keepdim``.
        """

    @abc.abstractmethod
    def log0(self, x: Tensor) -> Tensor:
        """Points ``[..., ambient_dim]`` to tangent vectors at the origin ``[..., channels]``."""

    @abc.abstractmethod
    def exp0(self, v: Tensor) -> Tensor:
        """Tangent vectors at the origin ``[..., channels]`` to points ``[..., ambient_dim]``."""

    @abc.abstractmethod
    def rel(self, x: Tensor, y: Tensor) -> Tensor:
        """Where ``y`` lies seen from ``x``, both points ``[..., ambient_dim]``: a tangent vector at
        the origin, ``[..., channels]``.
        """

    @abc.abstractmethod
    def move(self, x: Tensor, v: Tensor) -> Tensor:
        """The point ``[..., ambient_dim]`` reached from the point ``x`` along ``v``, a tangent
        vector at the origin, ``[..., channels]``.
        """

    @abc.abstractmethod
    def chart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors ``p``, ``[..., channels]``, in which :meth:`rel` is linear, and one scalar
        ``s`` per point, ``[..., 1]``; what :meth:`rel_coefficients` needs of a point.
        """

    @abc.abstractmethod
    def rel_coefficients(
        self, p_x: Tensor, s_x: Tensor, p_y: Tensor, s_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Scalars with :math:`\operatorname{rel}(x, y) = \alpha (p_y - p_x) - \beta p_x`,
        ``[..., 1]``, from the :meth:`chart` of both points.
        """

    @abc.abstractmethod
    def to_ball(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The conformal picture: points :math:`p` of the ball of radius :math:`1/\sqrt c` (all of
        space for :math:`c = 0`), ``[..., channels]``, and their gaps :math:`1 - c\|p\|^2`,
        ``[..., 1]``, in float64.
        """

    @abc.abstractmethod
    def from_ball(self, p: Tensor, gap: Tensor | None = None) -> Tensor:
        """Inverse of :meth:`to_ball`; a ``gap`` that is not given is computed from ``p``."""

    @abc.abstractmethod
    def busemann(self, x: Tensor, direction: Tensor) -> Tensor:
        r"""How far ``x`` has come towards an ideal point, ``[...]``: the limit of
        :math:`t - d(x, \gamma(t))` along the ray :math:`\gamma` from the origin along
        ``direction``, ``[..., channels]``. 0 at the origin, in units of ``dist``.
        """

    def busemann0(self, v: Tensor, direction: Tensor) -> Tensor:
        """``busemann(exp0(v), direction)``, also where the dtype does not hold that point."""
        return self.busemann(self.exp0(v), direction)

    @abc.abstractmethod
    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v``, at the origin, ``[..., channels]``, to the point ``x``: a
        tangent vector there, ``[..., ambient_dim]``.
        """

    @abc.abstractmethod
    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        """Parallel transport of ``u``, a tangent vector at ``x``, ``[..., ambient_dim]``, to the
        origin: ``[..., channels]``.
        """

    @abc.abstractmethod
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v``, a tangent vector at ``x``, along the geodesic to ``y``: all
        ``[..., ambient_dim]``.
        """

    @abc.abstractmethod
    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``, ``[...]`` (``[..., 1]`` with
        ``keepdim``); of ``u`` with itself without ``v``.
        """

    @abc.abstractmethod
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Orthogonal projection of any vectors ``u`` to the tangent space at ``x``, both
        ``[..., ambient_dim]``.
        """

    @abc.abstractmethod
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian gradient at ``x`` from the Euclidean gradient ``u``, both
        ``[..., ambient_dim]``.
        """

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Exponential map :math:`\exp_x u` of tangent vectors ``u`` at ``x``: points. All are
        ``[..., ambient_dim]``.
        """
        return self.move(x, self.transp0back(x, u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Logarithm :math:`\log_x y`, a tangent vector at ``x``: all ``[..., ambient_dim]``."""
        return self.transp0(x, self.rel(x, y))

    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
        """Length of a tangent vector ``u`` at ``x``, ``[...]``; gradient 0 at the zero vector.

        Squared in float64, which holds the square of every float32.
        """
        return safe_sqrt(self.inner(x.double(), u.double(), keepdim=keepdim)).to(u.dtype)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Retraction: the exponential map itself."""
        return self.expmap(x, u)

    def dist0(self, x: Tensor) -> Tensor:
        """Distance of points from the origin, ``[...]``."""
        return self.dist(torch.zeros_like(x), x)

    @torch.no_grad()
    def origin(
        self,
        *size: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """The origin; the last entry of ``size`` is the number of channels. ``seed`` belongs to
        geoopt's signature and changes nothing.
        """
        return self.exp0(torch.zeros(*size, dtype=dtype, device=device))

    @torch.no_grad()
    def random(
        self,
        *size: int,
        std: float = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Points ``exp0(v)`` of normally distributed ``v`` whose length is about ``std``, whatever
        the number of channels, which is the last entry of ``size``.
        """
        v = torch.randn(*size, dtype=dtype, device=device)
        return self.exp0(std / max(v.size(-1), 1) ** 0.5 * v)

    @overload
    def check_point(self, x: Tensor, *, explain: Literal[False] = False) -> bool: ...

    @overload
    def check_point(self, x: Tensor, *, explain: Literal[True]) -> tuple[bool, str | None]: ...

    def check_point(self, x: Tensor, *, explain: bool = False) -> bool | tuple[bool, str | None]:
        """Whether ``x`` holds points of the manifold; the reason too when ``explain`` is set.

        The values are not looked at while compiling.
        """
        ok, reason = self._check_shape(x.shape, "x")
        if ok and not torch.compiler.is_compiling():
            ok, reason = self._check_point_on_manifold(x)
        return (ok, reason) if explain else ok
