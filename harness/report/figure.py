"""A figure as a value: its data are a table, with a row per point."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.definition import FigureDefinition
from harness.report.sweep import Point
from harness.report.table import Table

__all__ = ["Figure"]


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
    def why_empty(self) -> str:
        """Why there is nothing to draw; "" when some point was measured."""
        cells = [cell for row in self.table.rows for cell in row.cells]
        if any(cell.value is not None for cell in cells):
            return ""
        reasons = dict.fromkeys(cell.reason for cell in cells if cell.reason)
        return "; ".join(reasons) or f"not run: `harness run {self.definition.suite}`"
