"""Figures as pictures; the only module that imports matplotlib.

Sizes are those of a paper: 3.3 inches for a column, 7 for a page, letters of 7 points. Lines differ
in colour, in marker and in dashes, so that they can be told apart without colours: the colours are
those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), heat maps use "cividis" (Nunez et
al. 2018), whose lightness rises evenly.
"""

from __future__ import annotations

import io
import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import product, zip_longest
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from harness.analysis.query import parse_metric
from harness.analysis.statistics import SeedSummary, summarise
from harness.evaluation.metrics import METRICS
from harness.plan.complexity import FACTORS, Factor
from harness.report.definition import Axis, AxisValue, Landmark
from harness.report.figure import Figure
from harness.report.table import Column, TableCell
from harness.report.tables.complexity import Complexity, StageLine
from harness.report.tables.robustness import Curve, Panel, Robustness
from harness.report.tables.sweep import Point, SweepFigure, value_text

__all__ = ["draw", "picture"]

T = TypeVar("T")

COLUMN, PAGE = 3.3, 7.0
"""Widths in inches."""
STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # publishers refuse the outlines of type 3
    "svg.hashsalt": "mmkgc-harness",  # the same figure gives the same file
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
DPI = 300


def picture(figure: Figure, format: str) -> bytes:  # noqa: A002 - the option's name
    """Return the file of a figure: png (300 dots per inch), pdf or svg.

    Two calls return the same bytes; the file bears no date.
    """
    stream = io.BytesIO()
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[format]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        draw(figure).savefig(stream, format=format, dpi=DPI, metadata=metadata)
    return stream.getvalue()


def draw(figure: Figure) -> Picture:
    """Return the picture of a figure that has something to show."""
    assert not figure.why_empty
    return figure.draw()


# --- lines --------------------------------------------------------------------------------


def lines(figure: SweepFigure) -> Picture:
    """Draw a panel per metric, one below the other; a line per dataset.

    The band is the 95 % interval of the mean; hollow markers are published values.
    """
    metrics = _distinct(column.title for column in figure.table.columns)
    datasets = _distinct(column.dataset_title for column in figure.table.columns)
    width = _width(figure)
    drawn = Picture(figsize=(width, 0.35 + 1.25 * len(metrics)), layout="constrained")
    panels = drawn.subplots(len(metrics), sharex=True, squeeze=False)[:, 0]
    for panel, metric in zip(panels, metrics, strict=True):
        for position, column in enumerate(figure.table.columns):
            if column.title == metric:
                _line(panel, figure, position, datasets.index(column.dataset_title))
        panel.set_ylabel(f"{metric} (%)")
        panel.grid(axis="y", linewidth=0.3, alpha=0.6)
        panel.margins(y=0.12)
    _x_axis(panels[-1], figure)
    drawn.align_ylabels(panels)
    handles, labels = _legend(list(panels))
    drawn.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return drawn


def _line(panel: Axes, figure: SweepFigure, position: int, order: int) -> None:
    """Add one dataset's line, its band and its published values to a panel."""
    cells = [row.cells[position] for row in figure.table.rows]
    coordinates = _coordinates(figure.definition.x, [x for x, _ in figure.points])
    style = _style(order)
    title = figure.table.columns[position].dataset_title
    measured = [
        (x, c.value, c) for x, c in zip(coordinates, cells, strict=True) if c.value is not None
    ]
    if measured:
        xs, ys, _ = zip(*measured, strict=True)
        panel.plot(xs, ys, label=title, **style)
        low, high = zip(*(_interval(cell) for *_, cell in measured), strict=True)
        panel.fill_between(xs, low, high, color=style["color"], alpha=0.18, linewidth=0)
    published = [(x, c.published) for x, c in zip(coordinates, cells, strict=True) if c.published]
    if published:
        xs, ys = zip(*published, strict=True)
        label = f"{title}, paper"
        panel.plot(xs, ys, markerfacecolor="white", label=label, **style | {"linestyle": "none"})


