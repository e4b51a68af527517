r"""The guards, thresholds and series that formulas share, each with its reason.

The one ill-conditioned quantity of the Poincare ball is the *gap* to the boundary,
:math:`g_x = 1 - c\|x\|^2`. It is computed in float64 once per point, and everything else may then
run in the dtype of the points: the result keeps float32's full accuracy at every radius, and
float64's to radius 18 (:func:`gap` of float64 points is then wrong by 1e-7 at most, at radius 34).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from torch_geometric_hyperbolic.typing import Curvature

#: Smallest gap a point of the ball may have. A point scaled to twice this gap and then rounded to
#: its dtype keeps at least this gap: rounding n coordinates moves the gap by at most one float32
#: eps (2^-23); the handful of float64 operations of the scaling itself move it by up to four
#: float64 eps (2^-52), hence 2^-49. Radius times sqrt(c), log(4 / gap): 17.3 and 35.4.
MIN_GAP = {torch.float32: 2.0**-23, torch.float64: 2.0**-49}

#: Largest sqrt(c) * (length of a tangent vector) that is exponentiated, and largest
#: sqrt(c) * (radius) of a point of the hyperboloid: sinh(44)^2 = 4e37 is finite in float32 too.
MAX_LENGTH = 44.0
MAX_SPACE = math.sinh(MAX_LENGTH)

#: Where coordinates of tangent vectors of the hyperboloid end. In float32 2^-20 of its largest
#: number: optimisers still divide them by their corrections and by lengths. In float64 squares of
#: what a transport between the farthest points, by e^88, makes of them are finite.
ENDS = {torch.float32: 2.0**108, torch.float64: 2.0**340}

#: Roundings of its coordinates by which a vector may miss the tangent space: its own, and a few of
#: optimisers. The normal is as long as e^r, and would make them e^r times as large again.
ROUNDINGS = 8

#: Where logarithms of what is learnt end: factors of 1e-26 and 1e26.
MAX_LOG = 60.0

#: Largest exponent of the amplitude of a horocyclic wave: exp(40) = 2.4e17, and a sum of thousands
#: of its squares (a norm, a loss) is still finite in float32.
MAX_EXPONENT = 40.0

#: A window of vectors has no axis where their residuals' squares are below this share of the
#: longest vector's square: lengths below 2^-18 = 4e-6, which float32 vectors reach by rounding
#: alone. The rounding of a Gram matrix in float64 then moves coordinates by 2^-52 / 2^-18 = 6e-11.
NEGLIGIBLE = 2.0**-36

#: Two vectors of a window compete for the next axis as equals where their scores differ by less
#: than this share of the longest residual times the longest vector, which is how rounding of the
#: vectors enters a residual's square: rounding shall not choose between them.
TIE = {torch.float32: 2.0**-16, torch.float64: 2.0**-30}

#: Below this argument asinh(sqrt(q)) / sqrt(q) is its Taylor polynomial: the first omitted term is
#: 2e-2 * q^6 < eps, and from there on the derivative of the closed form loses only eps / q.
SERIES_BELOW = {torch.float32: 3e-2, torch.float64: 1e-3}
ASINHC_SERIES = (-63 / 2816, 35 / 1152, -5 / 112, 3 / 40, -1 / 6, 1.0)

#: The same for artanh, sinh and tanh in float64; the first omitted terms are under 1e-16.
ATANHC_SERIES = (1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0)
SINHC_SERIES = (1 / 362880, 1 / 5040, 1 / 120, 1 / 6, 1.0)
TANHC_SERIES = (-1382 / 155925, 62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0)

#: Below this square of their argument, float64 sin(x) / x and log(sinh(s) / s) are their Taylor
#: polynomials: the first omitted terms are below 1e-18, and the derivatives of the closed forms
#: above lose only eps / 0.1.
_RADIAL_SERIES_BELOW = 0.1
_SINC_SERIES = (1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0)
_LOG_SINHC_SERIES = (
    -3617 / 2605132530000,
    2 / 127702575,
    -691 / 3831077250,
    1 / 467775,
    -1 / 37800,
    1 / 2835,
    -1 / 180,
    1 / 6,
    0.0,
)

#: Shares of points are multiplied by this before they are rounded up, so that a whole number is not
#: taken for a little more: below 1 by more than a rounding of float32, less than one in a million.
WHOLE = 1 - 2.0**-23

#: Added to weights of points that must not vanish: one rounding of a weight of 1. Where all others
#: underflow, points have equal weights instead of none.
LEAST_WEIGHT = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}

#: Coordinates are split at this fraction of the ball's radius, so that the squares of the leading
#: parts (40 bits) add up exactly in float64 (53 bits).
_SPLIT = 2.0**-20


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean inner product over the last dimension, kept: ``[..., n] -> [..., 1]``."""
    return (x * y).sum(dim=-1, keepdim=True)


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A sum and its rounding error, exactly (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Curvature, b: Tensor) -> tuple[Tensor, Tensor]:
    """A float64 product and its rounding error, exactly (Dekker; halves of 26 bits)."""
    product = a * b
    (a_head, a_tail), (b_head, b_tail) = _halves(a), _halves(b)
    error = ((a_head * b_head - product) + a_head * b_tail + a_tail * b_head) + a_tail * b_tail
    return product, error


