"""Text that all commands print: tables, numbers, wrapped paragraphs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import typer

from harness.errors import Interrupted
from harness.visible import wrap

__all__ = [
    "WIDTH",
    "aligned",
    "confirmed",
    "decimals",
    "duration",
    "folded_table",
    "percent",
    "plural",
    "print_json",
    "readable_size",
    "wrapped",
    "write_lines",
    "write_or_print",
]

WIDTH = 80
"""Columns of what is printed, however wide the terminal is."""

# --- numbers ------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    """Format a fraction in percent with two decimals; "-" for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def decimals(value: Any) -> str:
    """Format a value of a record: six significant digits, lists in brackets, "-" for None."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(decimals, value)) + "]"
    return "-" if value is None else str(value)


def readable_size(size: float) -> str:
    """Format bytes as MiB or GiB."""
    from harness.run.memory import readable_size as readable

    return readable(size)


def duration(seconds: float) -> str:
    """Format seconds as seconds, minutes or hours."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """Format a number with its noun: "1 run", "2 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# --- questions ----------------------------------------------------------------------------


def confirmed(question: str) -> bool:
    """Ask on stderr whether to remove something.

    Raises:
        Interrupted: the input ended, or Ctrl-C was pressed.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise Interrupted("no answer, nothing was removed; --yes does not ask") from None


# --- text ---------------------------------------------------------------------------------


def wrapped(text: str, indent: int = 0, *, first: int = 0, width: int = WIDTH) -> list[str]:
    """Return lines of a text; hyphens, long words and `commands` are not broken.

    Args:
        text: any text.
        indent: blanks before every line but the first.
        first: blanks before the first.
        width: most columns of a line.
    """
    return wrap(text, width, first=" " * first, later=" " * indent)


def aligned(rows: Sequence[Sequence[str]], *, text: int | None = 1) -> list[str]:
    """Return rows in columns two blanks apart.

    Args:
        rows: cells.
        text: number of leading columns aligned to the left, the others to the right; all when None.
    """
    from tabulate import tabulate

    if not rows:
        return []
    columns = len(rows[0])
    left = columns if text is None else text
    align = ["left" if i < left else "right" for i in range(columns)]
    table = tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True)
    return [line.rstrip() for line in table.splitlines()]


def folded_table(
    columns: Mapping[str, Mapping[str, Any]], rows: Sequence[Sequence[str]], width: int = WIDTH
) -> str:
    """Return a table whose long names are folded so that it is at most ``width`` wide.

    Args:
        columns: heading -> options of ``rich.table.Table.add_column``.
        rows: cells.
        width: most columns of a line.
    """
    from rich.table import Table

    from harness.screen import SafeConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, options in columns.items():
        table.add_column(heading, **options)
    for row in rows:
        table.add_row(*row)
    stream = StringIO()
    SafeConsole(file=stream, width=width).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def print_json(values: Any, *, ascii_only: bool = True) -> None:
    """Print plain values as JSON; names as they are without ``ascii_only``."""
    typer.echo(json.dumps(values, indent=2, ensure_ascii=ascii_only))


def write_or_print(content: str | bytes, out: Path | None) -> None:
    """Write a file whole; print the content as it is where no file is given."""
    from harness.store.files import write_whole

    if out is None:
        typer.echo(content, nl=False)
    else:
        write_whole(out, content.encode() if isinstance(content, str) else content)


def write_lines(lines: Iterable[str], out: Path | None) -> None:
    """Write lines to a file, whole, or print each as it comes where no file is given."""
    from harness.store.files import write_chunks

    if out is None:
        for line in lines:
            sys.stdout.write(line)
    else:
        write_chunks(out, (line.encode() for line in lines))
