"""The exponential function, in vector registers."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import contracting

__all__ = ["exp"]


@contracting
def exp(x):
    """Return exp(x) for x in [-87, 0] to 2 units in the last place, NaN for NaN.

    A power of two times a polynomial, as in Cephes (``single/expf.c``). Compiled without reordering
    of sums, which would undo the splitting of ln 2 into two constants.
    """
    x = max(x, np.float32(-87))
    power = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = x - power * np.float32(0.693359375)
    r += power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
