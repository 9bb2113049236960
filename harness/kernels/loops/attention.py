"""Products of tanh of vectors and a query, and their gradients."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import loose

__all__ = ["ROWS", "tanh_dot", "tanh_dot_gradient"]

ROWS = 512
"""Rows whose gradients of a query are added up by one thread."""


@loose
def _tanh(x):
    """Return tanh to 4 units in the last place: a ratio of polynomials, as Eigen has it
    (``generic_fast_tanh_float``), which beyond 7.9 is 1 in single precision; NaN stays NaN."""
    most = np.float32(7.90531110763549805)
    x = most if x > most else x
    x = -most if x < -most else x
    s = x * x
    p = np.float32(-2.76076847742355e-16) * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06) * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@loose
def tanh_dot(x, query, out, low, high):
    """Write sum_k tanh(x_k) query_k of rows low:high."""
    width = np.uint64(x.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        total = np.float32(0)
        for k in range(width):
            total += _tanh(x[i, k]) * query[k]
        out[i] = total


@loose
def tanh_dot_gradient(x, query, gradient, to_x, to_query, low, high):
    """Write the gradients of ``tanh_dot``; of the query, of each block of rows low:high apart.

    Args:
        to_query: [blocks, width], zeros; ``ROWS`` rows make a block.
    """
    rows, width = np.uint64(x.shape[0]), np.uint64(x.shape[1])
    for block in range(np.uint64(low), np.uint64(high)):
        first = block * np.uint64(ROWS)
        for i in range(first, min(first + np.uint64(ROWS), rows)):
            g = gradient[i]
            for k in range(width):
                t = _tanh(x[i, k])
                to_x[i, k] = g * query[k] * (np.float32(1) - t * t)
                to_query[block, k] += g * t
