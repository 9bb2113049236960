"""Power-law exponent of time in a size, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Exponent", "fit", "fit_all", "upper_half"]


@dataclass(frozen=True)
class Exponent:
    """Exponent of ``time ~ size ** value``.

    Attributes:
        value: least-squares slope on logarithms; 1 is linear, less indicates a fixed cost.
        low, high: confidence interval of the slope.
    """

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def upper_half(sizes: Sequence[float]) -> list[float]:
    """Return the larger half of the sizes, ascending, including the median of an odd number.

    Small sizes mostly measure the fixed cost of a call.
    """
    ordered = sorted(set(sizes))
    return ordered[len(ordered) // 2 :]


def fit(
    seconds: Mapping[float, Sequence[float]], confidence: float = 0.95, *, upper: bool = True
) -> Exponent:
    """Fit the exponent on the upper half of the sizes, or on all.

    Simple linear regression of log time on log size with Student's t interval; each repeat is a
    point (Montgomery, Peck and Vining, Introduction to Linear Regression Analysis, 2.4).

    Args:
        seconds: size -> repeated times, positive.
        confidence: level of the interval.
        upper: ignore the smaller half of the sizes.

    Raises:
        ValueError: fewer than two sizes or three points remain.
    """
    from scipy import stats

    points = [
        (math.log(size), math.log(value))
        for size in (upper_half(list(seconds)) if upper else seconds)
        for value in seconds[size]
    ]
    x, y = ([point[axis] for point in points] for axis in (0, 1))
    if len(set(x)) < 2 or len(points) < 3:
        raise ValueError(f"{len(points)} points of {len(set(x))} sizes are too few for an exponent")
    line = stats.linregress(x, y)
    reach = float(stats.t.ppf((1 + confidence) / 2, len(points) - 2) * line.stderr)
    slope = float(line.slope)
    return Exponent(slope, slope - reach, slope + reach)


def fit_all(seconds: Mapping[int, Sequence[float]]) -> Exponent | None:
    """Fit the exponent on all sizes; None for fewer than three sizes or points."""
    if len(seconds) < 3 or sum(map(len, seconds.values())) < 3:
        return None
    return fit({float(size): times for size, times in seconds.items()}, upper=False)
