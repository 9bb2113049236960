"""``harness db``: look after the result database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json
from harness.cli.options import AsJson, Home
from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.store.archive import Imported

app = typer.Typer(no_args_is_help=True)


@app.command()
def upgrade(
    database: Annotated[
        str | None,
        typer.Argument(
            help="File or address of a database. Default: the store of the results folder."
        ),
    ] = None,
    results: Home = None,
) -> None:
    """Upgrade a database of an earlier version to the current schema, all of it or nothing."""
    from harness.run.database import upgrade_results

    name, before, after = upgrade_results(database, results)
    change = f"{before} -> {after}" if before != after else f"{after}, nothing to do"
    typer.echo(f"{name}: schema version {change}", err=True)


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of exported records, or one of its files (SUITE.jsonl.gz; RUN.json of an "
            "earlier version)."
        ),
    ],
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Add exported records, the suites they belong to and their ranks; never replaces a result.

    Nothing is added if a record or its ranks are damaged (exit code 4).
    """
    from harness.cli.progress import show_events
    from harness.run.database import import_results

    with show_events() as on_event:
        imported = import_results(source, results, on_event)
    _print_added(imported, as_json)


@app.command()
def merge(
    other: Annotated[str, typer.Argument(help="Another result database: a file or an address.")],
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Add the records and suites of another database; never replaces a result.

    Nothing is added if a record is unreadable or inconsistent (exit code 4).
    """
    from harness.cli.progress import show_events
    from harness.run.database import merge_results

    with show_events() as on_event:
        imported = merge_results(other, results, on_event)
    _print_added(imported, as_json)


def _print_added(imported: Imported, as_json: bool) -> None:
    if as_json:
        print_json({"added": list(imported.added), "kept": imported.already_stored})


@app.command()
def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Remove damaged rows that belong to no run: cells of suites, measurements.",
        ),
    ] = False,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check the database, every record, and that the metrics follow from the ranks.

    Exit code 4 if something is wrong.
    """
    from harness.cli.progress import show_events
    from harness.run.database import check_results

    with show_events() as on_event:
        report = check_results(results, repair=repair, on_event=on_event)
    problems, without_ranks = report.problems, report.without_ranks
    if as_json:
        print_json({"runs": report.runs, "without_ranks": without_ranks, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
    if without_ranks:
        typer.echo(
            f"{without_ranks} of {report.finished} finished runs have no ranks on this machine",
            err=True,
        )
    if problems:
        raise StoreError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)}; `harness runs rm RUN` forgets a "
            "run, then its suite or `harness db import DIR` brings it back"
        )
    typer.echo(f"{report.runs} runs, no problems", err=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder for SUITE.jsonl.gz and SUITE.ranks.npz.")],
    run: Annotated[
        list[str] | None, typer.Option(help="Export only this run (repeatable).")
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="Export only this suite (repeatable).")
    ] = None,
    results: Home = None,
) -> None:
    """Write records and ranks as files that can be committed; all but failed runs by default."""
    from harness.cli.progress import show_events
    from harness.run.database import export_results

    with show_events() as on_event:
        exported = export_results(
            out, results, runs=run or (), suites=suite or (), on_event=on_event
        )
    for path in exported.files:
        typer.echo(path)
    typer.echo(f"{exported.records} records in {out}", err=True)
