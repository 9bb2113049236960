"""A figure as a value: its data are a table, with a row per point."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.definition import FigureDefinition
from harness.report.sweep import Point
from harness.report.table import Table

__all__ = ["Figure"]

MOST_MAPS = 4
"""Heat maps that stand in a column, two by two."""


@dataclass(frozen=True)
class Figure:
    """What a picture shows; ``harness.report.figures`` draws it.

    Attributes:
        definition: axes, kind and size.
        table: the data; its rows are points, its columns panels (metrics) and lines (datasets).
        points: x and y of each row.
    """

    definition: FigureDefinition
    table: Table
    points: tuple[Point, ...]

    @property
    def measured(self) -> tuple[int, ...]:
        """Positions of the table's columns that have a measurement."""
        columns = range(len(self.table.columns))
        return tuple(
            i for i in columns if any(row.cells[i].value is not None for row in self.table.rows)
        )

    @property
    def wide(self) -> bool:
        """Whether it is as wide as a page: as defined, and where a column would be too high."""
        heatmap = self.definition.figure == "heatmap"
        return self.definition.width == "page" or (heatmap and len(self.measured) > MOST_MAPS)

    @property
    def legend(self) -> str:
        """What the marks of the picture mean."""
        definition = self.definition
        if definition.figure == "lines":
            hollow = "; hollow: published" if self.table.source else ""
            return f"Bands: 95 % intervals of the means (Student's t){hollow}."
        assert definition.y is not None
        dashed = [f"; dashed: {mark.title}" for mark in definition.landmarks]
        hatched = f"; hatched: {definition.x.label} not below {definition.y.label}"
        cells = (cell for row in self.table.rows for cell in row.cells)
        partial = any(cell.value is not None and cell.n < cell.planned for cell in cells)
        said = ["Boxed: best", *dashed]
        said += [hatched] if definition.ascending else []
        said += ["; without colour: not all seeds"] if partial else []
        return f"{''.join(said)}."

    @property
    def why_empty(self) -> str:
        """Why there is nothing to draw; "" when some point was measured."""
        if self.measured:
            return ""
        cells = (cell for row in self.table.rows for cell in row.cells)
        reasons = dict.fromkeys(cell.reason for cell in cells if cell.reason)
        return "; ".join(reasons) or f"not run: `harness run {self.definition.suite}`"
