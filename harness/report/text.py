"""Text in at most 80 columns: one block per dataset."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

from harness.report.layout import BESIDE, Layout, PrintedCell, PrintedRow, lay_out
from harness.report.table import Heading, Mark, Quantity, Table
from harness.visible import wrap

__all__ = ["WIDTH", "text"]

WIDTH = 80
LABEL_WIDTH = 24
SPACINGS = (("  ", LABEL_WIDTH), (" ", LABEL_WIDTH), (" ", 16))
"""Gap between columns and width at which labels are folded, the airiest first."""
ATTRIBUTE_WIDTH = 12
MISSING = "-"
MARKS = {Mark.BEST: "*", Mark.SECOND: "_"}
CHECKS = {True: "✓", False: "✗"}
TITLES = {
    Quantity.PUBLISHED: "paper",
    Quantity.MEASURED: "measured",
    Quantity.DIFFERENCE: "diff",
    Quantity.CHANGE: "change",
}


def text(table: Table) -> str:
    """Return the table in lines of at most 80 columns.

    A dataset's columns that do not fit stand in a second panel below the first.
    """
    layout = lay_out(table)
    lines = [*textwrap.wrap(table.title, WIDTH), ""]
    for block in layout.blocks():
        lines += [*textwrap.wrap(block.datasets[0].title, WIDTH), ""]
        for panel in _panels(block):
            lines += [*panel, ""]
    for letter, note in _notes(layout):
        lines += _wrapped(letter, note)
    return "\n".join(lines).rstrip() + "\n"


def _panels(block: Layout) -> Iterator[list[str]]:
    """Yield the lines of a block's columns in as few panels as the width allows."""
    remaining, headings = block.positions, block.table.headings
    while remaining:
        count = len(remaining)
        panel = _panel(block, remaining, headings)
        while count > 1 and not _fits(panel):
            count -= 1
            panel = _panel(block, remaining[:count], headings)
        while 1 < count < len(remaining) and _continues(block, remaining[count]):
            count -= 1
            panel = _panel(block, remaining[:count], headings)
        if headings and not _fits(panel):
            yield _panel(block, (), headings)
        else:
            yield panel
            remaining = remaining[count:]
        headings = ()


def _continues(block: Layout, position: int) -> bool:
    """Tell whether a column shows the metric of the one before on another dataset."""
    before, column = block.table.columns[position - 1], block.table.columns[position]
    measure = (column.metric, column.bucket, column.split)
    return measure == (before.metric, before.bucket, before.split)


def _panel(block: Layout, positions: Sequence[int], headings: Sequence[Heading]) -> list[str]:
    """Return the lines of one panel, in the airiest spacing that is not too wide."""
    layout = block.at(positions)
    panels = (_lines(layout, headings, *spacing) for spacing in SPACINGS)
    return next(filter(_fits, panels), None) or _lines(layout, headings, *SPACINGS[0])


def _fits(lines: Sequence[str]) -> bool:
    return max(map(len, lines)) <= WIDTH


def _lines(layout: Layout, headings: Sequence[Heading], gap: str, label_width: int) -> list[str]:
    """Return the lines of a panel: header, rule, and rows below the titles of their groups."""
    attribute_width = ATTRIBUTE_WIDTH
    if not layout.columns:
        attribute_width = min(attribute_width, (WIDTH - LABEL_WIDTH) // len(headings) - 1)
    titles = [textwrap.wrap(layout.table.row_title, label_width)]
    titles += [textwrap.wrap(heading.text, attribute_width) for heading in headings]
    header = _folded_rows([*titles, *_titles(layout)])
    body: list[list[str]] = []
    groups: dict[int, str] = {}
    pairs = zip(layout.rows, _numbers(layout), strict=True)
    for group, members in groupby(pairs, key=lambda pair: pair[0].group):
        groups[len(body)] = group
        for row, numbers in members:
            described = [_label(row, label_width)]
            described += _attributes(row, attribute_width) if headings else []
            body += _folded_rows([*described, *([number] for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*header, *body, strict=True)]
    n_left = 1 + len(headings)
    lines = [_joined(row, widths, n_left, gap) for row in header]
    lines.append(gap.join("-" * width for width in widths))
    for position, cells in enumerate(body):
        if title := groups.get(position):
            lines += [*([""] if position else []), *textwrap.wrap(title, WIDTH)]
        lines.append(_joined(cells, widths, n_left, gap))
    return lines


def _joined(row: Sequence[str], widths: Sequence[int], n_left: int, gap: str) -> str:
    """Return the line of a row whose first ``n_left`` cells are aligned to the left."""
    cells = zip(row, widths, strict=True)
    padded = (c.ljust(w) if i < n_left else c.rjust(w) for i, (c, w) in enumerate(cells))
    return gap.join(padded).rstrip()


def _titles(layout: Layout) -> list[list[str]]:
    """Return the titles of printed columns; a second line where a measure has several parts."""
    if not layout.has_parts:
        return [[printed.column.title] for printed in layout.columns]
    return [
        [printed.column.title if printed.first else "", printed.source or TITLES[printed.quantity]]
        for printed in layout.columns
    ]


def _folded_rows(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the printed rows of cells that have several lines each."""
    return [list(row) for row in zip_longest(*cells, fillvalue="")]


def _numbers(layout: Layout) -> list[list[str]]:
    """Return the printed cells of each row, padded so that the digits of a column align."""
    columns = []
    for position in range(len(layout.columns)):
        cells = [row.cells[position] for row in layout.rows]
        suffixes = [_suffix(cell) for cell in cells]
        width = max(map(len, suffixes), default=0)
        columns.append([_core(c) + s.ljust(width) for c, s in zip(cells, suffixes, strict=True)])
    return [[column[i] for column in columns] for i in range(len(layout.rows))]


def _core(cell: PrintedCell) -> str:
    if cell.missing:
        return MISSING
    return f"{cell.number}±{cell.spread}" if cell.spread else cell.number


def _suffix(cell: PrintedCell) -> str:
    mark = (MARKS[cell.mark] if cell.mark else "") + cell.sign
    return f"{mark or ' '}{cell.letters}" if cell.letters else mark


def _label(row: PrintedRow, width: int) -> list[str]:
    label = f"{row.label} ({row.letters})" if row.letters else row.label
    return textwrap.wrap(label, width)


def _attributes(row: PrintedRow, width: int) -> list[list[str]]:
    attributes = [CHECKS[a] if isinstance(a, bool) else a for a in row.attributes]
    return [textwrap.wrap(a, width) for a in attributes]


def _notes(layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield letter and text of every footnote."""
    table, quantities = layout.table, layout.quantities
    if Quantity.PUBLISHED in quantities:
        yield "", f"paper: {table.source}."
    if Quantity.DIFFERENCE in quantities:
        yield "", "diff: measured minus paper."
    if Quantity.CHANGE in quantities:
        against = f"'{table.baseline}'" if table.baseline else BESIDE
        yield "", f"change: against {against}, {layout.how_changes_are_taken}."
    for note in table.notes:
        yield "", note
    if explained := layout.legend(MARKS[Mark.BEST], MARKS[Mark.SECOND]):
        yield "", explained
    for note, letter in layout.letters.items():
        yield letter, note


def _wrapped(letter: str, note: str) -> list[str]:
    lead = f"{letter}  " if letter else ""
    return wrap(note, WIDTH, first=lead, later=" " * len(lead))
