"""The critical-difference diagram: mean ranks on one axis, bars join what is not told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness.report.pictures.style import new_picture, text_inches, width_of
from harness.report.tables.critical import CriticalDifference

__all__ = ["critical_difference"]

LINE = 0.15
"""Height of a line of text in inches."""


def critical_difference(figure: CriticalDifference) -> Picture:
    """Draw the mean ranks, the better half of the names at the left (Demsar 2006, figure 1)."""
    comparison, labels = figure.comparison, figure.labels
    order = sorted(range(len(labels)), key=lambda i: comparison.mean_ranks[i])
    half = math.ceil(len(order) / 2)
    bars = 0.06 * len(comparison.groups) + 0.08
    above = 0.5 if comparison.difference is not None else 0.25
    width, height = width_of(figure), above + bars + LINE * half + 0.1
    drawn = new_picture(width, height)
    drawn.set_layout_engine("none")
    panel = drawn.add_axes((0, 0, 1, 1))
    panel.axis("off")
    margin = max(map(text_inches, labels)) + 0.12
    scale = (width - 2 * margin) / (len(labels) - 1)
    panel.set(
        xlim=(1 - margin / scale, len(labels) + margin / scale), ylim=(-height + above, above)
    )
    _axis(panel, len(labels))
    if comparison.difference is not None:
        _critical_bar(panel, comparison.difference)
    _groups(panel, [[comparison.mean_ranks[i] for i in group] for group in comparison.groups])
    for position, i in enumerate(order):
        left = position < half
        depth = bars + LINE * (position if left else len(order) - 1 - position)
        end = 1 if left else len(labels)
        _name(panel, labels[i], comparison.mean_ranks[i], depth, end, left=left)
    return drawn


def _axis(panel: Axes, methods: int) -> None:
    panel.plot([1, methods], [0, 0], color="black", linewidth=0.8)
    step = 1 if methods <= 13 else 2
    for rank in range(1, methods + 1):
        panel.plot([rank, rank], [0, 0.04], color="black", linewidth=0.8)
        if (rank - 1) % step == 0:
            panel.text(rank, 0.06, str(rank), ha="center", va="bottom")


def _critical_bar(panel: Axes, difference: float) -> None:
    style: dict[str, Any] = {"color": "black", "linewidth": 0.8}
    panel.plot([1, 1 + difference], [0.3, 0.3], **style)
    for end in (1, 1 + difference):
        panel.plot([end, end], [0.27, 0.33], **style)
    panel.text(1 + difference / 2, 0.33, f"CD = {difference:.2f}", ha="center", va="bottom")


def _groups(panel: Axes, groups: Sequence[Sequence[float]]) -> None:
    for number, ranks in enumerate(groups):
        depth = -0.06 * (number + 1)
        ends = [min(ranks) - 0.04, max(ranks) + 0.04]
        panel.plot(ends, [depth, depth], color="black", linewidth=2.2, solid_capstyle="butt")


def _name(panel: Axes, label: str, rank: float, depth: float, end: float, *, left: bool) -> None:
    panel.plot([rank, rank, end], [0, -depth, -depth], color="0.3", linewidth=0.6)
    text = f"{label} " if left else f" {label}"
    panel.text(end, -depth, text, ha="right" if left else "left", va="center")
