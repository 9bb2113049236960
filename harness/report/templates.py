"""LaTeX and HTML through the templates in ``reports/templates``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from types import MappingProxyType

import jinja2
from markupsafe import Markup

from harness.report.figure import Figure
from harness.report.files import shipped_folder
from harness.report.layout import BESIDE, Layout, lay_out, reference
from harness.report.table import Table

__all__ = [
    "counted",
    "html",
    "html_environment",
    "html_note",
    "latex",
    "latex_escape",
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
        tables: what it shows.
        pictures: SVG files that stand above tables, by the table's name.
    """
    svg = {name: picture[picture.find("<svg") :] for name, picture in pictures.items()}
    template = html_environment().get_template("tables.html.j2")
    return template.render(layouts=list(map(lay_out, tables)), pictures=svg) + "\n"


def latex(table: Table) -> str:
    r"""Return ``table*`` floats for ``\input``; need booktabs, graphicx, amssymb.

    Datasets stand side by side as far as a page is wide; the others follow in further floats.
    """
    template = _latex_environment().get_template("tables.tex.j2")
    return template.render(layouts=list(map(lay_out, _floats(table)))) + "\n"


def latex_figure(figure: Figure) -> str:
    r"""Return a ``figure`` float for ``\input``; needs graphicx, amssymb and the file ``NAME.pdf``.

    The caption is the title, what the marks mean, and the notes of the data.
    """
    table = figure.table
    source = [f"Published: {table.source}."] if table.source else []
    return (
        _latex_environment()
        .get_template("figure.tex.j2")
        .render(
            picture=f"{table.name}.pdf",
            wide=figure.wide,
            sentences=[f"{table.title}.", figure.legend, *source, *table.notes],
            label=reference(table.name),
        )
        + "\n"
    )


def latex_escape(text: str) -> str:
    """Return text in which LaTeX reads nothing as a command; commands in backticks become code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _latex_words(text)
    return "".join(
        _latex_words(p) if i % 2 == 0 else rf"\texttt{{{_latex_characters(p)}}}"
        for i, p in enumerate(pieces)
    )


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
    "‡": r"$\ddagger$",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
ACCENTED = frozenset(chr(c) for c in range(0xC0, 0x100)) - set("ÐðÞþ")
"""Letters that LaTeX's default font encoding has."""


def _latex_words(text: str) -> str:
    """Escape text; a quotation mark that opens a word becomes an opening one."""
    return re.sub(r"(^|[\s(])'", r"\1`", _latex_characters(text))


def _latex_characters(text: str) -> str:
    # Hyphens in a row would be printed as one long dash, in commands too.
    parts = re.split(r"(-{2,})", text)
    return "".join("{-}" * len(p) if p.startswith("--") else _each(p) for p in parts)


def _each(text: str) -> str:
    return "".join(LATEX_CHARACTERS.get(c) or _latex_character(c) for c in text)


def _latex_character(character: str) -> str:
    """Return a character that every LaTeX can print, the plain letter or "?" for others."""
    if (character.isascii() and character.isprintable()) or character in ACCENTED:
        return character
    if character.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if plain.isalnum() else "?"


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
