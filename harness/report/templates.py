"""HTML through the templates in ``reports/templates``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness.report.files import shipped_folder
from harness.report.latex import CHECKS
from harness.report.layout import BESIDE, lay_out
from harness.report.table import Table

__all__ = [
    "counted",
    "html",
    "html_environment",
    "html_fragment",
    "html_note",
    "typeset",
]

CONSTANTS = {"BESIDE": BESIDE, "CHECKS": CHECKS}
"""Names that every template knows."""


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


def typeset(text: str) -> Markup:
    """Return a heading as HTML: ``x^a`` and ``L_gc`` get raised and lowered letters."""
    pieces = re.split(r"(?<=\w)([\^_])(\w+)\b", text)
    parts = [escape(pieces[0])]
    for sign, letters, rest in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        element = Markup("<sup>{}</sup>") if sign == "^" else Markup("<sub>{}</sub>")
        parts += [element.format(letters), escape(rest)]
    return Markup().join(parts)


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
    environment.filters["typeset"] = typeset
    return environment
