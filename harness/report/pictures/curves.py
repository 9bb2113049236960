"""Curves of a metric by the corruption of features."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness.analysis.query import parse_metric
from harness.evaluation.metrics import METRICS
from harness.report.pictures.style import (
    REFERENCE,
    bars,
    capital,
    grid,
    label_ticks,
    legend_above,
    line_style,
    new_picture,
    width_of,
)
from harness.report.tables.robustness import Panel, Robustness

__all__ = ["curves"]

TITLE = 30
"""Letters that fit above a panel."""


def curves(figure: Robustness) -> Picture:
    """Draw a panel per dataset and condition, two side by side in a column and four on a page.

    All panels have one scale. A line per row of the suite with the 95 % intervals of its means; one
    that reads no features is a dotted line across. Rows with one amount alone are left out.
    """
    width = width_of(figure)
    across = min(len(figure.drawn), 4 if figure.wide else 2)
    down = math.ceil(len(figure.drawn) / across)
    drawn = new_picture(width, 0.35 + 1.3 * down)
    axes = list(drawn.subplots(down, across, sharey=True, squeeze=False).flat)
    styles = _styles(figure)
    for number, (axis, panel) in enumerate(zip_longest(axes, figure.drawn)):
        if panel is None:
            axis.axis("off")
            continue
        _panel(axis, figure, panel, styles)
        label_ticks(axis, panel.amounts, 0.8 * width / across)
        below = figure.drawn[number + across : number + across + 1]
        if not below or below[0].condition.amount != panel.condition.amount:
            axis.set_xlabel(capital(panel.condition.amount))
    metric = METRICS[parse_metric(figure.definition.metric).metric].title
    for axis in axes[: len(figure.drawn) : across]:
        axis.set_ylabel(f"{metric} (%)")
    legend_above(drawn, axes)
    return drawn


def _styles(figure: Robustness) -> Mapping[str, dict[str, Any]]:
    """Return the style of each row, the same in all panels."""
    rows = {curve.label: curve for panel in figure.drawn for curve in figure.lines(panel)}
    varying = [label for label, curve in rows.items() if not curve.fixed]
    styles = {label: line_style(order) for order, label in enumerate(varying)}
    return {label: styles.get(label, REFERENCE) for label in rows}


def _panel(
    axis: Axes, figure: Robustness, panel: Panel, styles: Mapping[str, dict[str, Any]]
) -> None:
    """Fill the panel of one condition on one dataset."""
    for curve in figure.lines(panel):
        points = figure.summaries(panel, curve)
        means = [summary.mean for summary in points.values()]
        if curve.fixed:
            axis.plot(list(points), means, label=curve.label, **styles[curve.label])
            continue
        halves = [summary.half or 0.0 for summary in points.values()]
        bars(axis, list(points), means, halves, label=curve.label, **styles[curve.label])
    several = len({p.dataset for p in figure.drawn}) > 1
    title = panel.title if several else panel.condition.title
    axis.set_title(textwrap.fill(capital(title), TITLE))
    axis.margins(x=0.06)
    grid(axis)
