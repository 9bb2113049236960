"""Markdown: one pipe table per dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tabulate import tabulate

from harness.report.grid import (
    BESIDE,
    Grid,
    GridCell,
    GridRow,
    how_changes_are_taken,
    lay_out,
    legend,
)
from harness.report.table import Block, Mark, Part, Table

__all__ = ["markdown"]

CHECKS = {True: "✓", False: "✗"}
MARKED = {Mark.BEST: "**{}**", Mark.SECOND: "<u>{}</u>"}


def markdown(table: Table) -> str:
    """Return the table: best bold, second underlined, footnote letters superscript."""
    parts = [f"## {_escape(table.title)}"]
    for block in table.blocks():
        parts += [f"### {_escape(block.title)}", _block(table, block)]
    notes = [f"- {note}" for note in _notes(table)]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip() + "\n"


def _block(table: Table, block: Block) -> str:
    grid = lay_out(table, block.columns)
    headers = [_escape(table.row_title), *(_escape(h.text) for h in table.headings), *_titles(grid)]
    align = ["left"] * (1 + len(table.headings)) + ["right"] * len(grid.columns)
    rows = list(_rows(grid, len(headers)))
    return tabulate(
        rows,
        headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align if rows else None,
    )


def _titles(grid: Grid) -> list[str]:
    if not grid.has_parts:
        return [column.column.title for column in grid.columns]
    return [f"{column.column.title} {column.heading}" for column in grid.columns]


def _rows(grid: Grid, width: int) -> Iterator[list[str]]:
    group = ""
    for row in grid.rows:
        if row.group != group:
            group = row.group
            yield [f"*{_escape(group)}*" if group else "", *[""] * (width - 1)]
        yield _row(row)


def _row(row: GridRow) -> list[str]:
    attributes = [CHECKS[a] if isinstance(a, bool) else _escape(a) for a in row.attributes]
    label = _escape(row.label) + _superscript(row.letters)
    return [label, *attributes, *(_cell(cell) for cell in row.cells)]


def _cell(cell: GridCell) -> str:
    if cell.missing:
        return f"-{_superscript(cell.letters)}"
    number = f"{cell.number} ± {cell.spread}" if cell.spread else cell.number
    if cell.mark:
        number = MARKED[cell.mark].format(number)
    return number + _superscript(",".join(filter(None, (cell.sign, cell.letters))))


def _notes(table: Table) -> Iterator[str]:
    if table.source:
        yield f"Published: {_escape(table.source)}."
    if any(Part.CHANGE in table.parts(i) for i in range(len(table.columns))):
        against = f"'{_escape(table.baseline)}'" if table.baseline else BESIDE
        yield f"Change: against {against}, {how_changes_are_taken(table)}."
    yield from map(_escape_outside_code, table.notes)
    if explained := legend(table, "**Bold**:", "<u>underlined</u>:"):
        yield explained
    for note, letter in table.letters().items():
        yield f"{_superscript(letter)} {_escape_outside_code(note)}"


def _superscript(letters: str) -> str:
    return f"<sup>{letters}</sup>" if letters else ""


def _escape(text: str) -> str:
    """Escape what Markdown or a pipe table would read as markup."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)


def _escape_outside_code(text: str) -> str:
    """Escape a note but for its commands, which stand between backticks."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _escape(text)
    return "`".join(_escape(p) if i % 2 == 0 else p for i, p in enumerate(pieces))
