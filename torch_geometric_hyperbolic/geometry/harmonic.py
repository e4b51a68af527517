r"""Waves and heat on the :math:`n`-dimensional space of curvature :math:`-c`, as functions of a
distance :math:`d`.

A *spherical function* :math:`\varphi_\lambda` is the wave that looks the same in every direction
from a point: the one radial eigenfunction of the Laplacian, :math:`\Delta \varphi_\lambda =
-(\lambda^2 + c \rho^2) \varphi_\lambda` with :math:`\rho = (n-1)/2`, that is 1 at :math:`d = 0`. It
plays the part of :math:`\cos(\lambda d)`: on the line it *is* the cosine, in Euclidean space a
Bessel function, and in hyperbolic space it also decays like :math:`e^{-\sqrt c \rho d}`, as the
room it spreads into grows. The *Helgason-Fourier transform* writes a signal as a sum of plane waves
of all frequencies :math:`\lambda` and directions :math:`\omega`; for point masses
:math:`f = \sum_j w_j \delta_{x_j}` its *power* at one frequency is

.. math::
    \int \lvert \hat f(\lambda, \omega) \rvert^2 \, d\omega
    = \sum_{jk} w_j w_k \, \varphi_\lambda(d(x_j, x_k)) .

An isometry of the space turns plane waves into plane waves of the same frequency. It mixes
directions, so the integral over all of them does not change; the right-hand side shows it at once.

The *heat kernel* :math:`K_t(d)` is the density of heat at distance :math:`d` from the one point
where all of it was a time :math:`t` ago, :math:`\partial_t K = \Delta K`: the bell curve of the
space. Smoothing a signal with it multiplies every plane wave by
:math:`e^{-t (\lambda^2 + c \rho^2)}` and hence the power by the square of that.

Both are written with :math:`r = \sqrt c\, d` and :math:`\operatorname{sinhc} s = \sinh(s) / s`,
entire functions of :math:`c\,d^2`, so that :math:`c = 0` is Euclidean space by the same formula and
gradients exist at :math:`d = 0`. Distances and times are in the units of the manifold, and
everything runs in float64 inside.

Example:
    >>> import torch
    >>> from torch_geometric_hyperbolic.geometry import harmonic
    >>> d = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # two points one apart, of opposite sign
    >>> w = torch.tensor([1.0, -1.0])
    >>> w @ harmonic.spherical_function(d, 2.0, n=3, c=1.0) @ w  # their power at 2 radians
    tensor(1.2263)

Sources: Helgason, "Groups and Geometric Analysis" (1984), ch. IV, for spherical functions and the
transform; Davies, "Heat Kernels and Spectral Theory" (1989), sec. 5.7, and Davies and Mandouvalos,
"Heat Kernel Bounds on Hyperbolic Space and Kleinian Groups" (1988), for the kernels.
"""

import functools
import math
from numbers import Real

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_geometric_hyperbolic.geometry import _numerics as num
from torch_geometric_hyperbolic.geometry._heat import log_even, log_odd
from torch_geometric_hyperbolic.geometry._precision import full_precision
from torch_geometric_hyperbolic.typing import Curvature

#: Nodes of the quadrature over [-1, 1]; the integrand is even, so half of them are evaluated.
NODES = 128

#: Largest dimension in which the heat kernel was compared with references.
MAX_DIMENSION = 32


