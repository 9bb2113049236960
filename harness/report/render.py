"""Table -> text, Markdown, LaTeX, HTML, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from harness.errors import ConfigError, suggest
from harness.report.data_formats import as_json, csv_table, json_table
from harness.report.table import Table

__all__ = ["FORMATS", "Format", "check_format", "render", "render_all"]

Format = Literal["text", "markdown", "latex", "html", "csv", "json"]
FORMATS: tuple[str, ...] = get_args(Format)


def check_format(format: str) -> None:  # noqa: A002
    """Refuse an unknown format.

    Raises:
        ConfigError: it is unknown; the message offers the nearest.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format '{format}'{suggest(format, FORMATS)}")


def render(table: Table, format: str = "text") -> str:  # noqa: A002 - the option's name
    """Return one table, ending in a newline.

    Raises:
        ConfigError: unknown format.
    """
    return render_all([table], format)


def render_all(tables: Sequence[Table], format: str = "text") -> str:  # noqa: A002
    """Return several tables as one document.

    One table gives one JSON object, several give a list of them.

    Raises:
        ConfigError: unknown format, or CSV for other than one table.
    """
    check_format(format)
    if format == "html":
        from harness.report.templates import html

        return html(tables)
    if format == "json":
        if len(tables) == 1:
            return json_table(tables[0])
        return json.dumps([as_json(t) for t in tables], ensure_ascii=False, indent=2) + "\n"
    if format == "csv":
        if len(tables) != 1:
            raise ConfigError("a CSV file holds one table; name it with --table")
        return csv_table(tables[0])
    renderer = _renderer(format)
    return "\n".join(renderer(table) for table in tables)


def _renderer(format: str) -> Callable[[Table], str]:  # noqa: A002
    """Return what prints one table; only what is used is imported."""
    if format == "latex":
        from harness.report.templates import latex

        return latex
    if format == "markdown":
        from harness.report.markdown import markdown

        return markdown
    from harness.report.text import text

    return text
