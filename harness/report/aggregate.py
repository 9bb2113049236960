"""Mean, spread and order of results; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.report.table import Mark

__all__ = ["Summary", "paired_change", "rank_marks", "summarise"]


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


def paired_change(values: Mapping[int, float], baseline: Mapping[int, float]) -> float | None:
    """Return the mean of ``values - baseline`` over the seeds both have, None when none.

    Seeds are paired because variants trained with one seed share initial entities, batches and
    negatives (:mod:`harness.seeding`).
    """
    common = values.keys() & baseline.keys()
    if not common:
        return None
    return fmean(values[seed] - baseline[seed] for seed in sorted(common))


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
