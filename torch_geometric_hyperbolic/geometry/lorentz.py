r"""The hyperboloid of curvature :math:`-c`: points ``[..., n + 1]`` with
:math:`-X_0^2 + \|X_s\|^2 = -1/c` and :math:`X_0 > 0`.

The space part :math:`X_s` *is* the point; the time :math:`X_0 = \sqrt{1/c + \|X_s\|^2}` is computed
from it in float64 wherever it is needed, because a float32 time cannot hold the constraint beyond
radius 8.7. The metric at the origin is the Euclidean one, so a tangent vector at the origin is as
long as the distance it spans (twice the ball's).

The scalar of a pair is :math:`q = c\,\|X - Y\|_L^2 / 4`, the same as the ball's. Written with
:math:`d = Y_s - X_s`, :math:`d_0 = Y_0 - X_0` and :math:`w_x = 1 + \sqrt c X_0`,

.. math::
    e = d - \frac{\sqrt c\, d_0}{w_x} X_s, \qquad
    q = \frac{c\, w_x}{4\, w_y} \|e\|^2, \qquad
    d_0 = \frac{\langle d, X_s + Y_s \rangle}{X_0 + Y_0},

which takes no difference of large squares: :math:`e/w_y` is the difference of the two points'
stereographic images. ``c`` is a positive float or a 0-dimensional tensor. Everything here runs in
float64 inside and returns the dtype it was given.

All functions broadcast over leading dimensions, cost :math:`O(n)` per point, keep float32 and
float64, and raise a :class:`TypeError` or :class:`ValueError` that names the argument: for another
dtype (half precision is lifted to float32 under autocast), for tensors whose dtypes, devices or
numbers of coordinates differ, and for a number ``c`` that is not positive and finite.

Source: Nickel and Kiela, `"Learning Continuous Hierarchies in the Lorentz Model of Hyperbolic
Geometry" <https://arxiv.org/abs/1806.03417>`_.
"""

from functools import partial

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _ball
from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._hyperboloid import (
    from_origin,
    image,
    join,
    minkowski,
    pair,
    split,
    to_origin,
)
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.geometry._precision import full_precision
from torch_geometric_hyperbolic.typing import Curvature


@full_precision
def space_and_time(x: Tensor, *, c: Curvature) -> tuple[Tensor, Tensor]:
    """Space part ``[..., n]`` and time ``[..., 1]`` of points, in float64.

    The given time is ignored, the radius is at most 44 times the radius of curvature.
    """
    return split(x, c)


@full_precision
def projx(x: Tensor, *, c: Curvature) -> Tensor:
    """Points of the hyperboloid with the space part of ``x``; the given time is ignored.

    Args:
        x (torch.Tensor): any vectors, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the hyperboloid, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> projx(torch.tensor([9.0, 3.0, 4.0]), c=1.0)
        tensor([5.0990, 3.0000, 4.0000])
    """
    return join(split(x, c)[0], c, x.dtype)


