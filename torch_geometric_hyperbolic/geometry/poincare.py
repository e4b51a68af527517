r"""The Poincare ball of curvature :math:`-c`: points ``[..., n]`` with :math:`c\|x\|^2 < 1`.

Everything is a function of the differences :math:`d = y - x` and the gaps
:math:`g_x = 1 - c\|x\|^2` to the boundary, through one scalar per pair of points,

.. math::
    q = c\,\|d\|^2 / (g_x\, g_y), \qquad a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)} .

The metric at the origin is four times the Euclidean one, so a tangent vector at the origin is half
as long as the distance it spans. Points on or beyond the boundary are first projected into the
ball. ``c`` is a positive float or a 0-dimensional tensor.

All functions broadcast over leading dimensions, cost :math:`O(n)` per point, keep float32 and
float64, and raise a :class:`TypeError` or :class:`ValueError` that names the argument: for another
dtype (half precision is lifted to float32 under autocast), for tensors whose dtypes, devices or
numbers of coordinates differ, and for a number ``c`` that is not positive and finite.

Sources: Ungar, "Analytic Hyperbolic Geometry" (2005), for Moebius addition and gyration; Ganea et
al. `"Hyperbolic Neural Networks" <https://arxiv.org/abs/1805.09112>`_, eqs. (4)-(10).
"""

from torch import Tensor

from torch_geometric_hyperbolic.geometry import _ball
from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._numerics import dot
from torch_geometric_hyperbolic.geometry._precision import full_precision
from torch_geometric_hyperbolic.typing import Curvature


@full_precision
def projx(x: Tensor, *, c: Curvature) -> Tensor:
    """Move points at or beyond the boundary back along their ray; others are unchanged.

    A point is at the boundary if its gap is below :math:`2^{-23}` in float32, :math:`2^{-49}` in
    float64.

    Args:
        x (torch.Tensor): any vectors, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> projx(torch.tensor([3.0, 4.0]), c=1.0)
        tensor([0.6000, 0.8000])
    """
    return num.project(x, c)[0]


@full_precision
def with_wide_gap(x: Tensor, *, c: Curvature) -> tuple[Tensor, Tensor]:
    r"""Projected points ``[..., n]`` and their gaps :math:`1 - c\|x\|^2`, ``[..., 1]``, float64."""
    return num.project(x, c)


@full_precision
def with_gap(x: Tensor, *, c: Curvature) -> tuple[Tensor, Tensor]:
    r"""Projected points and their gaps, computed in float64, returned in the dtype of ``x``."""
    x, gap = num.project(x, c)
    return x, gap.to(x.dtype)


