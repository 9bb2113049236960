"""LaTeX and HTML through the templates in ``reports/templates``."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from types import MappingProxyType

import jinja2
from markupsafe import Markup

from harness.report.complexity import Complexity
from harness.report.figure import Figure
from harness.report.files import shipped_folder
from harness.report.grid import (
    BESIDE,
    Grid,
    GridColumn,
    GridRow,
    how_changes_are_taken,
    lay_out,
    legend,
)
from harness.report.latex_text import latex_escape, preamble_note
from harness.report.robustness import Robustness
from harness.report.table import Part, Table

__all__ = [
    "TableView",
    "counted",
    "html",
    "html_environment",
    "html_note",
    "latex",
    "latex_figure",
    "table_view",
]

FLOAT_WIDTH = 16
"""Numbers side by side that are still readable across a page; one with its spread counts twice."""
HEADING_WIDTH = 0.6
"""Width of an attribute of the rows, in numbers."""


def html(tables: Sequence[Table], pictures: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return one page without outside references, light and dark.

    Args:
        tables: what it shows.
        pictures: SVG files that stand above tables, by the table's name.
    """
    pages = [table_view(table, picture=pictures.get(table.name, "")) for table in tables]
    return html_environment().get_template("tables.html.j2").render(pages=pages) + "\n"


def latex(table: Table) -> str:
    r"""Return ``table*`` floats for ``\input``; need booktabs, graphicx, amssymb.

    Datasets stand side by side as far as a page is wide; the others follow in further floats.
    """
    pages = [table_view(panel) for panel in _floats(table)]
    return _noted(_latex_environment().get_template("tables.tex.j2").render(pages=pages) + "\n")


def latex_figure(figure: Figure | Complexity | Robustness) -> str:
    r"""Return a ``figure`` float for ``\input``; needs graphicx, amssymb and the file ``NAME.pdf``.

    The caption is the title, what the marks mean, and the notes of the data.
    """
    table = figure.table
    source = [f"Published: {table.source}."] if table.source else []
    rendered = (
        _latex_environment()
        .get_template("figure.tex.j2")
        .render(
            picture=f"{table.name}.pdf",
            wide=figure.wide,
            sentences=[f"{table.title}.", figure.legend, *source, *table.notes],
            label=_reference(table.name),
        )
    )
    return _noted(f"{rendered}\n")


def _noted(source: str) -> str:
    """Return a LaTeX source, below its first comment the note on characters that it may need."""
    first, rest = source.split("\n", 1)
    return f"{first}\n{preamble_note(rest)}{rest}"


