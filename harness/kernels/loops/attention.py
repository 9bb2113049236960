"""Inner products of tanh(vectors) and a query, and their gradients."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import loose

__all__ = ["ROWS", "tanh_dot", "tanh_dot_gradient"]

ROWS = 512
"""Number of rows of a block; one thread sums the gradients of the query over a block."""


@loose
def _tanh(x):
    """Return tanh to 4 units in the last place, NaN for NaN.

    The ratio of polynomials of Eigen (``generic_fast_tanh_float``).
    """
    # Beyond 7.9 tanh is 1 in single precision. NaN fails both comparisons and passes through.
    limit = np.float32(7.90531110763549805)
    x = limit if x > limit else x
    x = -limit if x < -limit else x
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
    """Write sum_k tanh(x_k) query_k of rows low:high to out [n]."""
    width = np.uint64(x.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        total = np.float32(0)
        for k in range(width):
            total += _tanh(x[i, k]) * query[k]
        out[i] = total


@loose
def tanh_dot_gradient(x, query, gradient, to_x, to_query, low, high):
    """Write the gradients of ``tanh_dot`` for blocks low:high of ``ROWS`` rows.

    Args:
        gradient: [n] of the logits.
        to_x: [n, width], written.
        to_query: [blocks, width] zeros, added to; each block has its own sum.
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
