"""Heat maps: a metric over two settings, in a grid of cells or at points of continuous axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from harness.report.definition import Axis, AxisValue, Landmark
from harness.report.pictures.style import (
    LETTERS,
    distinct,
    legend_columns,
    new_picture,
    text_inches,
    width_of,
)
from harness.report.tables.sweep import Point, value_text
from harness.report.tables.sweep_figure import LACKING, SweepFigure

__all__ = ["BEST", "INVALID", "LANDMARK", "heatmap"]

BEST: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1.4}
LANDMARK: dict[str, Any] = {
    "fill": False,
    "edgecolor": "black",
    "linewidth": 0.8,
    "linestyle": (0, (2, 1.5)),
}
INVALID: dict[str, Any] = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}
SMALLEST = 4.5
"""Letters in points below which a cell has no number."""
MOST = 2.2
"""Height of a panel in inches, of the only one in a column too."""
DECADES = 100
"""Positive values that span such a factor stand on a logarithmic axis by themselves."""

Layout = list[list[int | None]]
"""Positions of table columns, row by row."""


def heatmap(figure: SweepFigure) -> Picture:
    """Draw a panel per dataset and metric: a row of panels per dataset where both are several.

    The colours of a metric span at least the noise, shares have one scale. Invalid pairs are
    hatched, and what is ahead of all others by more than the noise is boxed. Means over some of the
    seeds have no colour. A sign says why a cell has no value.
    """
    layout = _layout(figure)
    width = width_of(figure)
    down, across = len(layout), len(layout[0])
    drawn = new_picture(width, 0.3 + down * (min(0.86 * width / across, MOST) + 0.05))
    panels = drawn.subplots(down, across, squeeze=False)
    for (row, column), panel in np.ndenumerate(panels):
        position = layout[row][column]
        if position is None:
            panel.axis("off")
            continue
        (_points if figure.continuous else _cells)(panel, figure, position)
        _titles(panel, figure, layout, row, column)
        if not figure.is_share(position):
            _colour_bar(drawn, [panel], _norm(figure, position))
    _shared_bar(drawn, figure, panels, layout)
    keys = _keys(figure)
    if keys:
        labels = [str(key.get_label()) for key in keys]
        columns = legend_columns(labels, width, handle=2.4)
        drawn.legend(handles=keys, loc="outside lower center", ncols=columns)
    return drawn


def _is_grid(figure: SweepFigure) -> bool:
    """Tell whether a row of panels is a dataset and a column a metric."""
    datasets = {figure.table.columns[i].dataset_title for i in figure.measured}
    return len(datasets) > 1 and len(_metrics(figure)) > 1


def _metrics(figure: SweepFigure) -> list[str]:
    return distinct(figure.panel_title(i, dataset=False) for i in figure.measured)


def _layout(figure: SweepFigure) -> Layout:
    """Return the panels row by row: datasets by metrics, or what there is of one of both."""
    columns = {i: figure.table.columns[i] for i in figure.measured}
    if not _is_grid(figure):
        across = min(len(columns), 4 if figure.wide else 2)
        padded = [*columns, *[None] * (-len(columns) % across)]
        return [padded[i : i + across] for i in range(0, len(padded), across)]
    places = {
        (column.dataset_title, figure.panel_title(i, dataset=False)): i
        for i, column in columns.items()
    }
    datasets = distinct(column.dataset_title for column in columns.values())
    return [[places.get((dataset, metric)) for metric in _metrics(figure)] for dataset in datasets]


def _titles(panel: Axes, figure: SweepFigure, layout: Layout, row: int, column: int) -> None:
    """Write what a panel shows: in a grid metrics above, datasets at the left."""
    position, definition, is_grid = layout[row][column], figure.definition, _is_grid(figure)
    assert position is not None
    assert definition.y is not None
    if not is_grid or row == 0:
        panel.set_title(f"{figure.panel_title(position, dataset=not is_grid)} (%)")
    if row == len(layout) - 1 or layout[row + 1][column] is None:
        panel.set_xlabel(definition.x.printed)
    if column == 0:
        dataset = f"{figure.table.columns[position].dataset_title}\n" if is_grid else ""
        panel.set_ylabel(f"{dataset}{definition.y.printed}")


# --- colours --------------------------------------------------------------------------------


def _norm(figure: SweepFigure, position: int) -> Normalize:
    """Return the colour scale of a column: 0 to 100 for shares, else at least the noise wide."""
    if figure.is_share(position):
        return Normalize(0, 100)
    means = [summary.mean for summary in figure.complete(position).values()] or [0.0]
    span = max(max(means) - min(means), figure.noise(position) or 0.0) or 1.0
    middle = (max(means) + min(means)) / 2
    return Normalize(middle - span / 2, middle + span / 2)


def _map() -> Colormap:
    return mpl.colormaps["cividis"]


def _colour_bar(drawn: Picture, panels: Sequence[Axes], norm: Normalize) -> None:
    bar = drawn.colorbar(
        ScalarMappable(norm, _map()), ax=list(panels), aspect=18, shrink=0.9, pad=0.02
    )
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.4, length=2, pad=1)
    bar.locator = mpl.ticker.MaxNLocator(4)
    bar.update_ticks()


def _shared_bar(drawn: Picture, figure: SweepFigure, panels: Any, layout: Layout) -> None:
    """Draw the colour bar of all shares beside them."""
    shares = [
        panels[row][column]
        for row, positions in enumerate(layout)
        for column, position in enumerate(positions)
        if position is not None and figure.is_share(position)
    ]
    if shares:
        _colour_bar(drawn, shares, Normalize(0, 100))


def _ink(colour: Any) -> str:
    """Return black or white, whichever has more contrast with a colour (WCAG 2.2)."""
    colour = mpl.colors.to_rgb(colour)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


# --- cells ----------------------------------------------------------------------------------


def _cells(panel: Axes, figure: SweepFigure, position: int) -> None:
    """Fill a panel with the cells of one column of the table."""
    xs = distinct(x for x, _ in figure.points)
    ys = distinct(y for _, y in figure.points if y is not None)
    complete, norm = figure.complete(position), _norm(figure, position)
    texts = _texts(figure, position)
    letters = _letters(figure, max(len(xs), len(ys)), texts.values())
    lacking = figure.lacking(position)
    for (i, x), (j, y) in product(enumerate(xs), enumerate(ys)):
        colour: Any = "white"
        if (x, y) in complete:
            colour = _map()(norm(complete[x, y].mean))
            _square(panel, i, j, facecolor=colour, linewidth=0)
        if (x, y) in lacking:
            _write(panel, i, j, LACKING[lacking[x, y]], "black", max(letters, SMALLEST))
        elif (x, y) not in texts:
            _square(panel, i, j, **INVALID)
        elif letters >= SMALLEST:
            _write(panel, i, j, texts[x, y], _ink(colour), letters)
    _frames(panel, figure, position, xs, ys)
    panel.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(ys) - 0.5), aspect="equal")
    panel.set_xticks(range(len(xs)), _tick_texts(xs))
    panel.set_yticks(range(len(ys)), _tick_texts(ys))
    panel.tick_params(length=0)


def _tick_texts(values: Sequence[AxisValue]) -> list[str]:
    """Return the values of an axis with the fewest digits, at least three, that tell them apart."""
    texts = [value_text(value) for value in values]
    for digits in range(3, 6):
        short = [_rounded(value, digits) for value in values]
        if len(set(short)) == len(texts):
            return short
    return texts


def _rounded(value: AxisValue, digits: int) -> str:
    """Return a value with so many significant digits; whole numbers keep all."""
    if isinstance(value, str) or value == int(value):
        return value_text(value)
    return f"{value:.{digits}g}"


def _texts(figure: SweepFigure, position: int) -> Mapping[Point, str]:
    """Return the numbers of a panel, with no more digits than the noise lets one tell apart."""
    noise, decimals = figure.noise(position), figure.table.columns[position].decimals
    if figure.is_share(position):
        decimals = 0
    elif noise:
        decimals = min(decimals, max(1, math.ceil(-math.log10(noise))))
    return {point: f"{value:.{decimals}f}" for point, value in figure.values(position).items()}


def _letters(figure: SweepFigure, cells: int, texts: Iterable[str]) -> float:
    """Return the size of letters that fit into a cell, in points."""
    across = len(_layout(figure)[0])
    inches = 0.72 * width_of(figure) / across / cells
    longest = max(map(text_inches, texts), default=inches)
    return LETTERS * min(1.0, 0.92 * inches / longest)


def _frames(
    panel: Axes,
    figure: SweepFigure,
    position: int,
    xs: Sequence[AxisValue],
    ys: Sequence[AxisValue],
) -> None:
    """Box the best cell and the landmarks."""
    best = figure.best(position)
    if best is not None and best[1] is not None:
        _frame(panel, xs.index(best[0]), ys.index(best[1]), 0.97, BEST)
    for mark in _landmarks(figure):
        size = 0.84 if (mark.x, mark.y) == best else 0.95  # inside the other frame
        _frame(panel, xs.index(mark.x), ys.index(mark.y), size, LANDMARK)


def _landmarks(figure: SweepFigure) -> list[Landmark]:
    return [mark for mark in figure.definition.landmarks if (mark.x, mark.y) in figure.points]


def _square(panel: Axes, i: int, j: int, **style: Any) -> None:
    panel.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, **style))


def _frame(panel: Axes, i: int, j: int, size: float, style: dict[str, Any]) -> None:
    """Draw a frame in a cell; a white rim keeps it visible on dark colours."""
    frame = Rectangle((i - size / 2, j - size / 2), size, size, **style, zorder=4)
    rim = withStroke(linewidth=style["linewidth"] + 1.2, foreground="white")
    frame.set_path_effects([rim])
    panel.add_patch(frame)


def _write(panel: Axes, i: int, j: int, text: str, colour: str, size: float) -> None:
    panel.text(i, j, text, ha="center", va="center", fontsize=size, color=colour, zorder=5)


def _keys(figure: SweepFigure) -> list[Artist]:
    """Return the entries of the legend: of marks that the picture has."""
    definition = figure.definition
    assert definition.y is not None
    keys: list[Artist] = []
    if any(figure.best(i) for i in figure.measured):
        keys.append(Rectangle((0, 0), 1, 1, label="best", **BEST))
    marks = definition.landmarks if figure.continuous else _landmarks(figure)
    keys += [Rectangle((0, 0), 1, 1, label=mark.title, **LANDMARK) for mark in marks]
    if definition.ascending:
        label = f"{definition.x.printed} \N{GREATER-THAN OR EQUAL TO} {definition.y.printed}"
        keys.append(Rectangle((0, 0), 1, 1, label=label, **INVALID))
    keys += [Line2D([], [], label=kind, **_sign(kind)) for kind in figure.kinds_lacking]
    return keys


def _sign(kind: str) -> dict[str, Any]:
    """Return the style of the mark that is the sign of a cell without a value."""
    style = {"linestyle": "none", "color": "black", "markersize": 4, "markeredgewidth": 0}
    return {"marker": rf"$\mathrm{{{LACKING[kind]}}}$", **style}


# --- points of continuous axes ----------------------------------------------------------------


def _points(panel: Axes, figure: SweepFigure, position: int) -> None:
    """Draw the points of one column at their values; those without all seeds are hollow."""
    definition = figure.definition
    assert definition.y is not None
    complete, norm = figure.complete(position), _norm(figure, position)
    better = figure.table.columns[position].higher_is_better
    order = sorted(complete, key=lambda p: complete[p].mean, reverse=better is False)
    style: dict[str, Any] = {"s": 24, "edgecolors": "black", "linewidths": 0.4}
    colours = [_map()(norm(complete[point].mean)) for point in order]
    panel.scatter(*_coordinates(order), c=colours, zorder=3, **style)
    partial = [point for point in figure.values(position) if point not in complete]
    panel.scatter(*_coordinates(partial), c="white", zorder=2, **style)
    lacking = figure.lacking(position)
    for kind in figure.kinds_lacking:
        xs, ys = _coordinates([point for point in lacking if lacking[point] == kind])
        panel.plot(xs, ys, zorder=2, **_sign(kind))
    if (best := figure.best(position)) is not None:
        rim = {"facecolors": "none", "edgecolors": "black", "linewidths": BEST["linewidth"]}
        panel.scatter(*_coordinates([best]), s=70, marker="s", zorder=4, **rim)
    for mark in definition.landmarks:
        rim = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.8}
        panel.scatter([mark.x], [mark.y], s=55, marker="s", linestyle="--", zorder=4, **rim)
    panel.set_xscale(_scale(definition.x, [x for x, _ in figure.points]))
    panel.set_yscale(_scale(definition.y, [y for _, y in figure.points if y is not None]))
    if definition.ascending:
        _hatch_invalid(panel)


def _coordinates(points: Sequence[Point]) -> tuple[list[Any], list[Any]]:
    return [x for x, _ in points], [y for _, y in points]


def _scale(axis: Axis, values: Sequence[AxisValue]) -> str:
    """Return the scale of an axis: as defined, else logarithmic where values span decades."""
    if "scale" in axis.model_fields_set:
        return axis.scale
    numbers = [float(value) for value in values]
    return "log" if min(numbers) > 0 and max(numbers) >= DECADES * min(numbers) else "linear"


def _hatch_invalid(panel: Axes) -> None:
    """Hatch the half of a panel in which x is not below y."""
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    xs = np.linspace(left, right, 100)
    panel.fill_between(xs, low, np.clip(xs, low, high), zorder=1, **INVALID)
    panel.set(xlim=(left, right), ylim=(low, high))