def counted(n: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def html_note(text: str, failed: Mapping[str, str] = MappingProxyType({})) -> Markup:
    """Return a note as HTML: commands in backticks become code, runs that failed become links.

    Args:
        text: the note.
        failed: id of the element by id of the run.
    """
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _with_links(text, failed)
    return Markup().join(
        _with_links(p, failed) if i % 2 == 0 else Markup("<code>{}</code>").format(p)
        for i, p in enumerate(pieces)
    )


def _with_links(text: str, failed: Mapping[str, str]) -> Markup:
    words = re.split(r"([A-Za-z0-9_-]+)", text)
    return Markup().join(
        Markup('<a href="#{}">{}</a>').format(failed[word], word) if word in failed else word
        for word in words
    )


def _floats(table: Table) -> list[Table]:
    """Split a table into parts of whole datasets, or of a wide dataset's metrics, that fit."""
    room = FLOAT_WIDTH - HEADING_WIDTH * len(table.headings)
    widths = [_width(table, column) for column in range(len(table.columns))]
    pieces: list[tuple[int, ...]] = []
    for block in table.blocks():
        fits = sum(widths[i] for i in block.columns) <= room
        pieces += [block.columns] if fits else _by_measure(table, block.columns)
    panels: list[list[int]] = []
    for piece in pieces:
        if not panels or sum(widths[i] for i in (*panels[-1], *piece)) > room:
            panels.append([])
        panels[-1] += piece
    if len(panels) < 2:
        return [table]
    parts = [table.only(columns) for columns in panels]
    return [
        replace(
            part,
            name=f"{table.name}-{number}",
            title=f"{table.title}: {', '.join(block.title for block in part.blocks())}",
        )
        for number, part in enumerate(parts, 1)
    ]


def _by_measure(table: Table, columns: Sequence[int]) -> list[tuple[int, ...]]:
    """Return columns metric by metric; those of several sources stay side by side."""
    groups = groupby(columns, key=lambda i: table.columns[i].measure)
    return [tuple(members) for _, members in groups]


def _width(table: Table, column: int) -> int:
    """Return the width of a column in numbers."""
    cells = [row.cells[column] for row in table.rows]
    spread = {
        Part.MEASURED: any(cell.sd for cell in cells),
        Part.CHANGE: any(cell.change_half for cell in cells),
    }
    return sum(2 if spread.get(part) else 1 for part in table.parts(column))


@dataclass(frozen=True)
class _Span:
    """A header cell over several printed columns; ``start`` and ``end`` count from 1."""

    title: str
    start: int
    end: int

    @property
    def width(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True)
class TableView:
    """What the templates see of a table."""

    table: Table
    grid: Grid
    datasets: list[_Span]
    metrics: list[_Span]
    letters: dict[str, str]
    checks: dict[bool, str]
    picture: str = ""
    """SVG element above the table."""
    beside: str = BESIDE

    @property
    def shows_parts(self) -> bool:
        """True when a third header line tells published from measured, or sources apart."""
        return self.grid.has_parts

    @property
    def shows_change(self) -> bool:
        """True when there is a column of changes against the baseline."""
        return any(column.part is Part.CHANGE for column in self.grid.columns)

    @property
    def how_changes_are_taken(self) -> str:
        """How changes and their intervals are computed."""
        return how_changes_are_taken(self.table)

    @property
    def n_columns(self) -> int:
        """Printed columns, labels and attributes included."""
        return 1 + len(self.table.headings) + len(self.grid.columns)

    @property
    def label(self) -> str:
        """Name of the table as a LaTeX reference."""
        return _reference(self.table.name)

    def groups(self) -> Iterator[tuple[str, list[GridRow]]]:
        """Yield the titles of groups with their rows."""
        for title, rows in groupby(self.grid.rows, key=lambda row: row.group):
            yield title, list(rows)

    def legend(self, best: str, second: str) -> str:
        """Return the sentence that explains the marks; "" when there are none."""
        return legend(self.table, best, second)


def _reference(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def table_view(
    table: Table, columns: Sequence[int] | None = None, *, picture: str = ""
) -> TableView:
    """Return a table as the templates want it.

    Args:
        table: the table.
        columns: positions of the columns to print, all when None; footnotes keep their letters.
        picture: SVG file that stands above it.
    """
    grid = lay_out(table, columns)
    first = 2 + len(table.headings)
    return TableView(
        table=table,
        grid=grid,
        datasets=_spans(
            grid, first, lambda c: c.column.dataset_title, lambda c: c.column.dataset_title
        ),
        metrics=_spans(grid, first, lambda c: c.column.measure, lambda c: c.column.title),
        letters=table.letters(),
        checks={True: "✓", False: "✗"},
        picture=picture[picture.find("<svg") :] if picture else "",
    )


def _spans(
    grid: Grid,
    first: int,
    key: Callable[[GridColumn], Hashable],
    title: Callable[[GridColumn], str],
) -> list[_Span]:
    """Return the header cells over equal neighbours; the first printed number is ``first``."""
    spans = []
    for _, members in groupby(enumerate(grid.columns, first), key=lambda pair: key(pair[1])):
        columns = list(members)
        spans.append(_Span(title(columns[0][1]), columns[0][0], columns[-1][0]))
    return spans


@cache
def html_environment() -> jinja2.Environment:
    """Return the environment of the HTML templates; every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder() / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["note"] = html_note
    environment.filters["counted"] = counted
    return environment


@cache
def _latex_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder() / "templates"),
        autoescape=False,  # noqa: S701 - LaTeX; texts pass through the filter below
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters["tex"] = latex_escape
    return environment
