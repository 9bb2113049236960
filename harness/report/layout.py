"""The layout of a table: printed columns, cells and footnotes, from which every format is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from harness.analysis.hypotheses import ALPHA
from harness.evaluation.metrics import METRICS
from harness.report.table import Column, Mark, Quantity, Sign, Table, TableCell

__all__ = [
    "BESIDE",
    "Layout",
    "PrintedCell",
    "PrintedColumn",
    "PrintedRow",
    "Span",
    "lay_out",
    "reference",
]

BESIDE = "the same row on the dataset that the column stands beside"
"""Reference of changes in a table without a baseline."""

_INTERVAL = "± half of the 95 % interval"
CHANGES = {
    (True,): f"seed by seed; {_INTERVAL} (Student's t)",
    (False,): f"between means over seeds that are not paired; {_INTERVAL} (Welch's t)",
    (False, True): (
        "seed by seed where both share their random numbers, else between means; "
        f"{_INTERVAL} (Student's t, Welch's t)"
    ),
}
"""Whether changes of a table are paired -> how they and their intervals are computed."""

SIGNS = {Sign.BETTER: "†", Sign.WORSE: "‡"}


@dataclass(frozen=True)
class PrintedColumn:
    """One printed column: a quantity of a table column.

    Attributes:
        position: position of the table column.
        column: the table column.
        quantity: quantity of the column that is printed.
        first: True for the leftmost column of a measure.
    """

    position: int
    column: Column
    quantity: Quantity
    first: bool

    @property
    def source(self) -> str:
        """Title of the source of a measurement; "" where the table has one source."""
        return self.column.source if self.quantity is Quantity.MEASURED else ""

    @property
    def heading(self) -> str:
        """Heading below the measure: the source's title, or the name of the quantity."""
        return self.source or str(self.quantity)


@dataclass(frozen=True)
class PrintedCell:
    """Printed pieces of one number; all empty where there is none.

    Attributes:
        number: "34.91", "+1.24".
        spread: "0.12"; "" for one seed and where all seeds agree exactly (a footnote says so); of a
            change half its interval.
        mark: best, second or None.
        sign: "†" better, "‡" worse than the row that it is tested against; "" otherwise.
        letters: footnotes.
        missing: True where a measurement is absent; the letter says why.
        title: the footnotes in full.
        runs: ids of the runs behind the number; () for published ones.
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
class PrintedRow:
    """A row's label with its footnote letters, its attributes, its printed cells."""

    label: str
    letters: str
    group: str
    attributes: tuple[str | bool, ...]
    cells: tuple[PrintedCell, ...]


@dataclass(frozen=True)
class Span:
    """A header cell over several printed columns; ``start`` and ``end`` count from 1."""

    title: str
    start: int
    end: int

    @property
    def width(self) -> int:
        """Number of printed columns."""
        return self.end - self.start + 1


@dataclass(frozen=True)
class Layout:
    """Printed columns and rows of a table, or of some of its columns.

    Attributes:
        table: the table.
        columns: printed columns.
        rows: printed rows, a cell per printed column.
        letters: letter of each footnote of rows and cells, in reading order.
    """

    table: Table
    columns: tuple[PrintedColumn, ...]
    rows: tuple[PrintedRow, ...]
    letters: dict[str, str]

    # --- parts of it ----------------------------------------------------------------------

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Positions of the table columns."""
        return tuple(dict.fromkeys(column.position for column in self.columns))

    def at(self, positions: Collection[int]) -> Layout:
        """Return the layout of some table columns; footnotes keep their letters."""
        indices = [i for i, column in enumerate(self.columns) if column.position in positions]
        rows = [replace(row, cells=tuple(row.cells[i] for i in indices)) for row in self.rows]
        return replace(self, columns=tuple(self.columns[i] for i in indices), rows=tuple(rows))

    def blocks(self) -> tuple[Layout, ...]:
        """Return a layout per dataset."""
        groups = groupby(self.columns, key=lambda printed: printed.column.dataset_title)
        return tuple(self.at({printed.position for printed in members}) for _, members in groups)

    def groups(self) -> Iterator[tuple[str, list[PrintedRow]]]:
        """Yield the titles of groups of rows with their rows."""
        for title, rows in groupby(self.rows, key=lambda row: row.group):
            yield title, list(rows)

    # --- headers --------------------------------------------------------------------------

    @property
    def has_parts(self) -> bool:
        """True when measures have several columns, each with a heading of its own."""
        return any(c.quantity is not Quantity.MEASURED or c.source for c in self.columns)

    @property
    def datasets(self) -> list[Span]:
        """Header cells of the datasets."""
        return self._spans(lambda c: c.dataset_title, lambda c: c.dataset_title)

    @property
    def measures(self) -> list[Span]:
        """Header cells of the measures."""
        return self._spans(lambda c: c.measure, lambda c: c.title)

    def _spans(
        self, key: Callable[[Column], Hashable], title: Callable[[Column], str]
    ) -> list[Span]:
        """Return the header cells over equal neighbours, counted from the labels' column."""
        numbered = enumerate((c.column for c in self.columns), 2 + len(self.table.headings))
        spans = []
        for _, members in groupby(numbered, key=lambda pair: key(pair[1])):
            columns = list(members)
            spans.append(Span(title(columns[0][1]), columns[0][0], columns[-1][0]))
        return spans

    @property
    def n_columns(self) -> int:
        """Number of printed columns, labels and attributes included."""
        return 1 + len(self.table.headings) + len(self.columns)

    @property
    def label(self) -> str:
        """Name of the table as a reference in LaTeX and HTML."""
        return reference(self.table.name)

    # --- explanations ---------------------------------------------------------------------

    @property
    def quantities(self) -> set[Quantity]:
        """Quantities that some column shows."""
        return {column.quantity for column in self.columns}

    @property
    def shows_published(self) -> bool:
        """True when there is a column of published values."""
        return Quantity.PUBLISHED in self.quantities

    @property
    def shows_change(self) -> bool:
        """True when there is a column of changes."""
        return Quantity.CHANGE in self.quantities

    @property
    def how_changes_are_taken(self) -> str:
        """Method of the changes of the table and of their intervals; "" without any."""
        cells = [cell for row in self.table.rows for cell in row.cells if cell.change is not None]
        return CHANGES.get(tuple(sorted({cell.change_paired for cell in cells})), "")

    @property
    def has_marks(self) -> bool:
        """True when some value of the table is marked best or second."""
        return any(cell.mark for row in self.table.rows for cell in row.cells)

    @property
    def has_signs(self) -> bool:
        """True when some value is better or worse than the row that it is tested against."""
        return any(cell.sign for row in self.table.rows for cell in row.cells)

    def legend(self, best: str, second: str) -> str:
        """Return the sentences that explain the marks and signs; "" when there are none.

        Args:
            best, second: appearance of the marks in the format.
        """
        explained = []
        if self.has_marks:
            explained.append(f"{best} ahead of all other rows, {second} of all but that one")
        if self.has_signs:
            better, worse = SIGNS[Sign.BETTER], SIGNS[Sign.WORSE]
            explained.append(f"{better} better, {worse} worse than {self.table.signs_against}")
        if not explained:
            return ""
        return (
            f"{'; '.join(explained)}: beyond the noise of seeds and of test triples (paired tests "
            f"on the ranks, p < {ALPHA:g}, {self._correction})."
        )

    @property
    def _correction(self) -> str:
        if any(column.source for column in self.table.columns):
            return f"Holm over the tests of each source, {self.table.tests} in all"
        return f"Holm over {self.table.tests} tests"


