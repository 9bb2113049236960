"""A kind of figure: bars of a metric, one per row of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.report.build import plain_table
from harness.report.figure import Figure
from harness.report.kinds import ReportKind
from harness.report.row_definitions import RowsDefinition
from harness.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from harness.analysis.query import Results


class BarsDefinition(RowsDefinition):
    """Bars of the first column of a suite's table."""

    figure: Literal["bars"]
    """Kind of figure."""
    colour: str = "tab:blue"
    """Colour of the bars, as matplotlib names it."""


@dataclass(frozen=True)
class Bars(Figure):
    """Bars of the first column of a table.

    Attributes:
        definition: keys of the file.
        data: table of the suite.
    """

    definition: BarsDefinition
    data: Table

    @property
    def table(self) -> Table:
        """The data of the picture."""
        return self.data.only([0])

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page."""
        return self.definition.width == "page"

    @property
    def legend(self) -> str:
        """The part of the caption that explains the picture."""
        return "Mean over seeds, one bar per row."

    @property
    def why_empty(self) -> str:
        """The reason why there is nothing to draw, "" when there is something."""
        has_values = any(row.cells[0].value is not None for row in self.data.rows)
        return "" if has_values else f"no run of suite '{self.definition.suite}' has a value"

    def draw(self) -> Picture:
        """Draw the picture."""
        from matplotlib.figure import Figure as Picture

        picture = Picture(figsize=(7 if self.wide else 3.3, 2), layout="constrained")
        axes = picture.subplots()
        values = {row.label: row.cells[0].value or 0 for row in self.data.rows}
        axes.barh(list(values), list(values.values()), color=self.definition.colour)
        axes.invert_yaxis()
        axes.set_xlabel(f"{self.data.columns[0].title} (%)")
        return picture


def bars(definition: BarsDefinition, results: Results) -> Bars:
    """Return the figure of a definition."""
    return Bars(definition, plain_table(results, definition.suite))


BARS = ReportKind(BarsDefinition, bars)
