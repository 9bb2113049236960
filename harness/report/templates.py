"""LaTeX and HTML through the templates in ``reports/templates``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby

import jinja2

from harness.report.files import shipped_folder
from harness.report.grid import HOW_CHANGES_ARE_TAKEN, Grid, GridColumn, GridRow, lay_out, legend
from harness.report.table import Part, Table

__all__ = ["html", "latex", "latex_escape"]

FLOAT_COLUMNS = 18
"""Numbers side by side that are still readable across a page."""


def html(tables: Sequence[Table]) -> str:
    """Return one page without outside references, light and dark."""
    pages = [_page(table) for table in tables]
    return _environment("html").get_template("tables.html.j2").render(pages=pages) + "\n"


def latex(table: Table) -> str:
    r"""Return ``table*`` floats for ``\input``; need booktabs, graphicx, amssymb.

    Datasets stand side by side as far as a page is wide; the others follow in further floats.
    """
    pages = [_page(panel) for panel in _floats(table)]
    return _environment("latex").get_template("tables.tex.j2").render(pages=pages) + "\n"


def latex_escape(text: str) -> str:
    """Return text in which LaTeX reads nothing as a command; commands in backticks become code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _latex_words(text)
    return "".join(
        _latex_words(p) if i % 2 == 0 else rf"\texttt{{{_latex_characters(p)}}}"
        for i, p in enumerate(pieces)
    )


def _floats(table: Table) -> list[Table]:
    """Split a table into parts of whole datasets with at most ``FLOAT_COLUMNS`` numbers each."""
    panels: list[list[int]] = []
    used = 0
    for block in table.blocks():
        width = sum(len(table.parts(i)) for i in block.columns)
        if not panels or used + width > FLOAT_COLUMNS:
            panels.append([])
            used = 0
        panels[-1] += block.columns
        used += width
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


LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "[": "{[}",  # at the start of a row it would be the argument of the line break before
    "*": "{*}",  # likewise
    "-": "{-}",  # two in a row would be printed as one long dash, in commands too
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "ω": r"$\omega$",
    "δ": r"$\delta$",
    "λ": r"$\lambda$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "†": r"$\dagger$",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
ACCENTED = frozenset(chr(c) for c in range(0xC0, 0x100)) - set("ÐðÞþ")
"""Letters that LaTeX's default font encoding has."""


def _latex_words(text: str) -> str:
    """Escape text; a quotation mark that opens a word becomes an opening one."""
    return re.sub(r"(^|[\s(])'", r"\1`", _latex_characters(text))


def _latex_characters(text: str) -> str:
    return "".join(LATEX_CHARACTERS.get(c) or _latex_character(c) for c in text)


def _latex_character(character: str) -> str:
    """Return a character that every LaTeX can print, the plain letter or "?" for others."""
    if (character.isascii() and character.isprintable()) or character in ACCENTED:
        return character
    if character.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if plain.isalnum() else "?"


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
class _Page:
    """What the templates see of a table."""

    table: Table
    grid: Grid
    datasets: list[_Span]
    metrics: list[_Span]
    letters: dict[str, str]
    checks: dict[bool, str]
    how_changes_are_taken: str = HOW_CHANGES_ARE_TAKEN

    @property
    def shows_parts(self) -> bool:
        """True when a third header line tells published from measured."""
        return any(column.part is not Part.MEASURED for column in self.grid.columns)

    @property
    def shows_change(self) -> bool:
        return any(column.part is Part.CHANGE for column in self.grid.columns)

    @property
    def n_columns(self) -> int:
        return 1 + len(self.table.headings) + len(self.grid.columns)

    @property
    def label(self) -> str:
        """Name of the table as a LaTeX reference."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.table.name).strip("-")

    def groups(self) -> Iterator[tuple[str, list[GridRow]]]:
        """Yield the titles of groups with their rows."""
        for title, rows in groupby(self.grid.rows, key=lambda row: row.group):
            yield title, list(rows)

    def legend(self, best: str, second: str) -> str:
        """Return the sentence that explains the marks."""
        return legend(best, second)


def _page(table: Table) -> _Page:
    grid = lay_out(table)
    first = 2 + len(table.headings)
    return _Page(
        table=table,
        grid=grid,
        datasets=_spans(grid, first, lambda c: c.column.dataset, lambda c: c.column.dataset_title),
        metrics=_spans(grid, first, lambda c: c.column, lambda c: c.column.title),
        letters=table.letters(),
        checks={True: "✓", False: "✗"},
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
def _environment(kind: str) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(shipped_folder() / "templates")
    if kind == "html":
        return jinja2.Environment(
            loader=loader,
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
    environment = jinja2.Environment(
        loader=loader,
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
