"""Softmax over a row of bfloat16 scores: its cross entropy and gradient.

A bfloat16 number is the upper half of a float32; arrays hold it as int16.
"""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.exp import exp
from harness.kernels.loops.flags import loose, strict

__all__ = ["replace"]


@strict
def _ordered(bits):
    """Return an integer that grows with the number; the same function maps it back.

    Negative numbers have descending bits. Integers, because the compiler does not use vector
    registers for a maximum of floats that may be NaN; a NaN is above or below all numbers.
    """
    return np.int16(bits ^ ((bits >> np.int16(15)) & np.int16(0x7FFF)))


@strict
def _wide(bits):
    """Return the float32 of a bfloat16."""
    return np.int32(np.int32(bits) << np.int32(16)).view(np.float32)


@strict
def _narrow(x):
    """Return the nearest bfloat16 of a finite float32, ties to even; a NaN stays one."""
    bits = np.float32(x).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return np.int16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@loose
def replace(scores, targets, losses, smoothing, low, high):
    """Overwrite the scores of rows low:high with their gradients, and write their losses.

    Args:
        scores: [q, n] bfloat16 as int16.
        targets: [q] columns of the true answers.
        losses: [q] float32, written.
        smoothing: label smoothing e in [0, 1).
    """
    n = np.uint64(scores.shape[1])
    share, floor = np.float32(1.0 - smoothing), np.float32(smoothing / scores.shape[1])
    powers = np.empty(scores.shape[1], np.float32)
    for i in range(np.uint64(low), np.uint64(high)):
        row, target = scores[i], targets[i]
        largest = np.int16(-0x8000)
        for j in range(n):
            largest = max(largest, _ordered(row[j]))
        top, true = _wide(_ordered(largest)), _wide(row[target])
        total, sum_of_scores = np.float32(0), np.float32(0)
        for j in range(n):
            score = _wide(row[j])
            power = exp(score - top)
            powers[j] = power
            total += power
            sum_of_scores += score
        expected = share * true + floor * sum_of_scores if smoothing else true
        losses[i] = (top - expected) + np.log(total)
        scale = np.float32(1) / total
        for j in range(n):
            row[j] = _narrow(powers[j] * scale - floor)
        row[target] = _narrow(powers[target] * scale - floor - share)
