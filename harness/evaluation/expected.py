"""Expected best value of a search by number of trials; pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["expected_best", "running_best"]


def expected_best(values: Sequence[float]) -> list[float]:
    """Return the expected best of 1, 2, ..., N draws from N measured values.

    Dodge et al., Show Your Work: Improved Reporting of Experimental Results (EMNLP 2019), section
    3: with the values in ascending order v(1) <= ... <= v(N) and F their empirical distribution,

        E[best of n] = sum_i v(i) (F(v(i))^n - F(v(i-1))^n) = sum_i v(i) ((i/N)^n - ((i-1)/N)^n).

    It assumes n independent draws of settings, so the values must come from random search. Draws
    are with replacement: near n = N it is below the best of N further draws (Tang et al., Showing
    Your Work Doesn't Always Work, ACL 2020).

    Args:
        values: value per trial, in any order; higher is better.

    Returns:
        N numbers, not decreasing, starting with the mean of the values.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    share = np.arange(len(ordered) + 1) / max(len(ordered), 1)
    return [float(ordered @ np.diff(share**n)) for n in range(1, len(ordered) + 1)]


def running_best(values: Sequence[float]) -> list[float]:
    """Return the best value so far after 1, 2, ..., N trials.

    Args:
        values: value per trial, in the order of the trials.
    """
    return [float(best) for best in np.maximum.accumulate(np.asarray(values, dtype=float))]
