"""Lines: small multiples of metrics by datasets against one setting."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness.report.definition import AxisValue
from harness.report.pictures.style import (
    bars,
    distinct,
    grid,
    legend_above,
    line_style,
    new_picture,
    same_span,
    width_of,
)
from harness.report.tables.sweep import value_text
from harness.report.tables.sweep_figure import SweepFigure

__all__ = ["lines"]

PANEL_HEIGHT = 0.95


def lines(figure: SweepFigure) -> Picture:
    """Draw a row of panels per metric and a column per dataset on which something was measured.

    Error bars are the 95 % intervals of the means; hollow markers are published values. The panels
    of a metric span the same number of points, so that their slopes compare.
    """
    columns = {p: figure.table.columns[p] for p in figure.measured}
    metrics = distinct(column.title for column in columns.values())
    datasets = distinct(column.dataset_title for column in columns.values())
    height = 0.5 + PANEL_HEIGHT * len(metrics)
    drawn = new_picture(width_of(figure), height)
    panels = drawn.subplots(len(metrics), len(datasets), sharex=True, squeeze=False)
    for metric, row in zip(metrics, panels, strict=True):
        places = {columns[p].dataset_title: p for p in columns if columns[p].title == metric}
        _metric_row(figure, list(row), [places.get(dataset) for dataset in datasets])
        row[0].set_ylabel(f"{metric} (%)")
    for panel, dataset in zip(panels[0], datasets, strict=True):
        panel.set_title(dataset)
    for panel in panels[-1]:
        _x_axis(panel, figure)
    drawn.align_ylabels(panels[:, 0])
    if figure.shows_published:
        legend_above(drawn, list(panels.flat))
    return drawn


def _metric_row(figure: SweepFigure, row: Sequence[Axes], places: Sequence[int | None]) -> None:
    """Fill the panels of a metric; a dataset without the metric has an empty one."""
    panels, lows, highs = [], [], []
    for panel, position in zip(row, places, strict=True):
        if position is None:
            panel.axis("off")
            continue
        low, high = _panel(panel, figure, position)
        panels.append(panel)
        lows.append(low)
        highs.append(high)
    same_span(panels, lows, highs)


def _panel(panel: Axes, figure: SweepFigure, position: int) -> tuple[float, float]:
    """Draw one metric on one dataset; return the least and greatest value drawn."""
    cells = [row.cells[position] for row in figure.table.rows]
    xs = _coordinates([x for x, _ in figure.points])
    style = line_style(0)
    measured = [
        (x, c.value, c.half or 0.0) for x, c in zip(xs, cells, strict=True) if c.value is not None
    ]
    places, means, halves = zip(*measured, strict=True)
    bars(panel, places, means, halves, label="measured", **style)
    reach = [value for _, mean, half in measured for value in (mean - half, mean + half)]
    if published := [(x, c.published) for x, c in zip(xs, cells, strict=True) if c.published]:
        places, values = zip(*published, strict=True)
        hollow = style | {"linestyle": "none", "color": "black", "markerfacecolor": "white"}
        panel.plot(places, values, label="published", zorder=3, **hollow)
        reach += values
    grid(panel)
    return min(reach), max(reach)


def _x_axis(panel: Axes, figure: SweepFigure) -> None:
    axis = figure.definition.x
    values = distinct(x for x, _ in figure.points)
    panel.set_xlabel(axis.printed)
    panel.set_xscale(axis.scale)
    panel.set_xticks(_coordinates(values), [value_text(value) for value in values])
    panel.margins(x=0.08)
    panel.minorticks_off()


def _coordinates(values: Sequence[AxisValue]) -> list[float]:
    """Return where values stand on an axis: numbers at themselves, words one after another."""
    numbers = [value for value in values if not isinstance(value, str)]
    words = distinct(value for value in values if isinstance(value, str))
    first = max(numbers, default=-1.0) + 1
    return [first + words.index(v) if isinstance(v, str) else v for v in values]
