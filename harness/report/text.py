"""Text in at most 80 columns: one block per dataset."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, zip_longest

from tabulate import DataRow, TableFormat, tabulate

from harness.report.grid import (
    BESIDE,
    Grid,
    GridCell,
    GridRow,
    how_changes_are_taken,
    lay_out,
    legend,
)
from harness.report.table import Block, Heading, Mark, Part, Table

__all__ = ["WIDTH", "text"]

WIDTH = 80
LABEL_WIDTH = 24
LAYOUTS = (("  ", LABEL_WIDTH), (" ", LABEL_WIDTH), (" ", 16))
"""Gap between columns and width at which labels are folded."""
ATTRIBUTE_WIDTH = 12
MISSING = "-"
MARKS = {Mark.BEST: "*", Mark.SECOND: "_"}
CHECKS = {True: "✓", False: "✗"}
TITLES = {
    Part.PUBLISHED: "paper",
    Part.MEASURED: "measured",
    Part.DIFFERENCE: "diff",
    Part.CHANGE: "change",
}


def text(table: Table) -> str:
    """Return the table in lines of at most 80 columns.

    A dataset's columns that do not fit stand in a second panel below the first.
    """
    lines = [*textwrap.wrap(table.title, WIDTH), ""]
    for block in table.blocks():
        lines += [*textwrap.wrap(block.title, WIDTH), ""]
        for panel in _panels(table, block):
            lines += [*panel, ""]
    for lead, note in _notes(table):
        lines += _wrapped(lead, note)
    return "\n".join(lines).rstrip() + "\n"


def _panels(table: Table, block: Block) -> Iterator[list[str]]:
    """Yield the block's columns in as few panels as the width allows."""
    remaining, headings = block.columns, table.headings
    while remaining:
        count = len(remaining)
        panel = _panel(table, remaining, headings)
        while count > 1 and panel.width > WIDTH:
            count -= 1
            panel = _panel(table, remaining[:count], headings)
        while 1 < count < len(remaining) and _goes_with(table, remaining[count]):
            count -= 1
            panel = _panel(table, remaining[:count], headings)
        if headings and panel.width > WIDTH:
            yield _panel(table, (), headings).lines()
        else:
            yield panel.lines()
            remaining = remaining[count:]
        headings = ()


def _goes_with(table: Table, position: int) -> bool:
    """Tell whether a column is the one before it on another dataset: they stand in one panel."""
    before, column = table.columns[position - 1], table.columns[position]
    same = (column.metric, column.bucket, column.split)
    return same == (before.metric, before.bucket, before.split)


def _panel(table: Table, columns: Sequence[int], headings: Sequence[Heading]) -> _Panel:
    """Return one panel: the airiest of three layouts that is not too wide."""
    grid = lay_out(table, columns)
    panels = (_laid_out(table, grid, headings, *layout) for layout in LAYOUTS)
    fitting = (panel for panel in panels if panel.width <= WIDTH)
    return next(fitting, None) or _laid_out(table, grid, headings, *LAYOUTS[0])


@dataclass(frozen=True)
class _Panel:
    """A panel before it is printed.

    Attributes:
        header, body: rows of printed cells.
        groups: title of the group that begins at a row of the body.
        left: how many columns are aligned to the left, those in front.
        gap: between columns.
    """

    header: list[list[str]]
    body: list[list[str]]
    groups: dict[int, str]
    left: int
    gap: str

    @cached_property
    def rule(self) -> str:
        """The line below the header."""
        columns = zip(*self.header, *self.body, strict=True)
        return self.gap.join("-" * _width(column) for column in columns)

    @property
    def width(self) -> int:
        """Number of characters."""
        return len(self.rule)

    def lines(self) -> list[str]:
        """Return what is printed."""
        rows = [*self.header, *self.body]
        printed = tabulate(
            rows,
            tablefmt=_plain(self.gap),
            disable_numparse=True,
            preserve_whitespace=True,
            colalign=["left"] * self.left + ["right"] * (len(rows[0]) - self.left),
        )
        lines = [line.rstrip() for line in printed.splitlines()]
        lines.insert(len(self.header), self.rule)
        return _with_groups(lines, len(self.header) + 1, self.groups)