def _style(order: int) -> dict[str, Any]:
    """Return colour, marker and dashes of a line, by its position in the legend."""
    return {
        "color": COLOURS[order % len(COLOURS)],
        "marker": MARKERS[order % len(MARKERS)],
        "linestyle": DASHES[order % len(DASHES)],
    }


def _interval(cell: TableCell) -> tuple[float, float]:
    """Return the 95 % interval of a mean; the value itself for one seed."""
    assert cell.value is not None
    half = cell.half or 0.0
    return cell.value - half, cell.value + half


def _x_axis(panel: Axes, figure: SweepFigure) -> None:
    axis = figure.definition.x
    values = _distinct(x for x, _ in figure.points)
    panel.set_xlabel(_title(axis))
    panel.set_xscale(axis.scale)
    panel.set_xticks(_coordinates(axis, values), [value_text(value) for value in values])
    panel.minorticks_off()


def _coordinates(axis: Axis, values: Sequence[AxisValue]) -> list[float]:
    """Return where values stand on an axis: numbers at themselves, words one after another."""
    numbers = [value for value in values if not isinstance(value, str)]
    words = _distinct(value for value in values if isinstance(value, str))
    first = max(numbers, default=-1.0) + 1
    return [first + words.index(v) if isinstance(v, str) else v for v in values]


def _legend(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Return the handles and labels of all panels, each label once."""
    by_label: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, handle)
    return list(by_label.values()), list(by_label)


# --- heat maps ----------------------------------------------------------------------------


def heatmap(figure: SweepFigure) -> Picture:
    """Draw a panel per dataset and metric, two side by side in a column and four on a page.

    Values stand in the cells, invalid pairs are hatched, the best of a metric is boxed. What lacks
    seeds has no colour.
    """
    positions, width = figure.measured, _width(figure)
    across = min(len(positions), 4 if figure.wide else 2)
    down = math.ceil(len(positions) / across)
    size = (width, 0.35 + down * (width / across + 0.1))
    drawn = Picture(figsize=size, layout="constrained")
    panels = drawn.subplots(down, across, squeeze=False).flat
    for panel, position in zip_longest(panels, positions):
        if position is None:
            panel.axis("off")
        else:
            _map(panel, figure, position)
    keys = _keys(figure)
    drawn.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return drawn


def _keys(figure: SweepFigure) -> list[Rectangle]:
    """Return the entries of a heat map's legend."""
    definition = figure.definition
    assert definition.y is not None
    keys = [Rectangle((0, 0), 1, 1, label="best", **BEST)]
    keys += [Rectangle((0, 0), 1, 1, label=m.title, **LANDMARK) for m in _landmarks(figure)]
    if definition.ascending:
        label = f"{_title(definition.x)} \N{GREATER-THAN OR EQUAL TO} {_title(definition.y)}"
        keys.append(Rectangle((0, 0), 1, 1, label=label, **INVALID))
    return keys


BEST: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1.4}
LANDMARK: dict[str, Any] = {
    "fill": False,
    "edgecolor": "black",
    "linewidth": 0.8,
    "linestyle": (0, (2, 1.5)),
}
INVALID: dict[str, Any] = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}


def _map(panel: Axes, figure: SweepFigure, position: int) -> None:
    """Fill a panel with the cells of one column of the table."""
    definition, column = figure.definition, figure.table.columns[position]
    assert definition.y is not None
    xs = _distinct(x for x, _ in figure.points)
    ys = _distinct(y for _, y in figure.points if y is not None)
    values, complete = _values(figure, position)
    low, high = min(complete.values(), default=0.0), max(complete.values(), default=0.0)
    best = (
        max(complete, key=complete.__getitem__, default=None) if column.higher_is_better else None
    )
    for (i, x), (j, y) in product(enumerate(xs), enumerate(ys)):
        colour: Any = "white"
        if (x, y) in complete:
            share = (complete[x, y] - low) / (high - low) if high > low else 0.5
            colour = mpl.colormaps["cividis"](share)
            _square(panel, i, j, facecolor=colour, linewidth=0)
        if (x, y) in values:
            _write(panel, i, j, f"{values[x, y]:.{column.decimals}f}", _ink(colour))
        elif definition.invalid(x, y):
            _square(panel, i, j, **INVALID)
        else:
            _write(panel, i, j, "\N{EN DASH}", "black")
        if (x, y) == best:
            _frame(panel, i, j, 0.97, BEST)
    for landmark in _landmarks(figure):
        size = 0.84 if (landmark.x, landmark.y) == best else 0.95  # inside the other frame
        _frame(panel, xs.index(landmark.x), ys.index(landmark.y), size, LANDMARK)
    panel.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(ys) - 0.5), aspect="equal")
    panel.set_title(_panel_title(figure, column))
    panel.set_xlabel(_title(definition.x))
    panel.set_ylabel(_title(definition.y))
    panel.set_xticks(range(len(xs)), map(value_text, xs))
    panel.set_yticks(range(len(ys)), map(value_text, ys))
    panel.tick_params(length=0)


