"""The style of all pictures: sizes of a paper, one set of letters, colours that print in grey.

Sizes are those of a paper: 3.3 inches for a column, 7 for a page, letters of 7 points. Lines differ
in marker, dashes and lightness, so that they can be told apart without colours: the colours are
those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), ordered so that neighbours differ
in lightness; heat maps use "cividis" (Nunez et al. 2018), whose lightness rises evenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator, MultipleLocator

from harness.report.figure import Figure
from harness.report.tables.sweep import value_text

__all__ = [
    "COLOURS",
    "COLUMN",
    "DPI",
    "LETTERS",
    "PAGE",
    "REFERENCE",
    "STYLE",
    "bars",
    "capital",
    "distinct",
    "grid",
    "label_ticks",
    "legend_above",
    "legend_columns",
    "line_style",
    "new_picture",
    "same_span",
    "text_inches",
    "width_of",
]

T = TypeVar("T")

COLUMN, PAGE = 3.3, 7.0
"""Widths in inches."""
LETTERS = 7
"""Size of all letters in points."""
STYLE: dict[Any, Any] = {
    "font.size": LETTERS,
    "axes.titlesize": LETTERS,
    "axes.labelsize": LETTERS,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "xtick.labelsize": LETTERS,
    "ytick.labelsize": LETTERS,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": LETTERS,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 0.9,
    "legend.borderpad": 0.1,
    "legend.handletextpad": 0.4,
    "legend.labelspacing": 0.3,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.h_pad": 0.02,
    "pdf.fonttype": 42,  # publishers refuse the outlines of type 3
    "svg.hashsalt": "mmkgc-harness",  # the same figure gives the same file
}
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
REFERENCE: dict[str, Any] = {"color": "0.35", "linestyle": (0, (1, 1.5)), "linewidth": 0.9}
"""A line that is the same everywhere, and is there to compare with."""
DPI = 300


def line_style(order: int) -> dict[str, Any]:
    """Return colour, marker and dashes of a line, by its position in the legend."""
    return {
        "color": COLOURS[order % len(COLOURS)],
        "marker": MARKERS[order % len(MARKERS)],
        "linestyle": DASHES[order % len(DASHES)],
    }


def width_of(figure: Figure) -> float:
    """Return the width of a figure's picture in inches."""
    return PAGE if figure.wide else COLUMN


def new_picture(width: float, height: float) -> Picture:
    """Return an empty picture; sizes in inches."""
    return Picture(figsize=(width, height), layout="constrained")


def distinct(values: Iterable[T]) -> list[T]:
    """Return values in their order, each once."""
    return list(dict.fromkeys(values))


def bars(
    axes: Axes, xs: Sequence[float], ys: Sequence[float], halves: Sequence[float], **style: Any
) -> None:
    """Draw a line through means with the error bars of their intervals.

    Args:
        axes: panel.
        xs, ys: means.
        halves: half of each interval; 0 where there is none.
        style: colour, marker, dashes, label.
    """
    reach = [half or float("nan") for half in halves]  # no cap where there is no interval
    axes.errorbar(xs, ys, yerr=reach, elinewidth=0.7, capsize=1.8, capthick=0.7, **style)


def same_span(panels: Sequence[Axes], lows: Sequence[float], highs: Sequence[float]) -> None:
    """Give panels the same span in points, each around its own values, and ticks equally far apart.

    Args:
        panels: panels of one metric.
        lows, highs: least and greatest value of each panel.
    """
    span = 1.16 * max(high - low for low, high in zip(lows, highs, strict=True)) or 1.0
    ticks = MaxNLocator(5, steps=[1, 2, 4, 5, 10]).tick_values(0, span)
    for panel, low, high in zip(panels, lows, highs, strict=True):
        middle = (low + high) / 2
        panel.set_ylim(middle - span / 2, middle + span / 2)
        panel.yaxis.set_major_locator(MultipleLocator(ticks[1] - ticks[0]))


def capital(text: str) -> str:
    """Return a text with a capital at its start."""
    return text[:1].upper() + text[1:]


def grid(panel: Axes) -> None:
    """Draw faint horizontal lines behind a panel."""
    panel.set_axisbelow(True)
    panel.grid(axis="y", linewidth=0.3, alpha=0.6)


def label_ticks(panel: Axes, values: Sequence[float], inches: float) -> None:
    """Mark values on a linear x axis; label the ends, and between them what fits without touching.

    Args:
        panel: panel.
        values: places of the ticks, ascending.
        inches: width of the panel.
    """
    scale = inches / ((values[-1] - values[0]) or 1.0)

    def reach(value: float) -> tuple[float, float]:
        half = text_inches(value_text(value)) / 2 + 0.02
        return scale * value - half, scale * value + half

    labelled = {values[0], values[-1]}
    end = reach(values[0])[1]
    for value in values[1:-1]:
        left, right = reach(value)
        if left >= end and right <= reach(values[-1])[0]:
            labelled.add(value)
            end = right
    texts = [value_text(value) if value in labelled else "" for value in values]
    panel.set_xticks(list(values), texts)
    panel.minorticks_off()


def legend_above(drawn: Picture, panels: Sequence[Axes], handle: float = 2.4) -> None:
    """Draw one legend for all panels above them, each label once, in few lines of like length.

    Args:
        drawn: picture.
        panels: panels with labelled lines or marks.
        handle: width of a handle in letters.
    """
    by_label: dict[str, Any] = {}
    for panel in panels:
        for artist, label in zip(*panel.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, artist)
    if by_label:
        columns = legend_columns(list(by_label), drawn.get_figwidth(), handle)
        drawn.legend(
            by_label.values(),
            by_label,
            loc="outside upper center",
            ncols=columns,
            handlelength=handle,
        )


def legend_columns(labels: Sequence[str], inches: float, handle: float) -> int:
    """Return the number of columns of a legend that fits into a width, at least one.

    No label stands alone on the last line, if that can be; then lines are few, then of like length.

    Args:
        labels: labels of the entries.
        inches: width.
        handle: width of a handle in letters.
    """

    def unevenness(columns: int) -> tuple[bool, int, int]:
        n_lines, missing = -(-len(labels) // columns), -len(labels) % columns
        return n_lines > 1 and missing == columns - 1, n_lines, missing

    fitting = [n for n in range(2, len(labels) + 1) if _fits(labels, n, inches, handle)]
    return min(fitting, key=unevenness, default=1)


def _fits(labels: Sequence[str], columns: int, inches: float, handle: float) -> bool:
    """Tell whether a legend of so many columns fits into a width."""
    widths = [text_inches(label) * 72 / LETTERS for label in labels]
    widest = [max(column) for column in np.array_split(widths, columns)]  # as matplotlib does
    letters = sum(widest) + columns * (handle + 0.4) + (columns - 1) * 0.9 + 0.2
    return bool(letters * LETTERS <= 72 * inches)


def text_inches(text: str) -> float:
    """Return the width of a text in the letters of a picture."""
    return float(TextPath((0, 0), text, size=LETTERS).get_extents().width) / 72
