"""Learning curves: validation MRR by epoch and by second."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness.report.pictures.style import grid, legend_above, line_style, new_picture, width_of
from harness.report.tables.learning import Learning, LearningRow

__all__ = ["learning"]

APART = 20
"""Times of rows that differ by such a factor stand on a logarithmic axis."""
LABELS = {"epochs": "Epochs", "seconds": "Wall time (s)"}


def learning(figure: Learning) -> Picture:
    """Draw a row of panels per dataset with one scale of MRR; a line per row of the suite.

    Lines are means over seeds, bands reach from the least to the greatest.
    """
    down, across = len(figure.panels), len(figure.definition.against)
    drawn = new_picture(width_of(figure), 0.5 + 1.5 * down)
    panels = drawn.subplots(down, across, sharey="row", squeeze=False)
    for row, (dataset, rows) in zip(panels, figure.panels.items(), strict=True):
        for panel, axis in zip(row, figure.definition.against, strict=True):
            _panel(panel, figure, rows, axis)
        title = figure.dataset_title(dataset)
        row[0].set_ylabel("Validation MRR (%)" if down == 1 else f"{title}\nvalidation MRR (%)")
    for panel, axis in zip(panels[-1], figure.definition.against, strict=True):
        panel.set_xlabel(LABELS[axis])
    legend_above(drawn, list(panels.flat))
    return drawn


def _panel(panel: Axes, figure: Learning, rows: Sequence[LearningRow], axis: str) -> None:
    times: list[float] = []
    for row in rows:
        places = [point.epoch if axis == "epochs" else point.seconds for point in row.points]
        xs = [float(x) for x in places if x is not None]
        if len(xs) < len(places):
            continue  # the time of its epochs is not known
        style = line_style(figure.order[row.label])
        every = max(1, len(xs) // 8)  # marks tell lines apart and do not hide them
        means = [sum(point.mrr) / len(point.mrr) for point in row.points]
        panel.plot(xs, means, label=row.label, markevery=every, **style)
        low, high = ([end(point.mrr) for point in row.points] for end in (min, max))
        panel.fill_between(xs, low, high, color=style["color"], alpha=0.18, linewidth=0)
        times += xs
    if axis == "seconds" and times and max(times) > APART * min(times) > 0:
        panel.set_xscale("log")
    grid(panel)