def _values(figure: SweepFigure, position: int) -> tuple[dict[Point, float], dict[Point, float]]:
    """Return the means of a column, and those over all seeds: others do not compare with them."""
    cells = [row.cells[position] for row in figure.table.rows]
    pairs = zip(figure.points, cells, strict=True)
    measured = [(point, cell, cell.value) for point, cell in pairs if cell.value is not None]
    complete = {point: value for point, cell, value in measured if cell.n == cell.planned}
    return {point: value for point, _, value in measured}, complete


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


def _write(panel: Axes, i: int, j: int, text: str, colour: str) -> None:
    panel.text(i, j, text, ha="center", va="center", fontsize=5.2, color=colour, zorder=5)


def _ink(colour: Any) -> str:
    """Return black or white, whichever has more contrast with a colour (WCAG 2.2)."""
    colour = mpl.colors.to_rgb(colour)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def _title(axis: Axis) -> str:
    return axis.latex or axis.label


def _panel_title(figure: SweepFigure, column: Column) -> str:
    title = f"{'Validation ' if column.split == 'valid' else ''}{column.title} (%)"
    several = len({c.dataset_title for c in figure.table.columns}) > 1
    return f"{column.dataset_title}: {title}" if several else title


# --- growth -------------------------------------------------------------------------------

SIZES = {"d": "Components $d$", "K": "Experts $K$", "M": "Modalities $M$", "N": "Entities $N$"}


def complexity(figure: Complexity) -> Picture:
    """Draw a panel per size, one below the other, both axes logarithmic; a line per fusion.

    The legend beside a panel has the exponents; dashed lines rise as the paper claims, each from
    the first point of the first fusion that the claim is about. Below is said which claims hold.
    """
    width = _width(figure)
    verdicts = "\n".join(
        textwrap.fill(text, int(width * 23)) for text in figure.verdicts_of(figure.fusions)
    )
    foot = 0.105 * (verdicts.count("\n") + 1) + 0.05
    drawn = Picture(figsize=(width, 1.45 * len(FACTORS) + foot), layout="constrained")
    for panel, factor in zip(drawn.subplots(len(FACTORS)), FACTORS, strict=True):
        _growth_panel(panel, figure.fusions, factor)
    drawn.supxlabel(verdicts, x=0.02, ha="left", fontsize=6)
    return drawn


def _growth_panel(panel: Axes, lines: Sequence[StageLine], factor: Factor) -> None:
    """Fill the panel of one size."""
    guides: dict[str, Sequence[Sequence[float]]] = {}
    for order, line in enumerate(lines):
        growth = line.growth[factor]
        xs = list(growth.seconds)
        ys = [1000 * statistics.median(times) for times in growth.seconds.values()]
        label = line.spec.title
        if growth.exponent is not None:
            half = (growth.exponent.high - growth.exponent.low) / 2
            label = f"{label} {growth.exponent.value:.2f}±{half:.2f}"
        panel.plot(
            xs,
            ys,
            label=label,
            markersize=3,
            linewidth=0.9,
            **_style(order) | {"linestyle": "-"},
        )
        if line.claim and growth.claimed is not None:
            guides.setdefault(
                line.claim.formula, (xs, [ys[0] * (x / xs[0]) ** growth.claimed for x in xs])
            )
    for dashes, (formula, guide) in zip(GUIDES, guides.items(), strict=False):
        label = f"paper: {formula}"
        panel.plot(*guide, color="0.45", linestyle=dashes, linewidth=0.8, label=label, zorder=1)
    panel.set(xscale="log", yscale="log", ylabel="ms")
    panel.set_xlabel(SIZES[factor], labelpad=1)
    ticks = list(lines[0].growth[factor].seconds)
    panel.set_xticks(ticks, [_short(value) for value in ticks])
    panel.minorticks_off()
    panel.grid(axis="y", linewidth=0.3, alpha=0.6)
    panel.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=5.5,
        labelspacing=0.25,
        handlelength=1.4,
    )


