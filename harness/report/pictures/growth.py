"""Growth of time with each size, on logarithmic axes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import NullLocator

from harness.plan.complexity import FACTORS, Factor
from harness.report.pictures.style import grid, legend_above, line_style, new_picture, width_of
from harness.report.tables.complexity import Complexity, StageLine

__all__ = ["growth"]

SIZES = {
    "d": "Components $d$",
    "K": "Experts per modality $K$",
    "M": "Modalities $M$",
    "N": "Entities $N$",
}
GUIDES: tuple[Any, ...] = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1, 1.5)))


def growth(figure: Complexity) -> Picture:
    """Draw a panel per size with one scale of time; a line per fusion.

    Grey lines rise as the paper claims, each from the first point of the first fusion that the
    claim is about.
    """
    across = len(FACTORS) if figure.wide else 2
    down = len(FACTORS) // across
    drawn = new_picture(width_of(figure), 0.75 + 1.3 * down)
    panels = drawn.subplots(down, across, sharey=True, squeeze=False)
    for panel, factor in zip(panels.flat, FACTORS, strict=True):
        _panel(panel, figure.fusions, factor)
    for panel in panels[:, 0]:
        panel.set_ylabel("Time of a step (ms)")
    legend_above(drawn, list(panels.flat))
    return drawn


def _panel(panel: Axes, lines: Sequence[StageLine], factor: Factor) -> None:
    """Fill the panel of one size."""
    guides: dict[str, tuple[list[int], list[float]]] = {}
    for order, line in enumerate(lines):
        size_growth = line.growth[factor]
        xs = list(size_growth.seconds)
        ys = [1000 * statistics.median(times) for times in size_growth.seconds.values()]
        style = line_style(order) | {"markersize": 3, "linewidth": 0.8}
        panel.plot(xs, ys, label=line.spec.title, **style)
        if line.claim and size_growth.claimed is not None:
            claimed = [ys[0] * (x / xs[0]) ** size_growth.claimed for x in xs]
            guides.setdefault(line.claim.formula, (xs, claimed))
    for dashes, (formula, guide) in zip(GUIDES, guides.items(), strict=False):
        style = {"color": "0.5", "linestyle": dashes, "linewidth": 0.8, "zorder": 1}
        panel.plot(*guide, label=f"paper: {formula}", **style)
    panel.set(xscale="log", yscale="log")
    panel.set_xlabel(SIZES[factor])
    ticks = list(lines[0].growth[factor].seconds)
    panel.set_xticks(ticks, [_short(value) for value in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_locator(NullLocator())
    grid(panel)


def _short(value: float) -> str:
    """Return 16384 as 16k."""
    return f"{value // 1024:g}k" if value >= 1024 and value % 1024 == 0 else f"{value:g}"
