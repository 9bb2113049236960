"""``harness report``: tables of what the store holds."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.paths import home
from harness.errors import ConfigError, MachineError, StoreError, suggest

if TYPE_CHECKING:
    from harness.store.base import ResultStore

__all__ = ["register", "report"]

MOST_SEEDS = 10_000
"""Longest range of --seeds; a slip of the finger must not fill the memory."""


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("report")(report)


def report(
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="Table to print: a name of --list or a YAML file. Default: all with runs."
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="text, markdown, latex, html, csv or json")
    ] = "text",
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    seeds: Annotated[
        str, typer.Option(help="Average over these seeds alone: 0,1,2 or 0-2", metavar="SEEDS")
    ] = "",
    dataset: Annotated[list[str] | None, typer.Option(help="Show only this dataset.")] = None,
    variant: Annotated[
        str, typer.Option(help="Runs of the suite with --set: the digest `harness run` printed.")
    ] = "",
    list_: Annotated[bool, typer.Option("--list", help="List the tables.")] = False,
    results: Annotated[Path | None, typer.Option("--home", help="Results folder.")] = None,
) -> None:
    """Print tables of results, published figures beside measured ones; all seeds by default."""
    from harness.report import files
    from harness.report.query import Selection, all_tables, named_table
    from harness.report.render import check_format, render_all

    if list_:
        for name in files.available():
            typer.echo(f"{name:<12} {files.load_definition(name).title}")
        return
    check_format(format_)
    store = _open(home(results))
    try:
        selection = Selection(variant, _seeds(seeds), tuple(_names(dataset or [])))
        names = _names(table or [])
        if names:
            tables = [named_table(store, name, selection) for name in names]
        else:
            tables = all_tables(store, selection)
        _tell_variants(store, variant, {files.load_definition(name).suite for name in names})
        variants = {cell.variant for cell in store.cells()}
    finally:
        store.close()
    if variant and variant not in variants:
        raise ConfigError(f"--variant {variant}: no run has it{suggest(variant, variants - {''})}")
    if not tables and variants:
        raise StoreError(f"{home(results)} holds results with --set alone; add --variant NAME")
    if not tables:
        raise StoreError(
            f"{home(results)} holds no results to report; `harness run quickstart` "
            "makes some, `harness report --list` lists the tables"
        )
    rendered = render_all(tables, format_)
    if out is None:
        typer.echo(rendered, nl=False)
    else:
        _write(out, rendered)


def _open(folder: Path) -> ResultStore:
    """Open the database; an empty store stands for one that does not exist yet."""
    from harness.store import DATABASE, open_store
    from harness.store.memory import MemoryStore

    database = folder / DATABASE
    return open_store(database) if database.exists() else MemoryStore()


def _names(given: list[str]) -> list[str]:
    """Return names given one by one or separated by commas."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _seeds(text: str) -> frozenset[int] | None:
    """Read ``0,1,2`` or ``0-2``; None for no restriction."""
    if not text.strip():
        return None
    seeds: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            among = range(int(first), int(last or first) + 1)
        except ValueError:
            raise ConfigError(f"--seeds: '{part}' is not a seed; write 0,1,2 or 0-2") from None
        if not 0 < len(among) <= MOST_SEEDS:
            raise ConfigError(f"--seeds: '{part}' is no range of at most {MOST_SEEDS} seeds")
        seeds.update(among)
    return frozenset(seeds)


def _tell_variants(store: ResultStore, variant: str, suites: set[str]) -> None:
    """Say on stderr which other variants of the suites (of all when empty) the store holds."""
    others = {(c.suite, c.variant) for c in store.cells() if c.variant not in ("", variant)}
    for suite, name in sorted(others):
        if not suites or suite in suites:
            typer.echo(f"not shown: suite {suite} with --set (--variant {name})", err=True)


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from None