@functools.lru_cache
def _gegenbauer(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Positive nodes and weights, of sum 1, of Gauss's rule for :math:`(1 - u^2)^{(n-3)/2}`.

    Golub and Welsch: eigenvalues and first components of eigenvectors of the Jacobi matrix.
    """
    a, k = (n - 2) / 2, np.arange(2, NODES)
    squares = np.append(1 / (2 * (1 + a)), k * (k + 2 * a - 1) / (4 * (k + a) * (k + a - 1)))
    nodes, vectors = np.linalg.eigh(np.diag(np.sqrt(squares), -1))
    half = nodes > 0
    return nodes[half], 2 * vectors[0, half] ** 2


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _rule(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """:func:`_gegenbauer` as a constant of what is compiled, where it is not traced."""
    return _gegenbauer(n)


def _check_dimension(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"'n' must be an int (got {n!r})")
    if n < 1:
        raise ValueError(f"'n' must be at least 1 (got {n})")


def _profile(d: Tensor, phase: Tensor, n: int, c: Curvature) -> Tensor:
    r""":math:`\varphi_\lambda \operatorname{sinhc}(r)^\rho`, where ``phase`` is :math:`\lambda d`.

    It grows like a power of :math:`r` only, so that it neither over- nor underflows.
    """
    if n == 1:
        return phase.cos()
    if n == 3:
        return num.sinc(phase)
    u, weight = (torch.as_tensor(values, device=d.device) for values in _rule(n))
    z = (c * d * d).unsqueeze(-1)
    both = num.log_sinhc(z * ((1 + u) / 2) ** 2) + num.log_sinhc(z * ((1 - u) / 2) ** 2)
    envelope = weight * ((n - 3) / 2 * (both - num.log_sinhc(z))).exp()
    return (envelope * (phase.unsqueeze(-1) * u).cos()).sum(dim=-1)


@functools.partial(full_precision, flat=True)
def spherical_function(
    distance: Tensor, frequency: float | Tensor, *, n: int, c: Curvature
) -> Tensor:
    r"""The spherical function :math:`\varphi_\lambda(d)`, by a Mehler integral.

    .. math::
        \varphi_\lambda(d) = \operatorname{sinhc}(r)^{-\rho} \sum_q w_q \left[
        \frac{\operatorname{sinhc}\frac{r (1 + u_q)}{2} \operatorname{sinhc}\frac{r (1 - u_q)}{2}}
        {\operatorname{sinhc} r} \right]^{(n-3)/2} \cos(\lambda d\, u_q),

    with the nodes :math:`u_q` and weights :math:`w_q` of Gauss's rule for the weight
    :math:`(1 - u^2)^{(n-3)/2}`. For :math:`n = 1` it is :math:`\cos \lambda d`, for :math:`n = 3`
    :math:`\sin(\lambda d) / (\lambda d \operatorname{sinhc} r)`; in other dimensions it costs 64
    nodes per value, and its error is at most :math:`10^{-12} \varphi_0(d)` for
    :math:`\lambda d \le 160`, :math:`n \le 24` and :math:`r \le 30`; in more dimensions it grows
    with :math:`r`. Beyond :math:`\lambda d = 200` it is still at most :math:`\varphi_0(d)`, but no
    longer the spherical function. Smooth everywhere, :math:`d = 0` included.

    Args:
        distance (torch.Tensor): geodesic distances, any shape.
        frequency (float or torch.Tensor): :math:`\lambda` per unit of length; broadcasts with
            ``distance``.
        n (int): the dimension of the space.
        c (float or torch.Tensor): the curvature is ``-c``; 0 for Euclidean space.

    Returns:
        Values between -1 and 1, in the dtype of ``distance``.

    Raises:
        TypeError, ValueError: naming the argument, for another ``n`` or ``c``.

    Example:
        >>> import torch
        >>> spherical_function(torch.tensor([0.0, 1.0, 2.0]), 2.0, n=2, c=1.0)
        tensor([ 1.0000,  0.2172, -0.2960])
    """
    _check_dimension(n)
    d = distance.double()
    scale = -(n - 1) / 2 * num.log_sinhc(c * d * d)
    return (scale.exp() * _profile(d, frequency * d, n, c)).to(distance.dtype)


@functools.partial(full_precision, flat=True)
def log_heat_kernel(distance: Tensor, time: float | Tensor, *, n: int, c: Curvature) -> Tensor:
    r"""Logarithm of the :func:`heat_kernel`, finite where the kernel is too small for its dtype.

    Arguments, range and cost are those of :func:`heat_kernel`.

    Example:
        >>> import torch
        >>> log_heat_kernel(torch.tensor([0.0, 20.0]), 0.5, n=3, c=1.0)
        tensor([  -3.2568, -219.5679])
    """
    _check_dimension(n)
    if n > MAX_DIMENSION:
        raise ValueError(f"'n' must be at most {MAX_DIMENSION} (got {n})")
    if not isinstance(time, (Real, Tensor)):
        raise TypeError(f"'time' must be a float or a tensor (got {time!r})")
    if not isinstance(time, Tensor) and not 0 < time < math.inf:
        raise ValueError(f"'time' must be positive and finite (got {time})")
    d = distance.double()
    t = torch.as_tensor(time, dtype=torch.float64, device=d.device)
    gaussian = -n / 2 * (4 * math.pi * t).log() - d * d / (4 * t)
    decay = -(((n - 1) / 2) ** 2) * c * t
    curved = log_odd(d, t, n, c) if n % 2 else log_even(d, t, n, c)
    return (gaussian + decay + curved).to(distance.dtype)


@functools.partial(full_precision, flat=True)
def heat_kernel(distance: Tensor, time: float | Tensor, *, n: int, c: Curvature) -> Tensor:
    r"""The heat kernel :math:`K_t(d)`: of :math:`\partial_t K = \Delta K`, with integral 1.

    .. math::
        K_t(d) = (4 \pi t)^{-n/2} \exp\Bigl( -\frac{d^2}{4t} - c \rho^2 t \Bigr) A_n(r, ct),
        \qquad A_1 = 1, \quad A_3 = 1 / \operatorname{sinhc} r .

    :math:`A_n` is 1 for :math:`c = 0`. In higher odd dimensions it follows by differentiation, in
    even ones by an integral over the next odd one (for :math:`n = 2` McKean's); both add positive
    terms only. The logarithm is accurate to 1e-11, or to rounding of its own terms where these are
    large, for :math:`ct \le 100` and every distance. A value costs some 150 operations and
    :math:`n^2 / 8` more in odd dimensions from 5 on, and 36 times that of the next odd one in even
    dimensions; a derivative keeps about as many numbers.

    Args:
        distance (torch.Tensor): geodesic distances, any shape.
        time (float or torch.Tensor): positive times; broadcasts with ``distance``. The deviation
            of a coordinate is :math:`\sqrt{2t}` while that is small.
        n (int): the dimension of the space, at most 32.
        c (float or torch.Tensor): the curvature is ``-c``; 0 for Euclidean space.

    Returns:
        Densities per unit of volume, in the dtype of ``distance``.

    Raises:
        TypeError, ValueError: naming the argument, for another ``n`` or ``c``, or a ``time`` that
            is not positive (a tensor is not looked at).

    Example:
        >>> import torch
        >>> heat_kernel(torch.tensor([0.0, 1.0, 2.0]), 0.5, n=2, c=1.0)
        tensor([0.1351, 0.0757, 0.0137])
    """
    return log_heat_kernel(distance, time, n=n, c=c).exp()


__all__ = ["spherical_function", "heat_kernel", "log_heat_kernel"]
