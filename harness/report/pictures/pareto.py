"""Quality against cost, with the front of what no other row beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.report.pictures.names import write_names
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


def pareto(figure: Pareto) -> Picture:
    """Draw a panel per dataset; marks of the front are filled and joined by steps.

    Names stand beside their marks, or further off with a line to them.
    """
    across = len(figure.panels)
    drawn = new_picture(width_of(figure), 3.2)
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
        front = panel.lines[0].get_path().vertices  # with the corners of the steps
        write_names(panel, [(p.cost, p.quality) for p in points], [p.label for p in points], front)
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
    panel.margins(x=0.1, y=0.15)
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
