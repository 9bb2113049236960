"""Mean and spread of results; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, fsum, pi, sin, sqrt, tan
from statistics import fmean

__all__ = [
    "CONFIDENCE",
    "Change",
    "SeedSummary",
    "difference_half_width",
    "half_width",
    "paired_change",
    "summarise",
    "unpaired_change",
]

CONFIDENCE = 0.95
"""Of every interval that a table or figure shows."""


@dataclass(frozen=True)
class SeedSummary:
    """Result over seeds.

    Attributes:
        mean: arithmetic mean.
        sd: sample standard deviation (n - 1 in the denominator), None for one seed.
        n: number of seeds.
    """

    mean: float
    sd: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width of Student's 95 % interval of the mean, None for one seed."""
        return None if self.sd is None else half_width(self.sd, self.n)


@dataclass(frozen=True)
class Change:
    """Difference of two results over seeds.

    Attributes:
        mean: difference of the means.
        half: half the width of its 95 % interval, None where a side has one seed.
        paired: whether it was taken seed by seed.
    """

    mean: float
    half: float | None
    paired: bool

    @classmethod
    def by_seed(cls, differences: SeedSummary) -> Change:
        """Make a change of the differences of paired seeds (Student's interval)."""
        return cls(differences.mean, differences.half, paired=True)


def summarise(values: Sequence[float]) -> SeedSummary:
    """Return mean and standard deviation of at least one value."""
    mean, n = fmean(values), len(values)
    if n == 1:
        return SeedSummary(mean, None, n)
    if min(values) == max(values):
        return SeedSummary(values[0], 0.0, n)  # not what rounding the mean leaves of it
    return SeedSummary(mean, sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1)), n)


def half_width(sd: float, n: int) -> float:
    """Return half the width of Student's 95 % interval of a mean: t(n - 1) sd / sqrt(n).

    Args:
        sd: sample standard deviation.
        n: number of values, at least two.
    """
    return _quantile(n - 1) * sd / sqrt(n)


def difference_half_width(summaries: Sequence[SeedSummary]) -> float | None:
    """Return half the width of the 95 % interval of a difference between two of several means.

    t(degrees) s sqrt(2 / n): s² is the variance pooled over the means by their degrees of freedom
    n_i - 1 (Montgomery, Design and Analysis of Experiments, 3.5), n the least number of seeds.

    Args:
        summaries: means that are taken to vary alike.

    Returns:
        None where no mean has two seeds.
    """
    degrees = sum(summary.n - 1 for summary in summaries)
    if not degrees:
        return None
    squares = fsum((s.n - 1) * s.sd**2 for s in summaries if s.sd is not None)
    n = min(summary.n for summary in summaries)
    return _quantile(degrees) * sqrt(squares / degrees) * sqrt(2 / n)


@cache
def _quantile(degrees: int) -> float:
    """Return the t that Student's distribution exceeds in size with probability 0.05.

    With t = sqrt(degrees) tan(angle) the probability of less is a finite sum (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4), which grows with the angle. scipy has it too and takes longer to
    import than a report takes to print.
    """
    low, high = 0.0, pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if _within(angle, degrees) < CONFIDENCE:
            low = angle
        else:
            high = angle
    return sqrt(degrees) * tan(low)


def _within(angle: float, degrees: int) -> float:
    odd = degrees % 2
    term = cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    total *= sin(angle)
    return 2 / pi * (angle + total) if odd else total


def paired_change(values: Mapping[int, float], baseline: Mapping[int, float]) -> SeedSummary | None:
    """Return ``values - baseline`` over the seeds both have, None when there are none.

    Seeds are paired because variants trained with one seed share initial entities, batches and
    negatives (:mod:`harness.seeding`).
    """
    common = values.keys() & baseline.keys()
    if not common:
        return None
    return summarise([values[seed] - baseline[seed] for seed in sorted(common)])


def unpaired_change(values: Sequence[float], baseline: Sequence[float]) -> Change:
    """Subtract the mean of ``baseline`` from that of ``values``, with Welch's 95 % interval.

    For runs that share no random streams: the two standard deviations may differ, and the degrees
    of freedom are those of Welch (1947) and Satterthwaite (1946).

    Args:
        values, baseline: at least one value each; all of them count, whatever their seeds.
    """
    sides = [summarise(list(side)) for side in (values, baseline)]
    mean = sides[0].mean - sides[1].mean
    if any(side.sd is None for side in sides):
        return Change(mean, None, paired=False)
    # Squared standard errors of the two means.
    errors = [side.sd**2 / side.n for side in sides if side.sd is not None]
    total = fsum(errors)
    if total == 0:
        return Change(mean, 0.0, paired=False)
    degrees = total**2 / fsum(e**2 / (s.n - 1) for e, s in zip(errors, sides, strict=True))
    # A fraction of the time that scipy.stats takes to import.
    from scipy.special import stdtrit

    return Change(mean, float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * sqrt(total), paired=False)