@full_precision
def dist(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Geodesic distance :math:`(2/\sqrt c) \operatorname{asinh} \sqrt q`.

    No clamp, relative accuracy at every radius (for float64 points to radius 18, then less), and
    gradient 0 (a subgradient) at ``x == y``.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Distances ``[...]``.

    Example:
        >>> import torch
        >>> dist(torch.zeros(2), torch.tensor([0.5, 0.0]), c=1.0)
        tensor(1.0986)
    """
    (x, gap_x), (y, gap_y) = num.project(x, c), num.project(y, c)
    d = (y - x).double()
    q = c * dot(d, d) / (gap_x * gap_y)
    return (2 / c**0.5 * num.safe_sqrt(q) * num.asinhc(q)).squeeze(-1).to(x.dtype)


def rel_coefficients(
    x: Tensor, gap_x: Tensor, y: Tensor, gap_y: Tensor, *, c: Curvature
) -> tuple[Tensor, Tensor]:
    r"""The scalars of :math:`\operatorname{rel}(x, y) = \alpha\,(y - x) - \beta\,x`.

    Args:
        x (torch.Tensor): points *inside* the ball, ``[..., n]``.
        gap_x (torch.Tensor): their gaps, ``[..., 1]``, computed in float64.
        y (torch.Tensor): points *inside* the ball, ``[..., n]``.
        gap_y (torch.Tensor): their gaps, ``[..., 1]``, computed in float64.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        :math:`\alpha = a(q)/g_y` and :math:`\beta = a(q)\,q`, each ``[..., 1]``.
    """
    d = y - x
    q = c * dot(d, d) / (gap_x * gap_y)
    a = num.rel_factor(q)
    return a / gap_y, a * q


@full_precision
def rel(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Relative position :math:`\log_0((-x) \oplus y) = a(q)\,[d / g_y - q\,x]`.

    This is :math:`\log_x y` carried to the origin by parallel transport: an ordinary vector, of
    Euclidean length ``dist(x, y) / 2``.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``.

    Example:
        >>> import torch
        >>> rel(torch.tensor([0.5, 0.0]), torch.tensor([0.5, 0.0]), c=1.0)
        tensor([0., 0.])
    """
    (x, gap_x), (y, gap_y) = with_gap(x, c=c), with_gap(y, c=c)
    alpha, beta = rel_coefficients(x, gap_x, y, gap_y, c=c)
    return (alpha * (y - x) - beta * x).to(x.dtype)


@full_precision
def log0(x: Tensor, *, c: Curvature) -> Tensor:
    r"""Logarithm at the origin, :math:`\operatorname{artanh}(\sqrt c\|x\|)\,x / (\sqrt c\|x\|)`.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``.

    Example:
        >>> import torch
        >>> log0(torch.tensor([0.5, 0.0]), c=1.0)  # half of the distance 1.0986
        tensor([0.5493, 0.0000])
    """
    x, gap = num.project(x, c)
    wide = x.double()
    factor = num.asinhc(c * dot(wide, wide) / gap) / gap.sqrt()
    return x * factor.to(x.dtype)


@full_precision
def exp0(v: Tensor, *, c: Curvature) -> Tensor:
    r"""Exponential at the origin, :math:`\tanh(\sqrt c\|v\|)\,v / (\sqrt c\|v\|)`.

    Args:
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> exp0(torch.tensor([0.5493, 0.0]), c=1.0)
        tensor([0.5000, 0.0000])
    """
    wide = num.clip_length(v.double(), c)
    point = wide * num.tanhc(c * dot(wide, wide))
    return projx(point.to(v.dtype), c=c)


@full_precision
def busemann(x: Tensor, direction: Tensor, *, c: Curvature) -> Tensor:
    r"""Busemann function
    :math:`(1/\sqrt c) \log \bigl( (1 - c\|x\|^2) / \|\omega - \sqrt c\,x\|^2 \bigr)`.

    How far ``x`` has come towards the ideal point :math:`\omega`: the limit of
    :math:`t - d(x, \gamma(t))` along the geodesic :math:`\gamma` from the origin to
    :math:`\omega`, in units of :func:`dist`. Its level sets are horospheres.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        direction (torch.Tensor): vectors :math:`\omega`, ``[..., n]``, of any length but zero; only
            their direction matters.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Numbers ``[...]``, 0 at the origin. Source: Helgason, "Groups and Geometric Analysis"
        (1984), introduction, sec. 4.

    Example:
        >>> import torch
        >>> busemann(torch.tensor([0.5, 0.0]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), c=1.0)
        tensor([ 1.0986, -1.0986])
    """
    point, gap = num.project(x, c)
    return _ball.busemann_with_gap(point.double(), gap, direction, c).to(x.dtype)


@full_precision
def mobius_add(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Moebius addition :math:`x \oplus y`, the translation by ``x`` applied to ``y``.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
        >>> mobius_add(x, y, c=1.0)
        tensor([0.5882, 0.3529])
        >>> mobius_add(y, x, c=1.0)
        tensor([0.3529, 0.5882])
    """
    (x, gap_x), (y, gap_y) = num.project(x, c), num.project(y, c)
    point, _ = _ball.mobius_add_with_gaps(x.double(), gap_x, y.double(), gap_y, c)
    return projx(point.to(x.dtype), c=c)


@full_precision
def move(x: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""The point :math:`x \oplus \exp_0 v` reached from ``x`` along ``v``:
    :math:`\operatorname{rel}(x, \operatorname{move}(x, v)) = v`.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``; carried to ``x`` by parallel
            transport.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> x, v = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 1.0])
        >>> move(x, v, c=1.0)
        tensor([0.6900, 0.4989])
        >>> dist(x, move(x, v, c=1.0), c=1.0)
        tensor(2.0000)
    """
    x, gap_x = num.project(x, c)
    point, _ = _ball.mobius_add_with_gaps(x.double(), gap_x, *_ball.exp0_with_gap(v.double(), c), c)
    return projx(point.to(x.dtype), c=c)


@full_precision
def transp0(x: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from the origin to ``x``: :math:`g_x v`.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        v (torch.Tensor): tangent vectors at the origin, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n]``.

    Example:
        >>> import torch
        >>> transp0(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 1.0]), c=1.0)
        tensor([0.0000, 0.7500])
    """
    return v * num.project(x, c)[1].to(x.dtype)


@full_precision
def transp0back(x: Tensor, u: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from ``x`` to the origin: :math:`u / g_x`.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        u (torch.Tensor): tangent vectors at ``x``, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at the origin, ``[..., n]``.

    Example:
        >>> import torch
        >>> transp0back(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.75]), c=1.0)
        tensor([0., 1.])
    """
    return u / num.project(x, c)[1].to(x.dtype)


