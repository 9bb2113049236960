"""Dropout, and corruptions that do not make a known triple."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import strict

__all__ = ["draw_free", "dropout"]


@strict
def _hashed(h):
    """Hash 32 bits by "lowbias32", https://nullprogram.com/blog/2018/07/31/ (bias 0.17)."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))


@strict
def dropout(x, first, second, threshold, factor, out, low, high):
    """Write x * factor, or x * 0 where the hash of position and seeds is below the threshold.

    The pattern repeats after 2^32 numbers.
    """
    for i in range(np.uint64(low), np.uint64(high)):
        h = _hashed(np.uint32(_hashed(np.uint32(np.uint32(i) + first)) ^ second))
        out[i] = x[i] * (factor if h >= threshold else np.float32(0))


@strict
def draw_free(free, replaces_tail, uniform, out, low, high):
    """Write the corruptions of positives low:high to out [b, n].

    ``free`` holds the fields of ``index.Free``; see ``harness.kernels.draws.draw_free``.
    """
    n_entities, base, start, counts, gaps = free
    for i in range(low, high):
        for j in range(uniform.shape[1]):
            side = 0 if replaces_tail[i, j] else 1
            rank = np.int64(uniform[i, j] * max(n_entities - counts[side, i], 1))
            key = base[side, i] + rank
            # Binary search for the number of known answers before the free entity of this rank.
            first, end = start[side, i], start[side, i] + counts[side, i]
            while first < end:
                middle = (first + end) // 2
                if gaps[middle] <= key:
                    first = middle + 1
                else:
                    end = middle
            out[i, j] = min(rank + first - start[side, i], n_entities - 1)
