"""Markdown: one pipe table per dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tabulate import tabulate

from harness.report.layout import BESIDE, Layout, PrintedCell, PrintedRow, lay_out
from harness.report.table import Mark, Table

__all__ = ["markdown"]

CHECKS = {True: "✓", False: "✗"}
MARKED = {Mark.BEST: "**{}**", Mark.SECOND: "<u>{}</u>"}


def markdown(table: Table) -> str:
    """Return the table: best bold, second underlined, footnote letters superscript."""
    layout = lay_out(table)
    paragraphs = [f"## {_escape(table.title)}"]
    for block in layout.blocks():
        paragraphs += [f"### {_escape(block.datasets[0].title)}", _block(block)]
    notes = [f"- {note}" for note in _notes(layout)]
    return "\n\n".join([*paragraphs, "\n".join(notes)]).rstrip() + "\n"


def _block(block: Layout) -> str:
    described = [block.table.row_title, *(heading.text for heading in block.table.headings)]
    headers = [*map(_escape, described), *_titles(block)]
    align = ["left"] * len(described) + ["right"] * len(block.columns)
    rows = list(_rows(block, len(headers)))
    return tabulate(
        rows,
        headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align if rows else None,
    )


def _titles(block: Layout) -> list[str]:
    if not block.has_parts:
        return [printed.column.title for printed in block.columns]
    return [f"{printed.column.title} {printed.heading}" for printed in block.columns]


def _rows(block: Layout, width: int) -> Iterator[list[str]]:
    group = ""
    for row in block.rows:
        if row.group != group:
            group = row.group
            yield [f"*{_escape(group)}*" if group else "", *[""] * (width - 1)]
        yield _row(row)


def _row(row: PrintedRow) -> list[str]:
    attributes = [CHECKS[a] if isinstance(a, bool) else _escape(a) for a in row.attributes]
    label = _escape(row.label) + _superscript(row.letters)
    return [label, *attributes, *(_cell(cell) for cell in row.cells)]


def _cell(cell: PrintedCell) -> str:
    if cell.missing:
        return f"-{_superscript(cell.letters)}"
    number = f"{cell.number} ± {cell.spread}" if cell.spread else cell.number
    if cell.mark:
        number = MARKED[cell.mark].format(number)
    return number + _superscript(",".join(filter(None, (cell.sign, cell.letters))))


def _notes(layout: Layout) -> Iterator[str]:
    table = layout.table
    if table.source:
        yield f"Published: {_escape(table.source)}."
    if layout.shows_change:
        against = f"'{_escape(table.baseline)}'" if table.baseline else BESIDE
        yield f"Change: against {against}, {layout.how_changes_are_taken}."
    yield from map(_escape_outside_code, table.notes)
    if explained := layout.legend("**Bold**:", "<u>underlined</u>:"):
        yield explained
    for note, letter in layout.letters.items():
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
