"""The compiled loops of the micro-benchmarks; importing this module imports numba.

They share nothing with ``harness.kernels``: a ceiling must not move because a kernel does. Each
does one thing as fast as the compiler lets it and returns a number, so that nothing is left out.
Sums may be reordered and a reciprocal may be estimated and refined, as in the kernels.
"""
# Numba compiles these functions; it has no types that mypy could check.
# mypy: disallow-untyped-decorators=False, disallow-untyped-defs=False

from __future__ import annotations

import numba
import numpy as np

__all__ = ["ticks", "total", "total_of_reciprocal_roots", "total_of_roots", "total_of_rows"]

_LOOSE = {"reassoc", "contract", "arcp", "nsz"}
_loose = numba.njit(nogil=True, fastmath=_LOOSE, error_model="numpy", boundscheck=False)


@numba.njit(nogil=True, boundscheck=False)
def ticks(steps):
    """Take 2 * steps processor cycles: an exclusive or and an addition, each waiting for the last.

    Both take one cycle on every processor that numba compiles for, and no compiler can fold the
    two (a chain of additions alone becomes one multiplication).
    """
    value = np.uint64(1)
    for i in range(np.uint64(steps)):
        value = (value ^ i) + np.uint64(0x9E3779B9)
    return value


@_loose
def total(values):
    """Add up values [n]: reads them once."""
    found = np.float32(0)
    for i in range(values.shape[0]):
        found += values[i]
    return found


@_loose
def total_of_rows(table, rows):
    """Add up the listed rows of a table [n, w]."""
    found = np.float32(0)
    width = np.uint64(table.shape[1])
    for i in range(np.uint64(rows.shape[0])):
        row = np.uint64(rows[i])
        for k in range(width):
            found += table[row, k]
    return found


@_loose
def total_of_roots(values, passes):
    """Take the square root of all values [n], ``passes`` times."""
    found, shift = np.float32(0), np.float32(0)
    for _ in range(passes):
        for i in range(values.shape[0]):
            found += np.sqrt(values[i] + shift)
        shift += np.float32(1e-3)  # or all passes would be one
    return found


@_loose
def total_of_reciprocal_roots(values, passes):
    """Take one over the square root of all values [n], ``passes`` times."""
    found, shift, one = np.float32(0), np.float32(0), np.float32(1)
    for _ in range(passes):
        for i in range(values.shape[0]):
            found += one / np.sqrt(values[i] + shift)
        shift += np.float32(1e-3)
    return found