GUIDES: tuple[Any, ...] = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1, 1.5)))


def _short(value: float) -> str:
    """Return 16384 as 16k."""
    return f"{value // 1024:g}k" if value >= 1024 and value % 1024 == 0 else f"{value:g}"


# --- robustness ---------------------------------------------------------------------------


def robustness(figure: Robustness) -> Picture:
    """Draw a panel per dataset and condition, two side by side in a column and four on a page.

    A line per row of the suite, its band the 95 % interval of the mean; one that reads no features
    is a dotted line across.
    """
    panels = [p for p in figure.panels if len(p.amounts) > 1]
    width = _width(figure)
    across = min(len(panels), 4 if figure.wide else 2)
    down = math.ceil(len(panels) / across)
    drawn = Picture(figsize=(width, 0.6 + 1.5 * down), layout="constrained")
    axes = list(drawn.subplots(down, across, squeeze=False).flat)
    styles = _styles(panels)
    for axis, panel in zip_longest(axes, panels):
        if panel is None:
            axis.axis("off")
        else:
            _curves(axis, figure, panel, styles)
    metric = METRICS[parse_metric(figure.definition.metric).metric].title
    drawn.supylabel(f"{metric} (%)", fontsize=7)
    handles, labels = _legend(axes)
    drawn.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 3))
    return drawn


def _styles(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Return the style of each row, the same in all panels."""
    curves = {curve.label: curve for panel in panels for curve in panel.curves}
    varying = [label for label, curve in curves.items() if not curve.fixed]
    styles = {label: _style(order) for order, label in enumerate(varying)}
    reference = {"color": "0.25", "linestyle": (0, (1, 1.5)), "linewidth": 0.9}
    return {label: styles.get(label, reference) for label in curves}


def _curves(
    axis: Axes, figure: Robustness, panel: Panel, styles: Mapping[str, dict[str, Any]]
) -> None:
    """Fill the panel of one condition on one dataset."""
    for curve in panel.curves:
        xs, cells = _measured_points(figure, panel, curve)
        if not xs:
            continue
        style = styles[curve.label]
        axis.plot(xs, [c.mean for c in cells], label=curve.label, markersize=3, **style)
        halves = [cell.half or 0.0 for cell in cells]
        low, high = (
            [cell.mean + sign * half for cell, half in zip(cells, halves, strict=True)]
            for sign in (-1, 1)
        )
        axis.fill_between(xs, low, high, color=style["color"], alpha=0.12, linewidth=0)
    axis.set_title(textwrap.fill(panel.title, 26 if not figure.wide else 34), fontsize=6.5)
    axis.set_xlabel(panel.condition.amount, labelpad=1)
    axis.set_xticks(panel.amounts, [value_text(x) for x in panel.amounts], fontsize=6)
    axis.minorticks_off()
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)


def _measured_points(
    figure: Robustness, panel: Panel, curve: Curve
) -> tuple[list[float], list[SeedSummary]]:
    """Return the amounts that a curve has a value for, and the values over seeds."""
    points = {x: list(figure.values(curve, x).values()) for x in panel.amounts}
    return [x for x in points if points[x]], [summarise(v) for v in points.values() if v]


def _width(figure: Figure) -> float:
    return PAGE if figure.wide else COLUMN


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