def reference(name: str) -> str:
    """Return the name of a table or figure as a reference in LaTeX and HTML."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def lay_out(table: Table) -> Layout:
    """Return the layout of a table.

    A measurement is always printed, beside it what some row has: the published figure, the
    difference from it, the change. Of sources side by side the first has the published figures,
    which are those of all.
    """
    letters = _letters(table)
    columns = tuple(
        PrintedColumn(position, column, quantity, first=not i and _leads(table, position))
        for position, column in enumerate(table.columns)
        for i, quantity in enumerate(_quantities(table, position))
    )
    rows = tuple(
        PrintedRow(
            label=row.label,
            letters=_join(row.notes, letters),
            group=row.group,
            attributes=row.attributes,
            cells=tuple(_cell(row.cells[c.position], c, letters) for c in columns),
        )
        for row in table.rows
    )
    return Layout(table, columns, rows, letters)


def _quantities(table: Table, position: int) -> list[Quantity]:
    cells = [row.cells[position] for row in table.rows]
    leads, alone = _leads(table, position), not table.columns[position].source
    printed = {
        Quantity.PUBLISHED: leads and any(cell.published is not None for cell in cells),
        Quantity.MEASURED: True,
        Quantity.DIFFERENCE: alone and any(cell.difference is not None for cell in cells),
        Quantity.CHANGE: any(cell.change is not None for cell in cells),
    }
    return [quantity for quantity in Quantity if printed[quantity]]


def _leads(table: Table, position: int) -> bool:
    """Tell whether a column is the leftmost of its measure."""
    columns = table.columns
    return not position or columns[position - 1].measure != columns[position].measure


def _letters(table: Table) -> dict[str, str]:
    """Return the letter of each footnote of rows and cells, in reading order."""
    notes: dict[str, None] = {}
    for row in table.rows:
        notes |= dict.fromkeys(row.notes)
        for cell in row.cells:
            notes |= dict.fromkeys(cell.footnotes)
    return {text: _letter(i) for i, text in enumerate(notes)}


def _letter(position: int) -> str:
    """Return a, b, ..., z, aa, ab, ..."""
    text = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def _cell(cell: TableCell, printed: PrintedColumn, letters: dict[str, str]) -> PrintedCell:
    decimals = printed.column.decimals
    match printed.quantity:
        case Quantity.PUBLISHED:
            return PrintedCell(_number(cell.published, decimals))
        case Quantity.DIFFERENCE:
            return PrintedCell(_signed(cell.difference, decimals), runs=cell.runs)
        case Quantity.CHANGE:
            half = _number(cell.change_half, decimals)
            return PrintedCell(_signed(cell.change, decimals), half, runs=cell.runs)
        case Quantity.MEASURED:
            return _measured(cell, printed.column, letters)


def _measured(cell: TableCell, column: Column, letters: dict[str, str]) -> PrintedCell:
    number, spread = _number(cell.value, column.decimals), _number(cell.sd or None, column.decimals)
    if column.metric in METRICS and METRICS[column.metric].source == "costs":
        number, spread = _above_zero(cell.value, number, spread)
    return PrintedCell(
        number=number,
        spread=spread,
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


def _above_zero(value: float | None, number: str, spread: str) -> tuple[str, str]:
    """Return number and spread of a cost; one that would be printed as zero is below a bound."""
    if not value or float(number.replace(",", "")):
        return number, spread
    return f"<{number[:-1]}1", ""


def _signed(value: float | None, decimals: int) -> str:
    """Return a difference with its sign; no sign where it rounds to zero."""
    if value is None:
        return ""
    text = f"{value:+{'' if decimals else ','}.{decimals}f}"
    return text if text.strip("+-0.") else text[1:]


def _join(notes: Sequence[str], letters: dict[str, str]) -> str:
    return ",".join(letters[note] for note in notes)
