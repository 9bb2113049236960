"""Table -> text, Markdown, LaTeX, HTML, CSV or JSON; figure -> PNG, PDF or SVG."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from harness.errors import ConfigError, StoreError, suggest
from harness.report.data_formats import as_json, csv_table, json_table
from harness.report.figure import Figure
from harness.report.latex import LatexKeywords, LatexOptions, latex, latex_figure
from harness.report.table import Table
from harness.visible import visible

__all__ = [
    "FORMATS",
    "PICTURES",
    "SUFFIXES",
    "Format",
    "check_format",
    "render",
    "render_all",
    "render_picture",
    "render_with",
]

Format = Literal["text", "markdown", "latex", "html", "csv", "json"]
FORMATS: tuple[str, ...] = get_args(Format)
PICTURES = ("png", "pdf", "svg")
"""Formats of figures that are drawn; the others print a figure's data."""
SUFFIXES = {"text": "txt", "markdown": "md", "latex": "tex"}
"""Endings of files whose format has another name; the others are named as their format."""


def check_format(format: str, *, drawn: bool = False) -> None:  # noqa: A002
    """Refuse an unknown format.

    Args:
        format: its name.
        drawn: whether it is for a figure.

    Raises:
        ConfigError: it is unknown (the message offers the nearest), or a picture of a table.
    """
    if format in FORMATS or (drawn and format in PICTURES):
        return
    if format in PICTURES:
        raise ConfigError(f"a table has no format '{format}'; --figure NAME draws a figure")
    formats = (*FORMATS, *PICTURES) if drawn else FORMATS
    raise ConfigError(f"unknown format '{format}'{suggest(format, formats)}")


def render_picture(figure: Figure, format: str) -> bytes:  # noqa: A002
    """Return a figure as a file.

    Args:
        figure: what to draw.
        format: png, pdf or svg.

    Raises:
        StoreError: there is nothing to draw; the message says why.
    """
    _refuse_empty(figure)
    from harness.report.pictures import picture  # matplotlib takes half a second to import

    return picture(figure, format)


def _refuse_empty(figure: Figure) -> None:
    if reason := figure.why_empty:
        raise StoreError(f"figure '{figure.table.name}' has nothing to draw: {reason}")


def render(
    table: Table | Figure,
    format: str = "text",  # noqa: A002 - the option's name
    options: LatexOptions = LatexOptions(),  # noqa: B008 - frozen
) -> str:
    """Return one table, or the data of a figure, ending in a newline; arguments as ``render_all``.

    Raises:
        ConfigError: unknown format.
    """
    return render_all([table], format, options)


def render_with(table: Table | Figure, format: str, options: LatexKeywords) -> str:  # noqa: A002
    """Return one table as ``render``, with the options of LaTeX as keywords.

    Raises:
        ConfigError: an unknown format or option, or options for another format than LaTeX.
        StoreError: LaTeX of a figure that has nothing to draw.
    """
    if options and format != "latex":
        raise ConfigError(f"{', '.join(options)}: options of LaTeX, not of {format}")
    for name in options:
        if name not in LatexKeywords.__annotations__:
            raise ConfigError(
                f"{name}: no option of LaTeX{suggest(name, LatexKeywords.__annotations__)}"
            )
    return render(table, format, LatexOptions(**options))


def render_all(
    contents: Sequence[Table | Figure],
    format: str = "text",  # noqa: A002 - the option's name
    options: LatexOptions = LatexOptions(),  # noqa: B008 - frozen
) -> str:
    """Return tables and figures as one document, in which control characters are visible.

    A figure is its data with the caption of its picture, which HTML has too; in LaTeX it is a
    float that includes the file ``NAME.pdf``. One table gives one JSON object, several give a list
    of them.

    Raises:
        ConfigError: unknown format, or CSV for other than one table.
        StoreError: LaTeX of a figure that has nothing to draw.
    """
    check_format(format)
    document = _document(contents, format, options)
    # A backslash means something else in LaTeX, whose templates escape what names hold.
    return document if format == "latex" else visible(document)


def _document(
    contents: Sequence[Table | Figure],
    format: str,  # noqa: A002
    options: LatexOptions,
) -> str:
    tables = [item.captioned_table if isinstance(item, Figure) else item for item in contents]
    if format == "html":
        from harness.report.templates import html

        return html(tables, _pictures(contents))
    if format == "json":
        if len(tables) == 1:
            return json_table(tables[0])
        return json.dumps([as_json(t) for t in tables], ensure_ascii=False, indent=2) + "\n"
    if format == "csv":
        if len(tables) != 1:
            raise ConfigError("a CSV file holds one table; name it with --table")
        return csv_table(tables[0])
    if format == "latex":
        return "\n".join(_latex(item, options) for item in contents)
    return "\n".join(map(_plain_renderer(format), tables))


def _pictures(contents: Sequence[Table | Figure]) -> dict[str, str]:
    """Return the pictures of the figures that have something to draw, by name."""
    drawn = [item for item in contents if isinstance(item, Figure) and not item.why_empty]
    return {figure.table.name: render_picture(figure, "svg").decode() for figure in drawn}


def _latex(item: Table | Figure, options: LatexOptions) -> str:
    if isinstance(item, Table):
        return latex(item, options)
    _refuse_empty(item)
    return latex_figure(item, options)


def _plain_renderer(format: str) -> Callable[[Table], str]:  # noqa: A002
    """Return the function that prints one table; only the one needed is imported."""
    if format == "markdown":
        from harness.report.markdown import markdown

        return markdown
    from harness.report.text import text

    return text
