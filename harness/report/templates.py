"""LaTeX and HTML through the templates in ``reports/templates``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness.report.figure import Figure
from harness.report.files import shipped_folder
from harness.report.latex_text import latex_escape, preamble_note
from harness.report.layout import BESIDE, Layout, lay_out, reference
from harness.report.table import Table

__all__ = [
    "counted",
    "html",
    "html_environment",
    "html_fragment",
    "html_note",
    "latex",
    "latex_figure",
]

CONSTANTS = {"BESIDE": BESIDE, "CHECKS": {True: "✓", False: "✗"}}
"""Names that every template knows."""
FLOAT_WIDTH = 16
"""Numbers side by side that are still readable across a page; one with its spread counts twice."""
HEADING_WIDTH = 0.6
"""Width of an attribute of the rows, in numbers."""


def html(tables: Sequence[Table], pictures: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return one page without outside references, light and dark.

    Args:
        tables: tables of the page.
        pictures: SVG files that stand above tables, by the table's name.
    """
    svg = {name: picture[picture.find("<svg") :] for name, picture in pictures.items()}
    template = html_environment().get_template("tables.html.j2")
    return template.render(layouts=list(map(lay_out, tables)), pictures=svg) + "\n"


def html_fragment(table: Table) -> str:
    """Return one table with its notes as HTML, without a page or styles, for a notebook."""
    macros: Any = html_environment().get_template("table.html.j2").module
    layout = lay_out(table)
    return f"<p>{escape(table.title)}</p>\n{macros.table(layout)}\n{macros.notes(layout)}"


def latex(table: Table) -> str:
    r"""Return ``table*`` floats for ``\input``; need booktabs, graphicx, amssymb.

    Datasets stand side by side as far as a page is wide; the others follow in further floats.
    """
    template = _latex_environment().get_template("tables.tex.j2")
    return _noted(template.render(layouts=list(map(lay_out, _floats(table)))) + "\n")


def latex_figure(figure: Figure) -> str:
    r"""Return a ``figure`` float for ``\input``; needs graphicx, amssymb and the file ``NAME.pdf``.

    The caption is the title, the meaning of the marks, and the notes of the data.
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
            label=reference(table.name),
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
    layout = lay_out(table)
    room = FLOAT_WIDTH - HEADING_WIDTH * len(table.headings)
    pieces: list[Layout] = []
    for block in layout.blocks():
        pieces += [block] if _width(block) <= room else _by_measure(block)
    panels: list[list[int]] = []
    for piece in pieces:
        if not panels or _width(layout.at({*panels[-1], *piece.positions})) > room:
            panels.append([])
        panels[-1] += piece.positions
    if len(panels) < 2:
        return [table]
    titles = [", ".join(span.title for span in layout.at(panel).datasets) for panel in panels]
    return [
        replace(table.only(panel), name=f"{table.name}-{number}", title=f"{table.title}: {title}")
        for number, (panel, title) in enumerate(zip(panels, titles, strict=True), 1)
    ]


def _by_measure(block: Layout) -> list[Layout]:
    """Return the columns metric by metric; those of several sources stay side by side."""
    groups = groupby(block.columns, key=lambda printed: printed.column.measure)
    return [block.at({printed.position for printed in members}) for _, members in groups]


def _width(layout: Layout) -> int:
    """Return the width of printed columns in numbers."""
    spread = {i for row in layout.rows for i, cell in enumerate(row.cells) if cell.spread}
    return len(layout.columns) + len(spread)


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
    environment.globals.update(CONSTANTS)
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
    environment.globals.update(CONSTANTS)
    environment.filters["tex"] = latex_escape
    return environment
