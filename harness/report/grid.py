"""A table as rows of printed pieces, shared by the formats that people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.hypotheses import ALPHA
from harness.report.table import Column, Mark, Part, Sign, Table, TableCell

__all__ = [
    "BESIDE",
    "Grid",
    "GridCell",
    "GridColumn",
    "GridRow",
    "how_changes_are_taken",
    "lay_out",
    "legend",
]

BESIDE = "the same row on the dataset that the column stands beside"
"""What changes are against in a table without a baseline."""

_INTERVAL = "± half of the 95 % interval"
HOW_CHANGES_ARE_TAKEN = {
    (True,): f"seed by seed; {_INTERVAL} (Student's t)",
    (False,): f"between means over seeds that are not paired; {_INTERVAL} (Welch's t)",
    (False, True): (
        "seed by seed where both share their random numbers, else between means; "
        f"{_INTERVAL} (Student's t, Welch's t)"
    ),
}
"""Whether changes of a table are paired -> how that is said."""

SIGNS = {Sign.BETTER: "†", Sign.WORSE: "‡"}


@dataclass(frozen=True)
class GridColumn:
    """One printed column: a part of a table column."""

    column: Column
    part: Part
    first: bool
    """True for the leftmost part of what is measured."""

    @property
    def source(self) -> str:
        """Title of the source whose measurement it is; "" where there is one source alone."""
        return self.column.source if self.part is Part.MEASURED else ""

    @property
    def heading(self) -> str:
        """What tells it from its neighbours: the source's title, or which part it is."""
        return self.source or str(self.part)


@dataclass(frozen=True)
class GridCell:
    """Printed pieces of one number; all empty where there is nothing to say.

    Attributes:
        number: "34.91", "+1.24".
        spread: "0.12"; "" for one seed and where all seeds agree exactly (a footnote says so); of a
            change half its interval.
        mark: best, second or None.
        sign: "†" better, "‡" worse than the row that it is tested against; "" otherwise.
        letters: footnotes.
        missing: True where a measurement is absent; the letter says why.
        title: the footnotes in full.
        runs: ids of the runs that the number is from; () for published ones.
    """

    number: str = ""
    spread: str = ""
    mark: Mark | None = None
    sign: str = ""
    letters: str = ""
    missing: bool = False
    title: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridRow:
    """A row's label with its footnote letters, its attributes, its printed cells."""

    label: str
    letters: str
    group: str
    attributes: tuple[str | bool, ...]
    cells: tuple[GridCell, ...]


@dataclass(frozen=True)
class Grid:
    """Printed columns and rows."""

    columns: tuple[GridColumn, ...]
    rows: tuple[GridRow, ...]

    @property
    def has_parts(self) -> bool:
        """True when what is measured has several columns, each with a heading of its own."""
        return any(c.part is not Part.MEASURED or c.source for c in self.columns)


def lay_out(table: Table, columns: Sequence[int] | None = None) -> Grid:
    """Return the printed pieces of a table.

    Args:
        table: the table.
        columns: positions of the table's columns to keep; all when None.
    """
    positions = range(len(table.columns)) if columns is None else columns
    letters = table.letters()
    printed = [
        (position, GridColumn(table.columns[position], part, first=not i and table.leads(position)))
        for position in positions
        for i, part in enumerate(table.parts(position))
    ]
    rows = [
        GridRow(
            label=row.label,
            letters=_join(row.notes, letters),
            group=row.group,
            attributes=row.attributes,
            cells=tuple(_cell(row.cells[i], column, letters) for i, column in printed),
        )
        for row in table.rows
    ]
    return Grid(tuple(column for _, column in printed), tuple(rows))


def legend(table: Table, best: str, second: str) -> str:
    """Return the sentences that explain the marks and signs of a table; "" when it has none.

    Args:
        table: the table.
        best, second: how they look in the format.
    """
    said = []
    if table.has_marks:
        said.append(f"{best} ahead of all other rows, {second} of all but that one")
    if table.has_signs:
        better, worse = SIGNS[Sign.BETTER], SIGNS[Sign.WORSE]
        said.append(f"{better} better, {worse} worse than {table.signs_against}")
    if not said:
        return ""
    return (
        f"{'; '.join(said)}: beyond the noise of seeds and of test triples (paired tests on the "
        f"ranks, p < {ALPHA:g}, {_correction(table)})."
    )


def how_changes_are_taken(table: Table) -> str:
    """Say how the changes of a table and their intervals are computed; "" without any."""
    cells = [cell for row in table.rows for cell in row.cells if cell.change is not None]
    return HOW_CHANGES_ARE_TAKEN.get(tuple(sorted({cell.change_paired for cell in cells})), "")


def _correction(table: Table) -> str:
    if any(column.source for column in table.columns):
        return f"Holm over the tests of each source, {table.tests} in all"
    return f"Holm over {table.tests} tests"


def _cell(cell: TableCell, printed: GridColumn, letters: dict[str, str]) -> GridCell:
    decimals = printed.column.decimals
    match printed.part:
        case Part.PUBLISHED:
            return GridCell(_number(cell.published, decimals))
        case Part.DIFFERENCE:
            return GridCell(_signed(cell.difference, decimals), runs=cell.runs)
        case Part.CHANGE:
            half = _number(cell.change_half, decimals)
            return GridCell(_signed(cell.change, decimals), half, runs=cell.runs)
        case Part.MEASURED:
            return _measured(cell, decimals, letters)


def _measured(cell: TableCell, decimals: int, letters: dict[str, str]) -> GridCell:
    return GridCell(
        number=_number(cell.value, decimals),
        spread=_number(cell.sd or None, decimals),
        mark=cell.mark,
        sign=SIGNS[cell.sign] if cell.sign else "",
        letters=_join(cell.footnotes, letters),
        missing=cell.value is None,
        title="; ".join(cell.footnotes),
        runs=cell.runs,
    )


def _number(value: float | None, decimals: int) -> str:
    """Return a number; counts have commas between thousands."""
    return "" if value is None else f"{value:{'' if decimals else ','}.{decimals}f}"


def _signed(value: float | None, decimals: int) -> str:
    """Return a difference with its sign; no sign on what rounds to zero."""
    if value is None:
        return ""
    text = f"{value:+{'' if decimals else ','}.{decimals}f}"
    return text if text.strip("+-0.") else text[1:]


def _join(notes: Sequence[str], letters: dict[str, str]) -> str:
    return ",".join(letters[note] for note in notes)
