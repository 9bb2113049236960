"""Quality against cost: which rows no other row beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis.query import parse_metric
from harness.plan.suite import suite_argument
from harness.report.figure import Figure, seeds_text, sentences
from harness.report.row_definitions import ParetoDefinition
from harness.report.table import Column, Table, TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["Pareto", "ParetoPoint", "front"]

LEAST = 3
"""Rows below which a front says nothing."""
MOST_IN_COLUMN = 12
"""Names for which a picture as wide as a column has room."""
ON_FRONT = "no other row is better and cheaper"


@dataclass(frozen=True)
class ParetoPoint:
    """A row on a dataset.

    Attributes:
        label, group: of the row.
        cost, quality: means over seeds, in the printed units.
        half: half the 95 % interval of the quality; None for one seed.
        seeds: number of seeds.
        on_front: no other row is at least as good and as cheap, and better in one of both.
    """

    label: str
    group: str
    cost: float
    quality: float
    half: float | None
    seeds: int
    on_front: bool


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tell which points (cost, gain) no other point dominates.

    A point dominates another that is no better in either and worse in one (Pareto dominance).
    """
    return [
        not any(
            other != point and other[0] <= point[0] and other[1] >= point[1] for other in points
        )
        for point in points
    ]


@dataclass(frozen=True)
class Pareto(Figure):
    """Rows of a suite by quality and cost.

    Attributes:
        definition: metric and cost.
        data: quality and cost of each row on each dataset.
    """

    definition: ParetoDefinition
    data: Table

    @property
    def metric(self) -> Column:
        """Column of the quality."""
        return self._columns[0]

    @property
    def cost(self) -> Column:
        """Column of the cost."""
        return self._columns[1]

    @property
    def _columns(self) -> tuple[Column, ...]:
        return self.data.columns[:2]

    @cached_property
    def panels(self) -> dict[str, tuple[ParetoPoint, ...]]:
        """Points by dataset title, of datasets on which ``LEAST`` rows have both numbers."""
        panels = {}
        for position in range(0, len(self.data.columns), 2):
            title = self.data.columns[position].dataset_title
            points = self._points(position)
            if len(points) >= LEAST:
                panels[title] = points
        return panels

    def _points(self, position: int) -> tuple[ParetoPoint, ...]:
        rows = [(r, r.cells[position], r.cells[position + 1]) for r in self.data.rows]
        drawn = [
            (row, quality, quality.value, cost.value)
            for row, quality, cost in rows
            if quality.value is not None and cost.value is not None
        ]
        sign = 1 if self.data.columns[position].higher_is_better else -1
        on_front = front([(cost, sign * value) for _, _, value, cost in drawn])
        return tuple(
            ParetoPoint(row.label, row.group, cost, value, quality.half, quality.n, is_best)
            for (row, quality, value, cost), is_best in zip(drawn, on_front, strict=True)
        )

    @cached_property
    def table(self) -> Table:
        """The data; rows of the front have a footnote."""
        return replace(self.data, rows=tuple(map(self._noted, self.data.rows)))

    def _noted(self, row: TableRow) -> TableRow:
        cells = list(row.cells)
        for position in range(0, len(cells), 2):
            points = self.panels.get(self.data.columns[position].dataset_title, ())
            if any(point.label == row.label and point.on_front for point in points):
                cell = cells[position]
                cells[position] = replace(cell, notes=(*cell.notes, ON_FRONT))
        return replace(row, cells=tuple(cells))

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page: as defined, for several datasets, for many rows."""
        most = max(map(len, self.panels.values()), default=0)
        return self.definition.width == "page" or len(self.panels) > 1 or most > MOST_IN_COLUMN

    @property
    def legend(self) -> str:
        """Caption: marks, seeds, intervals, and the rows without a cost."""
        return sentences(self._legend())

    def _legend(self) -> Iterator[str]:
        points = [point for panel in self.panels.values() for point in panel]
        if len(self.panels) == 1:
            yield next(iter(self.panels))
        yield f"means over {seeds_text([point.seeds for point in points])}"
        if any(point.half for point in points):
            yield "bars: 95 % intervals of the means (Student's t), where there are several seeds"
        yield f"line and filled marks: the Pareto front, {ON_FRONT}"
        drawn = {point.label for point in points}
        if left_out := [row.label for row in self.data.rows if row.label not in drawn]:
            yield f"not drawn, without {self.cost.title}: {', '.join(left_out)}"
        yield "points without a name are in the table"

    @property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when enough rows have both numbers on a dataset."""
        if self.panels:
            return ""
        metric = parse_metric(self.definition.metric).metric
        return (
            f"no {LEAST} rows of suite '{self.definition.suite}' have {metric} and "
            f"{self.definition.cost} on a dataset; "
            f"`harness run {suite_argument(self.definition.suite)}` makes some"
        )

    def draw(self) -> Picture:
        """Draw a panel per dataset."""
        from harness.report.pictures.pareto import pareto

        return pareto(self)