@full_precision
def dist(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Distance :math:`(2/\sqrt c) \operatorname{asinh} \sqrt q`; gradient 0 at ``x == y``.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        y (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Distances ``[...]``.

    Example:
        >>> import torch
        >>> dist(exp0(torch.zeros(2), c=1.0), exp0(torch.tensor([3.0, 4.0]), c=1.0), c=1.0)
        tensor(5.)
    """
    _, q, _, _ = pair(*split(x, c), *split(y, c), c, once=x.dtype == torch.float64)
    return (2 / c**0.5 * num.safe_sqrt(q) * num.asinhc(q)).squeeze(-1).to(x.dtype)


def rel_coefficients(
    x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, *, c: Curvature
) -> tuple[Tensor, Tensor]:
    r"""The scalars of :math:`\operatorname{rel}(X, Y) = \alpha\,(Y_s - X_s) - \beta\,X_s`.

    Args:
        x (torch.Tensor): space parts ``[..., n]``, float64.
        x0 (torch.Tensor): their times ``[..., 1]``, float64.
        y (torch.Tensor): space parts ``[..., n]``, float64.
        y0 (torch.Tensor): their times ``[..., 1]``, float64.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        :math:`\alpha = a(q)` and :math:`\beta = a(q)\,(2q + \sqrt c\,d_0) / w_x`, each
        ``[..., 1]`` in float64: the two terms cancel to :math:`e^{-r}` of their size at radius
        :math:`r`.
    """
    _, q, w_x, rise = pair(x, x0, y, y0, c)
    a = num.rel_factor(q)
    return a, a * (2 * q / w_x + rise)


@full_precision
def rel(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Relative position :math:`a(q)\,[e - (2q / w_x) X_s]`: :math:`\log_X Y`, at the origin.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        y (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``, of length ``dist(x, y)``.

    Example:
        >>> import torch
        >>> x, y = exp0(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), c=1.0)
        >>> rel(x, y, c=1.0), rel(y, x, c=1.0)
        (tensor([3., 4.]), tensor([-3., -4.]))
    """
    space, time = split(x, c)
    e, q, w_x, _ = pair(space, time, *split(y, c), c, once=x.dtype == torch.float64)
    return (num.rel_factor(q) * (e - 2 * q / w_x * space)).to(x.dtype)


@full_precision
def log0(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Logarithm at the origin, :math:`\operatorname{asinh}(\sqrt c\|X_s\|)\,X_s/(\sqrt c\|X_s\|)`.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``.

    Example:
        >>> import torch
        >>> log0(exp0(torch.tensor([3.0, 4.0]), c=1.0), c=1.0)
        tensor([3., 4.])
    """
    space, _ = split(x, c)
    return (space * num.asinhc(c * dot(space, space))).to(x.dtype)


@full_precision
def exp0(v: Tensor, *, c: Curvature) -> Tensor:
    r"""Exponential at the origin, space part :math:`\sinh(\sqrt c\|v\|)\,v / (\sqrt c\|v\|)`.

    Args:
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the hyperboloid, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> exp0(torch.tensor([0.6, 0.8]), c=1.0)
        tensor([1.5431, 0.7051, 0.9402])
    """
    wide = num.clip_length(v.double(), c)
    return join(wide * num.sinhc(c * dot(wide, wide)), c, v.dtype)


@partial(full_precision, at_origin="v")
def move(x: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""The point reached from ``x`` along ``v``: :math:`\operatorname{rel}(x, \cdot) = v`.

    Runs as a Moebius addition of the stereographic images, whose gaps
    :math:`2 / (1 + \sqrt c X_0)` and :math:`1 / \cosh^2(\sqrt c\|v\|/2)` are known without
    cancellation.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``; carried to ``x`` by parallel
            transport.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the hyperboloid, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x, v = exp0(torch.tensor([1.0, 0.0]), c=1.0), torch.tensor([0.0, 2.0])
        >>> dist(x, move(x, v, c=1.0), c=1.0)
        tensor(2.)
    """
    point, gap = _ball.mobius_add_with_gaps(
        *image(*split(x, c), c), *_ball.exp0_with_gap(v.double() / 2, c), c
    )
    return join(num.clip_length(2 * point / gap, c, num.MAX_SPACE), c, x.dtype)


@partial(full_precision, at_origin="direction")
def busemann(x: Tensor, direction: Tensor, *, c: Curvature) -> Tensor:
    r"""Busemann function
    :math:`-(1/\sqrt c) \log \bigl( \sqrt c\,(X_0 - \langle X_s, \omega \rangle) \bigr)`.

    Computed as :func:`torch_geometric_hyperbolic.geometry.poincare.busemann` of the
    stereographic image, whose gap :math:`2 / (1 + \sqrt c X_0)` is known, so that nothing cancels
    towards :math:`\omega`.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        direction (torch.Tensor): vectors :math:`\omega`, ``[..., n]``, of any length but zero; only
            their direction matters.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Numbers ``[...]``, 0 at the origin.

    Example:
        >>> import torch
        >>> x = exp0(torch.tensor([1.0, 0.0]), c=1.0)
        >>> busemann(x, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), c=1.0)
        tensor([ 1., -1.])
    """
    return _ball.busemann_with_gap(*image(*split(x, c), c), direction, c).to(x.dtype)


@partial(full_precision, at_origin="v")
def transp0(x: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from the origin to ``x``:
    :math:`U_0 = \sqrt c \langle X_s, v \rangle`,
    :math:`U_s = v + c \langle X_s, v \rangle / (1 + \sqrt c X_0)\, X_s`.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x, v = exp0(torch.tensor([1.0, 0.0]), c=1.0), torch.tensor([1.0, 1.0])
        >>> transp0(x, v, c=1.0)
        tensor([1.1752, 1.5431, 1.0000])
    """
    return num.narrowed(from_origin(*split(x, c), v.double(), c), v.dtype)


@full_precision
def transp0back(x: Tensor, u: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from ``x`` to the origin, the inverse of :func:`transp0`:
    :math:`U_s - \sqrt c\, U_0 / (1 + \sqrt c X_0)\, X_s`.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        u (torch.Tensor): tangent vectors at ``x``, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``.

    Example:
        >>> import torch
        >>> x = exp0(torch.zeros(2), c=1.0)
        >>> transp0back(x, torch.tensor([0.0, 0.6, 0.8]), c=1.0)
        tensor([0.6000, 0.8000])
    """
    return num.narrowed(to_origin(*split(x, c), u.double(), c), u.dtype)


@full_precision
def expmap(x: Tensor, u: Tensor, *, c: Curvature) -> Tensor:
    r"""Exponential map :math:`\exp_X U`, the point reached from ``x`` along ``u``.

    Vectors longer than :math:`88 / \sqrt c`, the diameter of what is represented, are cut there.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        u (torch.Tensor): tangent vectors at ``x``, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the hyperboloid, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x = exp0(torch.zeros(2), c=1.0)
        >>> expmap(x, torch.tensor([0.0, 0.6, 0.8]), c=1.0)
        tensor([1.5431, 0.7051, 0.9402])
    """
    at_origin = to_origin(*split(x, c), u.double(), c)
    return move(x, num.clip_length(at_origin, c, 2 * num.MAX_LENGTH).to(u.dtype), c=c)


@full_precision
def logmap(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Logarithm :math:`\log_X Y`, the inverse of :func:`expmap`.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        y (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x, y = exp0(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), c=1.0)
        >>> logmap(x, y, c=1.0)
        tensor([0., 3., 4.])
    """
    return transp0(x, rel(x, y, c=c), c=c)


@full_precision
def transp(x: Tensor, y: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from ``x`` to ``y``: to the origin, turned as in the ball, and out again.

    That is :math:`V + c\,\langle Y, V\rangle_L / (1 - c\,\langle X, Y\rangle_L)\,(X + Y)` without
    its differences of large squares.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        y (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        v (torch.Tensor): tangent vectors at ``x``, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``y``, ``[..., n + 1]``, with the same :func:`inner` products.

    Example:
        >>> import torch
        >>> x, y = exp0(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), c=1.0)
        >>> transp(x, y, torch.tensor([0.0, 1.0, 1.0]), c=1.0)
        tensor([1.1752, 1.5431, 1.0000])
    """
    from_x, to_y = split(x, c), split(y, c)
    at_origin = to_origin(*from_x, v.double(), c)
    turned = _ball.turn(*image(*from_x, c), *image(*to_y, c), at_origin, c)
    return num.narrowed(from_origin(*to_y, turned, c), v.dtype)


@full_precision
def inner(u: Tensor, v: Tensor) -> Tensor:
    r"""Minkowski product :math:`-U_0 V_0 + \langle U_s, V_s \rangle`.

    On tangent vectors at one point it is the Riemannian inner product. Far out its terms cancel:
    :meth:`Lorentz.inner <torch_geometric_hyperbolic.manifolds.Lorentz.inner>` takes it at the
    origin instead.

    Args:
        u (torch.Tensor): any vectors, ``[..., n + 1]``.
        v (torch.Tensor): any vectors, ``[..., n + 1]``.

    Returns:
        Numbers ``[..., 1]``.

    Example:
        >>> import torch
        >>> u = torch.tensor([0.0, 3.0, 4.0])  # at the origin
        >>> inner(u, u)
        tensor([25.])
    """
    return minkowski(u.double(), v.double()).to(u.dtype)


@full_precision
def proju(x: Tensor, u: Tensor, *, c: Curvature) -> Tensor:
    r"""Orthogonal projection to the tangent space at ``x``:
    :math:`U + c\,\langle X, U\rangle_L X`. What is tangent but for rounding stays as it is.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        u (torch.Tensor): any vectors, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x = exp0(torch.zeros(2), c=1.0)
        >>> proju(x, torch.tensor([3.0, 0.6, 0.8]), c=1.0)
        tensor([0.0000, 0.6000, 0.8000])
    """
    wide, point = u.double(), join(split(x, c)[0], c, torch.float64)
    along = num.beyond_rounding(minkowski(point, wide), point * wide, u.dtype)
    return num.narrowed(wide + c * along * point, u.dtype)


@full_precision
def egrad2rgrad(x: Tensor, grad: Tensor, *, c: Curvature) -> Tensor:
    r"""Riemannian gradient from the Euclidean one: the time component's sign is changed, then
    :func:`proju` takes it to the tangent space.

    Args:
        x (torch.Tensor): points of the hyperboloid, ``[..., n + 1]``.
        grad (torch.Tensor): gradients by the coordinates of ``x``, ``[..., n + 1]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n + 1]``.

    Example:
        >>> import torch
        >>> x = exp0(torch.zeros(2), c=1.0)
        >>> egrad2rgrad(x, torch.tensor([3.0, 0.6, 0.8]), c=1.0)
        tensor([0.0000, 0.6000, 0.8000])
    """
    flipped = torch.cat([-grad[..., :1], grad[..., 1:]], dim=-1)
    return proju(x, flipped, c=c)


__all__ = [
    "projx",
    "dist",
    "rel",
    "log0",
    "exp0",
    "move",
    "busemann",
    "transp0",
    "transp0back",
    "expmap",
    "logmap",
    "transp",
    "inner",
    "proju",
    "egrad2rgrad",
]
