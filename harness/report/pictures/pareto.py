"""Quality against cost, with the front of what no other row beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from harness.report.pictures.style import (
    COLOURS,
    MARKERS,
    distinct,
    grid,
    legend_above,
    new_picture,
    width_of,
)
from harness.report.tables.pareto import Pareto, ParetoPoint

__all__ = ["pareto"]

ABOVE = ((-4, 3), (-4, -2.5), (0, 4), (4, -8), (0, -9))
AROUND = ((4, -2.5), (-4, -2.5), (0, 4), (0, -9), (4, 3), (-4, 3), (4, -8), (-4, -8))
"""Where a name may stand, in points from its mark; the first that is free is taken. Those of the
front keep off its line, which comes from the left below and goes to the right."""
SIDES = {4: "left", -4: "right", 0: "center"}


def pareto(figure: Pareto) -> Picture:
    """Draw a panel per dataset; marks of the front are filled and joined by steps.

    Names stand beside their marks as far as they do not touch, those of the front first.
    """
    across = len(figure.panels)
    drawn = new_picture(width_of(figure), 2.5)
    panels = list(drawn.subplots(1, across, squeeze=False)[0])
    groups = distinct(p.group for points in figure.panels.values() for p in points)
    for panel, (title, points) in zip(panels, figure.panels.items(), strict=True):
        _panel(panel, points, groups)
        panel.set_xlabel(_cost_title(figure))
        if across > 1:
            panel.set_title(title)
    panels[0].set_ylabel(f"{figure.metric.title} (%)")
    if any(groups):
        for order, group in enumerate(groups):
            panels[0].plot([], [], linestyle="none", label=group, **_mark(order, filled=True))
        legend_above(drawn, panels, handle=1.0)
    drawn.draw_without_rendering()  # fixes the places of the marks
    for panel, points in zip(panels, figure.panels.values(), strict=True):
        _names(panel, points)
    return drawn


def _cost_title(figure: Pareto) -> str:
    """Return the title of the cost with its unit in words."""
    titles = {
        "cost.best": "Processor hours to the best epoch",
        "cost.total": "Processor hours of the whole training",
        "cost.epoch": "Processor seconds per epoch",
        "train.epoch": "Seconds per epoch",
        "memory.peak": "Peak memory (MiB)",
        "parameters": "Parameters (thousands)",
    }
    return titles[figure.definition.cost]


def _panel(panel: Axes, points: Sequence[ParetoPoint], groups: Sequence[str]) -> None:
    front = sorted((p for p in points if p.on_front), key=lambda p: p.cost)
    panel.step(
        [p.cost for p in front],
        [p.quality for p in front],
        where="post",
        color="0.6",
        linewidth=0.8,
        zorder=1,
    )
    for point in points:
        style = _mark(groups.index(point.group), filled=point.on_front)
        half = point.half or float("nan")
        panel.errorbar(point.cost, point.quality, yerr=half, fmt="none", **_BAR)
        panel.plot(point.cost, point.quality, linestyle="none", zorder=3, **style)
    panel.set_xscale("log")
    panel.margins(x=0.1, y=0.12)
    low, high = panel.get_xlim()
    # One power of ten alone would not tell the scale.
    panel.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    grid(panel)


_BAR: dict[str, Any] = {"elinewidth": 0.7, "capsize": 1.8, "capthick": 0.7, "ecolor": "0.3"}


def _mark(order: int, *, filled: bool) -> dict[str, Any]:
    colour = COLOURS[order % len(COLOURS)]
    return {
        "marker": MARKERS[order % len(MARKERS)],
        "color": colour,
        "markerfacecolor": colour if filled else "white",
        "markeredgewidth": 0.9,
        "markersize": 4.5,
    }


def _names(panel: Axes, points: Sequence[ParetoPoint]) -> None:
    """Write the names that fit."""
    marks = [panel.transData.transform((p.cost, p.quality)) for p in points]
    pixels = panel.figure.dpi / 72
    taken = [
        Bbox.from_extents(x - m, y - m, x + m, y + m) for x, y in marks for m in [2.2 * pixels]
    ]
    inside = panel.get_window_extent()
    for point in sorted(points, key=lambda p: (not p.on_front, -p.quality)):
        for name in _candidates(panel, point):
            box = name.get_window_extent()
            free = not any(box.overlaps(other) for other in taken)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0:
                taken.append(box)
                break
            name.remove()


def _candidates(panel: Axes, point: ParetoPoint) -> Iterator[Annotation]:
    for dx, dy in ABOVE if point.on_front else AROUND:
        name = panel.annotate(
            point.label,
            (point.cost, point.quality),
            (dx, dy),
            textcoords="offset points",
            ha=SIDES[dx],
        )
        name.set_in_layout(False)
        yield name
