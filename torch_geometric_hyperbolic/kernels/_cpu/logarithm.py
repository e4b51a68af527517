r"""The natural logarithm as plain arithmetic, so that a loop over numbers fills vector registers.

A call of the mathematical library takes one number at a time.
"""

import math

import numpy as np

from torch_geometric_hyperbolic.kernels._cpu.compiled import compiled

#: Taylor coefficients of artanh(f) / f in f^2, the highest first; for f up to 0.172 the first
#: omitted term is below 3e-17.
ARTANHC = tuple(1 / n for n in range(19, 0, -2))
#: Bits of a float64 below its exponent, and those of the square root of 1 / 2.
MANTISSA = 52
ROOT_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))
LOG_2 = math.log(2)


@compiled
def log(x):
    r""":math:`\log x` of a float64 from 1 up, to 3 units in the last place.

    With :math:`x = 2^e m`, :math:`m` from :math:`\sqrt{1/2}` to :math:`\sqrt 2`, it is
    :math:`e \log 2 + 2 \operatorname{artanh} f`, :math:`f = (m - 1) / (m + 1)`.
    """
    bits = np.float64(x).view(np.int64)
    exponent = (bits - ROOT_HALF) >> MANTISSA
    m = np.int64(bits - (exponent << MANTISSA)).view(np.float64)
    f = (m - 1) / (m + 1)
    square, value = f * f, 0.0
    for coefficient in ARTANHC:
        value = value * square + coefficient
    value = exponent * LOG_2 + 2 * f * value
    return value if x < np.inf else x