@full_precision
def expmap(x: Tensor, u: Tensor, *, c: Curvature) -> Tensor:
    r"""Exponential map :math:`\exp_x u`, the point reached from ``x`` along ``u``.

    Vectors are cut at :math:`\sqrt c \|u\| = 44`, before and after they are carried to the origin.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        u (torch.Tensor): tangent vectors at ``x``, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Points of the ball, ``[..., n]``.

    Example:
        >>> import torch
        >>> expmap(torch.zeros(2), torch.tensor([0.5493, 0.0]), c=1.0)
        tensor([0.5000, 0.0000])
    """
    short = num.clip_length(u.double(), c).to(u.dtype)  # division by a gap lengthens it
    return move(x, transp0back(x, short, c=c), c=c)


@full_precision
def logmap(x: Tensor, y: Tensor, *, c: Curvature) -> Tensor:
    r"""Logarithm :math:`\log_x y`, the inverse of :func:`expmap`.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n]``.

    Example:
        >>> import torch
        >>> logmap(torch.zeros(2), torch.tensor([0.5, 0.0]), c=1.0)
        tensor([0.5493, 0.0000])
    """
    return transp0(x, rel(x, y, c=c), c=c)


@full_precision
def gyration(x: Tensor, y: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""The rotation :math:`\operatorname{gyr}[x, y] v` of vectors ``v`` (Ungar 2005; Ganea et al.,
    appendix), by which Moebius addition fails to be associative.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        v (torch.Tensor): vectors, ``[..., n]``, of any length.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Vectors of the same lengths, ``[..., n]``.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
        >>> gyration(x, y, mobius_add(y, x, c=1.0), c=1.0)  # = mobius_add(x, y)
        tensor([0.5882, 0.3529])
    """
    (x, gap_x), (y, gap_y) = num.project(x, c), num.project(y, c)
    return _ball.turn(-y.double(), gap_y, x.double(), gap_x, v.double(), c).to(v.dtype)


@full_precision
def transp(x: Tensor, y: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""Parallel transport from ``x`` to ``y``: :math:`(g_y / g_x) \operatorname{gyr}[y, -x] v`,
    along the geodesic.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        y (torch.Tensor): points of the ball, ``[..., n]``.
        v (torch.Tensor): tangent vectors at ``x``, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``y``, ``[..., n]``, with the same :func:`inner` products.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
        >>> u = transp(x, y, torch.tensor([0.0, 0.75]), c=1.0)
        >>> u, inner(y, u, u, c=1.0)  # 4 at x too
        (tensor([0.3529, 0.6618]), tensor([4.0000]))
    """
    ratio = num.project(y, c)[1] / num.project(x, c)[1]
    return gyration(y, -x, v, c=c) * ratio.to(v.dtype)


@full_precision
def inner(x: Tensor, u: Tensor, v: Tensor, *, c: Curvature) -> Tensor:
    r"""Riemannian inner product :math:`(2 / g_x)^2 \langle u, v \rangle` at ``x``.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        u (torch.Tensor): tangent vectors at ``x``, ``[..., n]``.
        v (torch.Tensor): tangent vectors at ``x``, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Numbers ``[..., 1]``.

    Example:
        >>> import torch
        >>> x, u = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.75])
        >>> inner(x, u, u, c=1.0)
        tensor([4.])
    """
    conformal = 2 / num.project(x, c)[1].to(x.dtype)
    return dot(conformal * u, conformal * v)


@full_precision
def egrad2rgrad(x: Tensor, grad: Tensor, *, c: Curvature) -> Tensor:
    r"""Riemannian gradient :math:`(g_x / 2)^2 \nabla` from the Euclidean one.

    Args:
        x (torch.Tensor): points of the ball, ``[..., n]``.
        grad (torch.Tensor): gradients by the coordinates of ``x``, ``[..., n]``.
        c (float or torch.Tensor): the curvature is ``-c``.

    Returns:
        Tangent vectors at ``x``, ``[..., n]``.

    Example:
        >>> import torch
        >>> egrad2rgrad(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 1.0]), c=1.0)
        tensor([0.0000, 0.1406])
    """
    return grad * (num.project(x, c)[1].to(x.dtype) / 2) ** 2


__all__ = [
    "projx",
    "dist",
    "rel",
    "log0",
    "exp0",
    "busemann",
    "mobius_add",
    "move",
    "transp0",
    "transp0back",
    "expmap",
    "logmap",
    "gyration",
    "transp",
    "inner",
    "egrad2rgrad",
]
