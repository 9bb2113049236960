"""Mean and spread of results; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

__all__ = ["CONFIDENCE", "Summary", "half_width", "paired_change", "summarise"]

CONFIDENCE = 0.95
"""Of every interval that a table or figure shows."""


@dataclass(frozen=True)
class Summary:
    """Result over seeds.

    Attributes:
        mean: arithmetic mean.
        sd: sample standard deviation (n - 1 in the denominator), None for one seed.
        n: number of seeds.
    """

    mean: float
    sd: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Return mean and standard deviation of at least one value."""
    return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def half_width(sd: float, n: int) -> float:
    """Return half the width of Student's 95 % interval of a mean: t(n - 1) sd / sqrt(n).

    Args:
        sd: sample standard deviation.
        n: number of values, at least two.
    """
    from scipy.special import stdtrit  # the quantile of Student's t; takes 0.2 s to import

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / sqrt(n)


def paired_change(values: Mapping[int, float], baseline: Mapping[int, float]) -> Summary | None:
    """Return ``values - baseline`` over the seeds both have, None when there are none.

    Seeds are paired because variants trained with one seed share initial entities, batches and
    negatives (:mod:`harness.seeding`).
    """
    common = values.keys() & baseline.keys()
    if not common:
        return None
    return summarise([values[seed] - baseline[seed] for seed in sorted(common)])
