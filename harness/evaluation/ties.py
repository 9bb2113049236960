"""Expected metrics under random tie breaking, in closed form; pure functions of counts.

A target with b better and t tied competitors gets each of the ranks b + 1, ..., b + t + 1 with
equal probability. The expected rank is the "realistic" one; the expected *reciprocal* rank is
larger than its reciprocal (Jensen), so models with many ties benefit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

__all__ = ["expected_hits", "expected_reciprocal"]

Values = NDArray[np.float64]


def expected_reciprocal(better: NDArray[Any], tied: NDArray[Any]) -> Values:
    """Return the expected reciprocal rank: (H(b + t + 1) - H(b)) / (t + 1), H harmonic numbers.

    Args:
        better, tied: counts [n], b and t.
    """
    low = np.asarray(better, np.float64)
    ties = np.asarray(tied, np.float64)
    # H(n) = digamma(n + 1) + Euler's constant, which cancels in the difference.
    expected = (digamma(low + ties + 2.0) - digamma(low + 1.0)) / (ties + 1.0)
    return np.asarray(np.where(ties == 0, 1.0 / (low + 1.0), expected), np.float64)


def expected_hits(better: NDArray[Any], tied: NDArray[Any], k: int) -> Values:
    """Return the probability of a rank of at most k, the share of the t + 1 ranks.

    Args:
        better, tied: counts [n], b and t.
        k: rank, from 1.
    """
    n_ranks = np.asarray(tied, np.float64) + 1.0
    return np.asarray(np.clip(k - np.asarray(better, np.float64), 0.0, n_ranks) / n_ranks)
