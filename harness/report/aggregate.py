"""Mean, spread and order of results; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from harness.report.table import Mark

__all__ = ["CONFIDENCE", "Summary", "half_width", "paired_change", "rank_marks", "summarise"]

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


def rank_marks(
    summaries: Sequence[Summary | None], *, higher_is_better: bool = True
) -> list[Mark | None]:
    """Return which results of one column are best and second.

    A result is marked only when its lead over the next one exceeds the noise, that is the larger
    standard deviation of the two; without any standard deviation (one seed each) the noise is
    unknown and nothing is marked. The second is marked only below a marked best.
    """
    marks: list[Mark | None] = [None] * len(summaries)
    measured = [(i, s) for i, s in enumerate(summaries) if s is not None]
    measured.sort(key=lambda pair: pair[1].mean, reverse=higher_is_better)
    for place, mark in enumerate((Mark.BEST, Mark.SECOND)):
        if place >= len(measured) or len(measured) < 2:
            break
        position, summary = measured[place]
        below = measured[place + 1][1] if place + 1 < len(measured) else None
        if below is not None and not _leads(summary, below):
            break
        marks[position] = mark
    return marks


def _leads(first: Summary, second: Summary) -> bool:
    noise = [s.sd for s in (first, second) if s.sd is not None]
    return bool(noise) and abs(first.mean - second.mean) > max(noise)
