"""Geometry of the small charts of a run; ``charts.html.j2`` draws it.

Lengths are units of the charts' view box, y downwards.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BINS", "Bar", "Chart", "Polyline", "Series", "Tick", "bars", "lines", "thin"]

WIDTH, HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 22
"""Margins; the numbers of the axes stand in them."""
POINTS = 80
"""Points of a line: as many as there are pixels to tell apart, more or less."""
BINS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Highest ranks of the bins, about equally wide on a logarithmic axis; one more has the rest."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line to draw: ``points`` by ascending x; ``marked`` is the x of a point with a dot."""

    name: str
    points: Points
    marked: float | None = None


@dataclass(frozen=True)
class Tick:
    """A number at an axis, ``at`` along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Polyline:
    """A drawn line: ``path`` for an SVG polyline, ``dot`` where it is marked."""

    name: str
    series: int
    path: str
    dot: tuple[float, float] | None


@dataclass(frozen=True)
class Bar:
    """One bar; ``series`` counts from 0, ``title`` is shown when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True)
class Chart:
    """Lines or bars over one pair of axes.

    Attributes:
        title: title of y.
        description: the same in words for those who do not see it.
        x, y: ticks.
        lines: in the order of the legend.
        bars: side by side, a group for every bin.
        names: of the series of bars.
    """

    title: str
    description: str
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    lines: tuple[Polyline, ...] = ()
    bars: tuple[Bar, ...] = ()
    names: tuple[str, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    margin: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def lines(title: str, curves: Sequence[Series]) -> Chart | None:
    """Return a chart of curves, None when no curve has a point."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        description=f"{title}: " + "; ".join(_in_words(c) for c in curves if c.points),
        lines=tuple(_line(c, i, x_axis, y_axis) for i, c in enumerate(curves) if c.points),
        x=x_axis.ticks(integers=True),
        y=y_axis.ticks(),
    )


def bars(title: str, names: Sequence[str], series: Sequence[Sequence[float]]) -> Chart:
    """Return a chart of shares by bins of ranks.

    Args:
        title: title of the counts.
        names: of the series.
        series: of each, the share in every bin of ``BINS`` and above (fractions); empty bins at
            the end are left out.
    """
    n_bins = max((i + 1 for shares in series for i, share in enumerate(shares) if share), default=1)
    highest = max((share for shares in series for share in shares), default=0.0)
    y_axis = _Axis(0.0, 100 * highest or 100.0, HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / n_bins
    drawn = [
        _bar(name, i, 100 * share, step, number, len(series), y_axis)
        for number, (name, shares) in enumerate(zip(names, series, strict=True))
        for i, share in enumerate(shares[:n_bins])
    ]
    return Chart(
        title=title,
        description=f"{title}: " + "; ".join(bar.title for bar in drawn),
        names=tuple(names),
        bars=tuple(drawn),
        x=tuple(Tick(round(LEFT + (i + 0.5) * step, 1), _edge(i)) for i in range(n_bins)),
        y=tuple(Tick(tick.at, f"{tick.text}%") for tick in y_axis.ticks()),
    )


def _bar(
    name: str, i: int, percent: float, step: float, number: int, total: int, y_axis: _Axis
) -> Bar:
    """Return the bar of a bin; a fifth of each bin's width stays empty."""
    width, top = 0.8 * step / total, y_axis.at(percent)
    return Bar(
        x=round(LEFT + (i + 0.1) * step + number * width, 1),
        y=round(top, 1),
        width=round(width, 1),
        height=round(y_axis.start - top, 1),
        series=number,
        title=f"{name}, rank {_bin(i)}: {percent:.1f} %",
    )


def thin(points: Points, limit: int = POINTS) -> Points:
    """Return at most ``limit`` points that look the same: the ends, lowest and highest of parts."""
    if len(points) <= limit:
        return points
    n_chunks = limit // 2 - 1
    extremes = {points[0], points[-1]}
    for i in range(n_chunks):
        chunk = points[i * len(points) // n_chunks : (i + 1) * len(points) // n_chunks]
        extremes |= {min(chunk, key=lambda p: p[1]), max(chunk, key=lambda p: p[1])}
    return sorted(extremes)


@dataclass(frozen=True)
class _Axis:
    """Maps values from ``low`` to ``high`` to places from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, *, integers: bool = False) -> tuple[Tick, ...]:
        """Return three to six round numbers on the axis; integers if ``integers``."""
        if (self.high - self.low) / 4 < sys.float_info.min:  # nothing a digit would tell
            return (Tick(round(self.at(self.low), 1), f"{self.low:.4g}"),)
        step = _round_step((self.high - self.low) / 4)
        step = max(step, 1.0) if integers else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return tuple(
            Tick(round(self.at(i * step), 1), f"{i * step:.{decimals}f}")
            for i in range(first, last + 1)
        )


def _round_step(smallest: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below ``smallest``."""
    power: float = 10.0 ** math.floor(math.log10(smallest))
    return next(
        factor * power for factor in (1, 2, 5, 10) if factor * power >= smallest * (1 - 1e-9)
    )


def _line(curve: Series, series: int, x_axis: _Axis, y_axis: _Axis) -> Polyline:
    path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in thin(curve.points))
    dot = next(
        ((round(x_axis.at(x), 1), round(y_axis.at(y), 1)) for x, y in curve.points
         if x == curve.marked),
        None,
    )  # fmt: skip
    return Polyline(curve.name, series, path, dot)


def _in_words(curve: Series) -> str:
    (x0, y0), (x1, y1) = curve.points[0], curve.points[-1]
    return f"{curve.name} from {y0:.4g} in epoch {x0:.0f} to {y1:.4g} in epoch {x1:.0f}"


def _bin(i: int) -> str:
    """Return the ranks of a bin in words."""
    if i == 0:
        return "1"
    upper = f", up to {BINS[i]:,}" if i < len(BINS) else ""
    return f"over {BINS[i - 1]:,}{upper}"


def _edge(i: int) -> str:
    if i == 0:
        return "1"
    edge = BINS[min(i, len(BINS) - 1)]
    return f"{'≤' if i < len(BINS) else '>'}{edge if edge < 1000 else f'{edge // 1000}k'}"
