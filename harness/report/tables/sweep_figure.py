"""Lines and heat maps of a suite's results by the settings that it varies; pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis.statistics import SeedSummary, difference_half_width
from harness.evaluation.metrics import METRICS
from harness.plan.suite import suite_argument
from harness.report.definition import FigureDefinition
from harness.report.figure import Figure, seeds_text, sentences
from harness.report.table import Table, TableCell
from harness.report.tables.sweep import Point, value_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["LACKING", "SweepFigure"]

LACKING = {
    "pruned": "\N{MULTIPLICATION SIGN}",
    "failed": "!",
    "not tested": "o",
    "not run": "\N{EN DASH}",
}
"""Why a cell of a heat map has no value -> the sign that stands in it."""
ACROSS = {"lines": 3, "heatmap": 2}
"""Panels side by side in a column."""


@dataclass(frozen=True)
class SweepFigure(Figure):
    """Lines or heat maps of a suite's results by the settings that it varies.

    Attributes:
        definition: axes, kind and size.
        data: the table; its rows are points, its columns panels.
        points: x and y of each row.
        continuous: points of a heat map stand at their values.
    """

    definition: FigureDefinition
    data: Table
    points: tuple[Point, ...]
    continuous: bool = False

    @property
    def table(self) -> Table:
        """The data; its rows are points."""
        return self.data

    @cached_property
    def measured(self) -> tuple[int, ...]:
        """Positions of the table's columns that have a measurement."""
        columns = range(len(self.table.columns))
        return tuple(i for i in columns if any(c.value is not None for c in self._cells(i)))

    def _cells(self, position: int) -> list[TableCell]:
        return [row.cells[position] for row in self.table.rows]

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page: as defined, or where a column is too narrow."""
        columns = [self.table.columns[i] for i in self.measured]
        datasets = len({column.dataset_title for column in columns})
        across = datasets
        if self.definition.figure == "heatmap":
            across = len({column.title for column in columns}) if datasets > 1 else len(columns)
        return self.definition.width == "page" or across > ACROSS[self.definition.figure]

    @property
    def shows_published(self) -> bool:
        """True when some published value stands in a panel with measurements."""
        cells = (cell for i in self.measured for cell in self._cells(i))
        return any(cell.published is not None for cell in cells)

    # --- values of a panel ------------------------------------------------------------------

    def values(self, position: int) -> dict[Point, float]:
        """Return the means of a column by point."""
        pairs = zip(self.points, self._cells(position), strict=True)
        return {point: cell.value for point, cell in pairs if cell.value is not None}

    def lacking(self, position: int) -> dict[Point, str]:
        """Return why points of a column have no value, as a key of ``LACKING``.

        Pairs of a grid that are no point were not run; pairs that are not valid are left out.
        """
        pairs = zip(self.points, self._cells(position), strict=True)
        kinds = {p: _kind(cell.reason) for p, cell in pairs if cell.value is None}
        if not self.continuous:
            xs, ys = ({point[i] for point in self.points} for i in (0, 1))
            others = {*itertools.product(xs, ys)} - {*self.points}
            kinds |= {(x, y): "not run" for x, y in others if x is not None}
        return {
            (x, y): kind
            for (x, y), kind in kinds.items()
            if y is None or not self.definition.invalid(x, y)
        }

    def complete(self, position: int) -> dict[Point, SeedSummary]:
        """Return the summaries over all planned seeds; others do not compare with them."""
        pairs = zip(self.points, self._cells(position), strict=True)
        return {
            point: SeedSummary(cell.value, cell.sd, cell.n)
            for point, cell in pairs
            if cell.value is not None and cell.n == cell.planned
        }

    def noise(self, position: int) -> float | None:
        """Return half the 95 % interval of a difference of two cells; None where it is unknown."""
        return difference_half_width(list(self.complete(position).values()))

    def is_share(self, position: int) -> bool:
        """Tell whether a column holds shares of a whole, which go from 0 to 100 %."""
        metric = METRICS[self.table.columns[position].metric]
        return metric.higher_is_better is None and metric.factor == 100

    def best(self, position: int) -> Point | None:
        """Return the point that is ahead of every other by more than the noise."""
        better = self.table.columns[position].higher_is_better
        noise, complete = self.noise(position), self.complete(position)
        if better is None or noise is None or len(complete) < 2:
            return None
        sign = 1 if better else -1
        first, second, *_ = sorted(complete, key=lambda p: sign * complete[p].mean, reverse=True)
        lead = abs(complete[first].mean - complete[second].mean)
        return first if lead > noise else None

    # --- caption ----------------------------------------------------------------------------

    @property
    def legend(self) -> str:
        """Caption: marks, seeds and intervals."""
        return sentences(
            self._legend_of_lines() if self.definition.figure == "lines" else self._legend_of_maps()
        )

    @property
    def _seeds(self) -> str:
        return seeds_text([c.n for i in self.measured for c in self._cells(i) if c.n])

    def _legend_of_lines(self) -> Iterator[str]:
        yield f"Means over {self._seeds}; error bars: 95 % intervals of the means (Student's t)"
        yield "the panels of a metric span the same number of points"
        yield from self._unmeasured()

    def _unmeasured(self) -> Iterator[str]:
        """Yield the published values of datasets of which nothing is drawn."""
        drawn = {self.table.columns[i].dataset_title for i in self.measured}
        published: dict[tuple[str, str], list[str]] = {}
        for i, column in enumerate(self.table.columns):
            for row, cell in zip(self.table.rows, self._cells(i), strict=True):
                if column.dataset_title not in drawn and cell.published is not None:
                    value = f"{column.title} {cell.published:.{column.decimals}f}"
                    published.setdefault((column.dataset_title, row.label), []).append(value)
        x = self.definition.x.label
        for (dataset, label), values in published.items():
            listed = ", ".join(values)
            yield f"{dataset}: nothing measured; published at {x} = {label}: {listed}"

    def _legend_of_maps(self) -> Iterator[str]:
        definition = self.definition
        assert definition.y is not None
        yield f"Means over {self._seeds}"
        yield from self._noise_text()
        if any(self.is_share(i) for i in self.measured):
            yield "shares have one scale, 0 to 100 %"
        for mark in definition.landmarks:
            yield f"dashed: {mark.title} ({value_text(mark.x)}, {value_text(mark.y)})"
        if definition.ascending:
            yield f"hatched: {definition.x.label} not below {definition.y.label}"
        cells = (cell for i in self.measured for cell in self._cells(i))
        if any(cell.value is not None and cell.n < cell.planned for cell in cells):
            yield "without colour: not all seeds"
        if signs := [f"{LACKING[kind]} {kind}" for kind in self.kinds_lacking]:
            yield f"without a value: {', '.join(signs)}"

    @property
    def kinds_lacking(self) -> list[str]:
        """Keys of ``LACKING`` with a sign in the picture: on continuous axes of points tried."""
        kinds = {kind for i in self.measured for kind in self.lacking(i).values()}
        shown = [kind for kind in LACKING if not self.continuous or kind != "not run"]
        return [kind for kind in shown if kind in kinds]

    def _noise_text(self) -> Iterator[str]:
        """Yield the noise of each panel, and whether something is best beyond it."""
        columns = [i for i in self.measured if self.table.columns[i].higher_is_better is not None]
        finite = [
            f"{self.panel_title(i)} {noise:.{self.table.columns[i].decimals}f}"
            for i in columns
            if (noise := self.noise(i)) is not None
        ]
        if not columns:
            return
        if not finite:
            yield "one seed: the noise is unknown, so nothing is marked as best"
            return
        yield (
            "noise (half-width of the 95 % interval of a difference of two means, standard "
            f"deviation pooled over cells): {', '.join(finite)}; colours span at least as much"
        )
        boxed = any(self.best(i) for i in columns)
        yield (
            "boxed: ahead of every other cell by more than the noise"
            if boxed
            else "no cell is ahead of all others by more than the noise"
        )

    def panel_title(self, position: int, *, dataset: bool = True) -> str:
        """Return the title of a panel, with the dataset where there are several."""
        column = self.table.columns[position]
        metric = f"{'validation ' if column.split == 'valid' else ''}{column.title}"
        several = len({self.table.columns[i].dataset_title for i in self.measured}) > 1
        title = f"{column.dataset_title} {metric}" if several and dataset else metric
        return title[0].upper() + title[1:] if not (several and dataset) else title

    # --- picture ----------------------------------------------------------------------------

    @property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when some point was measured."""
        if self.measured:
            return ""
        cells = (cell for row in self.table.rows for cell in row.cells)
        reasons = dict.fromkeys(cell.reason for cell in cells if cell.reason)
        command = f"harness run {suite_argument(self.definition.suite)}"
        return "; ".join(reasons) or f"not run: `{command}`"

    def draw(self) -> Picture:
        """Draw the lines or the heat maps."""
        if self.definition.figure == "lines":
            from harness.report.pictures.lines import lines

            return lines(self)
        from harness.report.pictures.heatmap import heatmap

        return heatmap(self)


def _kind(reason: str) -> str:
    """Return the key of ``LACKING`` of a cell's reason."""
    if reason.startswith("validated and not tested"):
        return "not tested"
    kind = reason.partition(":")[0]
    return kind if kind in LACKING else "not run"
