r"""What curvature makes of the bell curve: the heat kernels of :mod:`harmonic`, dimension by
dimension.

In odd dimensions by differentiation of the Gaussian, in even ones by an integral over the next odd
one; :math:`r = \sqrt c\, d` as there. All in float64.
"""

import math

import torch
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.typing import Curvature

#: Step and number of the positive nodes of the trapezoidal rule after v = a sinh(y). It ends at
#: v = 45 a, where exp(-v / a) is below 1e-19. Gaussians are then analytic, and decay, up to pi / 4
#: from the real line of y, which makes the error of the rule exp(-2 pi (pi / 4) / STEP) = 1e-17.
STEP, REACH = 0.125, 36

#: Squared radius within which the recursion of :func:`zero_frequency_profiles` descends, and from
#: how many terms above; terms of the continued fraction of r coth r there. The error is about
#: 1e-13.
NEAR, DESCENT, LAMBERT = 5.0, 48, 14


def zero_frequency_profiles(z: Tensor, count: int) -> list[Tensor]:
    r""":math:`A_i = \varphi_0 \operatorname{sinhc}(r)^{i+1}` of the dimensions :math:`2i + 3`,
    :math:`i = 0, \ldots`, from :math:`z = r^2`.

    They are, but for factors, derivatives of :math:`y = r^2 / 2` by :math:`x = \cosh r`. From those
    of :math:`(x^2 - 1) y'' + x y' = 1`, with :math:`A_{-1} = A_0 = 1`,

    .. math::
        A_{i-1} = r \coth r\, A_i - \frac{(i + 1)^2}{(2i + 1)(2i + 3)}\, r^2 A_{i+1} .

    Near the origin they are the solution that decays with :math:`i`, which the ratios
    :math:`A_i / A_{i-1}` find from above: an error shrinks by :math:`\tanh^2(r/2)` a step. Far away
    it grows by the inverse of that, little enough, in the opposite direction (Gautschi,
    "Computational Aspects of Three-Term Recurrence Relations" (1967), on such solutions).
    """
    if count < 2:  # the first needs no recursion
        return [torch.ones_like(z)]
    inside = z < NEAR
    near, far = z.where(inside, NEAR), z.where(~inside, NEAR)
    r_coth = torch.ones_like(near)  # Lambert's continued fraction
    for odd in range(2 * LAMBERT + 1, 0, -2):
        r_coth = odd + near / r_coth
    ratio = 2 / (r_coth + (-num.log_sinhc(near)).exp())
    ratios: list[Tensor] = []
    for i in range(count + DESCENT, 0, -1):
        ratio = 1 / (r_coth - (i + 1) ** 2 / ((2 * i + 1) * (2 * i + 3)) * near * ratio)
        ratios.append(ratio)
    r = far.sqrt()
    r_coth = r / r.tanh()
    close = [torch.ones_like(z)]
    away = [torch.ones_like(z)]
    before = away[0]
    for i in range(count - 1):
        close.append(close[-1] * ratios[-1 - i])
        after = (2 * i + 1) * (2 * i + 3) / (i + 1) ** 2 * (r_coth * away[-1] - before) / far
        before = away[-1]
        away.append(after)
    return [torch.where(inside, a, b) for a, b in zip(close, away, strict=True)]


def log_odd(d: Tensor, t: Tensor, n: int, c: Curvature) -> Tensor:
    r"""What curvature adds to the logarithm of a heat kernel of odd dimension, but for its decay.

    Descent, :math:`K_{n+2} = -\frac{e^{-nt}}{2\pi} \frac{dK_n}{d \cosh r}`, applied
    :math:`m = \rho` times to the Gaussian :math:`f = e^{-y/2t}` of :math:`y = r^2 / 2`. The
    derivatives of :math:`y` are themselves spherical functions,
    :math:`(-1)^i y^{(i+1)} = b_i\, \varphi_0^{2i+3}(r)`, so all terms of Leibniz's rule are
    positive.
    """
    m = (n - 1) // 2
    coefficients, b = [], 1.0
    for i, profile in enumerate(zero_frequency_profiles(c * d * d, m)):
        coefficients.append(b * (2 * c * t) ** i * profile)
        b *= (i + 1) ** 2 / (2 * i + 3)
    g = [torch.ones_like(d)]  # (-2t)^k f^(k) / f, times sinhc(r)^k
    for k in range(m):
        terms = (math.comb(k, i) * coefficients[i] * g[k - i] for i in range(k + 1))
        g.append(sum(terms, torch.zeros_like(d)))
    return g[m].log() - m * num.log_sinhc(c * d * d)


def log_even(d: Tensor, t: Tensor, n: int, c: Curvature) -> Tensor:
    r"""The same in even dimensions, by descent from the next odd one: the mean of
    :math:`K_{n+1}(s) \operatorname{sinhc}(s) / (\operatorname{sinhc}\frac{s+r}{2}
    \operatorname{sinhc}\frac{s-r}{2})^{1/2}`, :math:`s^2 = r^2 + v^2`, over normal :math:`v`.
    """
    y = STEP * (torch.arange(REACH, dtype=d.dtype, device=d.device) + 0.5)
    d, t = d.unsqueeze(-1), t.unsqueeze(-1)
    wide = 1 + c * t
    v = 2 * (t / wide).sqrt() * y.sinh()
    s = (d * d + v * v).sqrt()
    both = num.log_sinhc(c * (s + d) ** 2 / 4) + num.log_sinhc(c * (s - d) ** 2 / 4)
    value = log_odd(s, t, n + 1, c) + num.log_sinhc(c * s * s) - both / 2
    weight = (2 * STEP * y.cosh() / math.sqrt(math.pi)).log() - y.sinh() ** 2 / wide
    return torch.logsumexp(weight + value, dim=-1) - wide.squeeze(-1).log() / 2