def _halves(a: Curvature) -> tuple[Curvature, Curvature]:
    shifted = a * (2.0**27 + 1)
    head = shifted - (shifted - a)
    return head, a - head


def difference(y: Tensor, x: Tensor, s: Tensor) -> Tensor:
    """Float64 ``y - (1 + s) x``, rounded once: the three terms may cancel to nothing.

    Only the value is computed so; the gradient is that of the formula.
    """
    formula = (y - x) - s * x
    with torch.no_grad():
        d, d_error = _two_sum(y, -x)
        product, product_error = _two_product(s, x)
        total, total_error = _two_sum(d, -product)
        correction = (total + (total_error + (d_error - product_error))) - formula
    return formula + correction


def safe_sqrt(z: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 (a subgradient of the norm) instead of infinite.

    Of a negative number, which only rounding can produce, it is 0; NaN stays NaN.
    """
    nothing = z <= 0
    return torch.where(nothing, 0.0, torch.where(nothing, 1.0, z).sqrt())


def _polynomial(coefficients: tuple[float, ...], z: Tensor) -> Tensor:
    """Horner's rule, the highest power first."""
    total = torch.full_like(z, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * z + coefficient
    return total


def unit(v: Tensor) -> Tensor:
    """Vectors divided by their length; the zero vector, and its gradient, stay as they are.

    Divided by the largest entry first, as the square of a long or a short vector may be no number.
    """
    largest = v.detach().abs().amax(dim=-1, keepdim=True)
    direction = v / torch.where(largest > 0, largest, 1.0)
    squared = dot(direction, direction)
    return direction / torch.where(squared > 0, squared, 1.0).sqrt()


def limited_exp(s: Tensor) -> Tensor:
    """The exponential, constant beyond :data:`MAX_EXPONENT`."""
    return s.clamp(max=MAX_EXPONENT).exp()


def bounded_exp(s: Tensor) -> Tensor:
    """The exponential, constant beyond :data:`MAX_LOG` on either side."""
    return s.clamp(-MAX_LOG, MAX_LOG).exp()


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Float64 numbers in ``dtype``, finite ones cut at its end of :data:`ENDS`: coordinates of
    tangent vectors of the hyperboloid grow like the exponential of the radius.
    """
    return torch.where(x.isinf(), x, x.clamp(-ENDS[dtype], ENDS[dtype])).to(dtype)


def beyond_rounding(total: Tensor, terms: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum of ``terms``, or 0 where their :data:`ROUNDINGS` in ``dtype`` may be all of it; its
    gradient is that of the sum there too.
    """
    noise = ROUNDINGS * torch.finfo(dtype).eps * terms.abs().sum(dim=-1, keepdim=True)
    return total - torch.where(total.abs() <= noise, total, 0.0).detach()


def _over_root(
    function: Callable[[Tensor], Tensor], series: tuple[float, ...], z: Tensor
) -> Tensor:
    r"""The even function :math:`f(\sqrt z) / \sqrt z` of an odd one, smooth at 0."""
    small = z < SERIES_BELOW[z.dtype]
    near = _polynomial(series, torch.where(small, z, 0.0))
    root = torch.where(small, 1.0, z).sqrt()
    return torch.where(small, near, function(root) / root)


def asinhc(z: Tensor) -> Tensor:
    r""":math:`\operatorname{asinh}(\sqrt z) / \sqrt z`."""
    return _over_root(torch.asinh, ASINHC_SERIES, z)


def sinhc(z: Tensor) -> Tensor:
    r""":math:`\sinh(\sqrt z) / \sqrt z`."""
    return _over_root(torch.sinh, SINHC_SERIES, z)


def tanhc(z: Tensor) -> Tensor:
    r""":math:`\tanh(\sqrt z) / \sqrt z`."""
    return _over_root(torch.tanh, TANHC_SERIES, z)


def sech_squared(z: Tensor) -> Tensor:
    r""":math:`1 / \cosh^2 \sqrt z`, as exact far out as near 0."""
    small = z < SERIES_BELOW[z.dtype]
    near = torch.where(small, z, 0.0)
    root = torch.where(small, 1.0, z).sqrt()
    return torch.where(small, 1 - near * tanhc(near).square(), root.cosh() ** -2)


def sinc(x: Tensor) -> Tensor:
    r""":math:`\sin(x) / x` in float64, smooth at 0."""
    small = x * x < _RADIAL_SERIES_BELOW
    near = torch.where(small, x, 0.0)
    far = torch.where(small, 1.0, x)
    return torch.where(small, _polynomial(_SINC_SERIES, near * near), far.sin() / far)


def log_sinhc(z: Tensor) -> Tensor:
    r"""The even function :math:`\log(\sinh(\sqrt z) / \sqrt z)` in float64, smooth at 0."""
    small = z < _RADIAL_SERIES_BELOW
    series = _polynomial(_LOG_SINHC_SERIES, torch.where(small, z, 0.0))
    s = torch.where(small, 1.0, z).sqrt()
    return torch.where(small, series, s - (2 * s).log() + torch.log1p(-torch.exp(-2 * s)))


def rel_factor(q: Tensor) -> Tensor:
    r""":math:`a(q) = \operatorname{asinh}(\sqrt q) / \sqrt{q (1 + q)}`, smooth at 0."""
    return asinhc(q) / (1 + q).sqrt()


def _none(mask: Tensor) -> bool:
    """Whether no entry is known to be set. A GPU is not waited for, and while compiling, tracing or
    transforming functions there is nothing to see.
    """
    hidden = torch.compiler.is_compiling() or torch.jit.is_tracing() or isinstance(mask, FakeTensor)
    hidden = hidden or mask.device.type != "cpu" or torch._C._are_functorch_transforms_active()
    return not (hidden or get_proxy_mode() is not None) and not mask.any()


def _shorten(v: Tensor, c: Curvature, too_long: Tensor, length: float) -> Tensor:
    r"""Float64 vectors with :math:`\sqrt c \|v\|` set to ``length`` where they are too long.

    Divided by the largest entry first, as the square of a long vector may overflow.
    """
    largest = v.detach().abs().amax(dim=-1, keepdim=True)
    direction = v / torch.where(too_long, largest, 1.0)
    squared = torch.where(too_long, c * dot(direction, direction), 1.0)
    return torch.where(too_long, direction * (length / squared.sqrt()), v)


def clip_length(v: Tensor, c: Curvature, longest: float = MAX_LENGTH) -> Tensor:
    r"""Shorten float64 vectors to :math:`\sqrt c \|v\| \le` ``longest``."""
    with torch.no_grad():
        too_long = c * dot(v, v) > longest**2
    alike = too_long.shape[:-1] == v.shape[:-1]  # not where every point has curvatures of its own
    return v if alike and _none(too_long) else _shorten(v, c, too_long, longest)


def split_step(c: Curvature) -> Curvature:
    """Spacing of the leading parts of coordinates: a power of two of about the ball's radius."""
    # c = 0 is the flat limit, where any finite radius will do; NaN is to come out as NaN
    if isinstance(c, Tensor):
        return _SPLIT * (-0.5 * c.detach().log2()).clamp(max=60.0).ceil().exp2()
    exponent = math.ceil(-0.5 * math.log2(c)) if c != 0 and c < math.inf else 60
    return _SPLIT * 2.0 ** min(60, exponent)


def gap(x: Tensor, c: Curvature) -> Tensor:
    r""":math:`g_x = 1 - c\|x\|^2` in float64, ``[..., n] -> [..., 1]``; no lower bound.

    For float32 coordinates the squares are exact in float64. For float64 coordinates the sum is
    split, :math:`x^2 = h^2 + (x - h)(x + h)` with :math:`h` the leading 20 bits, and the rounding
    error of :math:`c \sum h^2` is made up for: what is left is that of the trailing sum, 2^-20 of
    float64's eps.
    """
    if x.dtype != torch.float64:
        x = x.double()
        return 1 - c * dot(x, x)
    step = split_step(c)
    head = (x.detach() / step).round() * step
    leading = dot(head, head)
    with torch.no_grad():
        _, error = _two_product(c, leading)
    return ((1 - c * leading) - error) - c * dot(x - head, x + head)


def project(x: Tensor, c: Curvature) -> tuple[Tensor, Tensor]:
    """Points of the ball and their gaps: ``x`` in its dtype, the gap ``[..., 1]`` in float64.

    Points with less than the smallest gap are moved along their ray to twice that gap; all others
    are returned as they are.
    """
    smallest, own = MIN_GAP[x.dtype], gap(x, c)
    outside = ~(own >= smallest)  # also where the square overflowed
    if outside.shape[:-1] == x.shape[:-1] and _none(outside):
        return x, own
    inside = _shorten(x.double(), c, outside, (1 - 2 * smallest) ** 0.5).to(x.dtype)
    return inside, gap(inside, c)