def _laid_out(
    table: Table, grid: Grid, headings: Sequence[Heading], gap: str, label_width: int
) -> _Panel:
    attribute_width = ATTRIBUTE_WIDTH
    if not grid.columns:
        attribute_width = min(attribute_width, (WIDTH - LABEL_WIDTH) // len(headings) - 1)
    titles = [textwrap.wrap(table.row_title, label_width)]
    titles += [textwrap.wrap(heading.text, attribute_width) for heading in headings]
    header = _folded_rows([*titles, *_titles(grid)])
    body: list[list[str]] = []
    groups: dict[int, str] = {}
    pairs = zip(grid.rows, _numbers(grid), strict=True)
    for group, members in groupby(pairs, key=lambda pair: pair[0].group):
        groups[len(body)] = group
        for row, numbers in members:
            described = [_label(row, label_width)]
            described += _attributes(row, attribute_width) if headings else []
            body += _folded_rows([*described, *([number] for number in numbers)])
    return _Panel(header, body, groups, 1 + len(headings), gap)


def _titles(grid: Grid) -> list[list[str]]:
    """Return the titles of printed columns; a second line where a column has several parts."""
    if not grid.has_parts:
        return [[column.column.title] for column in grid.columns]
    return [
        [
            column.column.title if column.first else "",
            column.source or TITLES[column.part],
        ]
        for column in grid.columns
    ]


def _folded_rows(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the printed rows of cells that have several lines each."""
    return [list(row) for row in zip_longest(*cells, fillvalue="")]


def _numbers(grid: Grid) -> list[list[str]]:
    """Return the printed cells of each row, padded so that the digits of a column align."""
    columns = []
    for position in range(len(grid.columns)):
        cells = [row.cells[position] for row in grid.rows]
        suffixes = [_suffix(cell) for cell in cells]
        width = max(map(len, suffixes), default=0)
        columns.append([_core(c) + s.ljust(width) for c, s in zip(cells, suffixes, strict=True)])
    return [[column[i] for column in columns] for i in range(len(grid.rows))]


def _core(cell: GridCell) -> str:
    if cell.missing:
        return MISSING
    return f"{cell.number}±{cell.spread}" if cell.spread else cell.number


def _suffix(cell: GridCell) -> str:
    mark = (MARKS[cell.mark] if cell.mark else "") + cell.sign
    return f"{mark or ' '}{cell.letters}" if cell.letters else mark


def _label(row: GridRow, width: int) -> list[str]:
    label = f"{row.label} ({row.letters})" if row.letters else row.label
    return textwrap.wrap(label, width)


def _attributes(row: GridRow, width: int) -> list[list[str]]:
    attributes = [CHECKS[a] if isinstance(a, bool) else a for a in row.attributes]
    return [textwrap.wrap(a, width) for a in attributes]


def _with_groups(lines: list[str], first: int, groups: dict[int, str]) -> list[str]:
    """Insert the titles of groups above their first rows, which stand from line ``first`` on."""
    for position, title in reversed(groups.items()):
        if title:
            above = [""] if position else []
            lines[first + position : first + position] = [*above, *textwrap.wrap(title, WIDTH)]
    return lines


def _notes(table: Table) -> Iterator[tuple[str, str]]:
    """Yield letter and text of every footnote."""
    parts = {part for i in range(len(table.columns)) for part in table.parts(i)}
    if Part.PUBLISHED in parts:
        yield "", f"paper: {table.source}."
    if Part.DIFFERENCE in parts:
        yield "", "diff: measured minus paper."
    if Part.CHANGE in parts:
        against = f"'{table.baseline}'" if table.baseline else BESIDE
        yield "", f"change: against {against}, {how_changes_are_taken(table)}."
    for note in table.notes:
        yield "", note
    if explained := legend(table, MARKS[Mark.BEST], MARKS[Mark.SECOND]):
        yield "", explained
    for note, letter in table.letters().items():
        yield letter, note


def _wrapped(letter: str, note: str) -> list[str]:
    lead = f"{letter}  " if letter else ""
    return textwrap.wrap(
        note,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines), default=0)


def _plain(gap: str) -> TableFormat:
    """Return tabulate's "plain" format with another gap between columns."""
    row = DataRow("", gap, "")
    return TableFormat(
        lineabove=None,
        linebelowheader=None,
        linebetweenrows=None,
        linebelow=None,
        headerrow=row,
        datarow=row,
        padding=0,
        with_header_hide=None,
    )
