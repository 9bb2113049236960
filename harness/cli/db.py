"""``harness db``: look after the result database."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.comparing import prepare
from harness.cli.options import AsJson, Home
from harness.cli.paths import home
from harness.errors import ConfigError, StoreError, suggest

if TYPE_CHECKING:
    from harness.store.archive import Imported
    from harness.store.base import ResultStore
    from harness.store.benchmarks import BenchmarkRecord
    from harness.store.records import RunRecord
    from harness.store.sql import SqlStore

app = typer.Typer(no_args_is_help=True)


@contextlib.contextmanager
def opened(
    results: Path | None, *, write: bool = False, create: bool = False
) -> Iterator[SqlStore]:
    """Open the result database for one command; to read it unless something else is said."""
    from harness.store import open_home

    store = open_home(home(results), create=create, write=write)
    with contextlib.closing(store):
        yield store


@app.command()
def upgrade(
    database: Annotated[
        str | None,
        typer.Argument(help="A file or an address; the store of the results folder if not given."),
    ] = None,
    results: Home = None,
) -> None:
    """Bring a database that an older harness wrote to the current schema; all of it or nothing."""
    from harness.store import store_address
    from harness.store.sql import database_of, upgrade_database

    address = database or store_address(home(results))
    before, after = upgrade_database(address)
    change = f"{before} -> {after}" if before != after else f"{after}, nothing to do"
    typer.echo(f"{database_of(address).name}: schema version {change}", err=True)


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of exported records, or one file of it (SUITE.jsonl.gz; RUN.json of an "
            "earlier version)."
        ),
    ],
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Add exported records, the suites they belong to and their ranks; never replaces a result.

    Nothing is added when a record or its ranks are damaged (exit code 4).
    """
    from harness.store.archive import import_records

    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    with opened(results, create=True) as store:
        taken = import_records(store, source, runs=home(results) / "runs")
        prepare(store, home(results))
        _tell(store, taken, str(source), as_json)
    for suite, count in sorted(Counter(cell.suite for cell in taken.absent).items()):
        runs = f"suite {suite}: {count} {'runs of it are' if count > 1 else 'run of it is'}"
        if source.is_dir():
            typer.echo(f"{runs} in no file of {source}: that file is missing there", err=True)
        else:
            typer.echo(
                f"{runs} in another file; `harness db import {source.parent}` takes over all of "
                "them",
                err=True,
            )


@app.command()
def merge(
    other: Annotated[str, typer.Argument(help="Another result database: a file or an address.")],
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Add the records and suites of another database; never replaces a result.

    Nothing is added when a record cannot be read or cannot be true (exit code 4).
    """
    from harness.store import open_store
    from harness.store.archive import merge as merge_stores

    with (
        contextlib.closing(open_store(other, create=False, write=False)) as source,
        opened(results, create=True) as store,
    ):
        taken = merge_stores(store, source)
        prepare(store, home(results))
        _tell(store, taken, source.database.name, as_json)


@app.command()
def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Remove damaged rows that are no run's: places in suites, measurements.",
        ),
    ] = False,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check the database, every record in it, and that its metrics follow from its ranks.

    Exit code 4 if something is wrong.
    """
    from harness.store.archive import audit
    from harness.store.archive.rank_files import run_files
    from harness.store.files import RANKS, run_ids, unreadable_records
    from harness.store.reading import REPAIR

    runs = home(results) / "runs"
    unreadable = unreadable_records(runs, run_ids(runs))
    with opened(results, write=repair) as store:
        for removed in store.repair() if repair else ():
            typer.echo(f"removed: {removed.removesuffix(f'; {REPAIR}')}", err=True)
        ids, finished = store.ids(), store.finished_ids()
        with _progress(len(ids)) as step:

            def look(record: RunRecord) -> list[str]:
                step()
                if record.run_id in unreadable:
                    return audit.problems(record)
                return audit.problems(record, run_files(runs / record.run_id))

            problems = [*store.check(look), *unreadable.values()]
    without = sum(not (runs / run_id / RANKS).is_file() for run_id in finished)
    if as_json:
        found = {"runs": len(ids), "without_ranks": without, "problems": list(problems)}
        typer.echo(json.dumps(found, indent=2))
    else:
        for problem in problems:
            typer.echo(problem)
    if without:
        typer.echo(f"{without} of {len(finished)} finished runs have no ranks here", err=True)
    if problems:
        raise StoreError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)}; `harness runs rm RUN` forgets a "
            "run, then its suite or `harness db import DIR` brings it back"
        )
    typer.echo(f"{len(ids)} runs, no problems", err=True)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show on a terminal how many of the runs were looked at."""
    from rich.progress import Progress

    from harness.screen import SafeConsole

    console = SafeConsole(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=total)
        yield lambda: bar.advance(task)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder that gets SUITE.jsonl.gz and SUITE.ranks.npz.")],
    run: Annotated[list[str] | None, typer.Option(help="This run (repeatable).")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="This suite's runs or stages.")] = None,
    results: Home = None,
) -> None:
    """Write records and ranks as files that can be committed; all but failed runs by default."""
    from harness.store.archive import export as write
    from harness.store.base import resolve_id

    with opened(results) as store:
        tell_damaged(store)
        ids = [resolve_id(store, text) for text in run or []]
        benchmarks: list[BenchmarkRecord] = []
        for name in suite or []:
            benchmarks += store.benchmarks(name)[-1:]  # the newest is what reports show
            ids += [] if benchmarks and not store.cells(name) else _finished(store, name)
        if not run and not suite:
            ids = [run_id for run_id, status in store.statuses().items() if status != "failed"]
            benchmarks = list(store.benchmarks())
        written = write(
            store,
            ids,
            out,
            runs=home(results) / "runs",
            benchmarks=benchmarks,
            suites=set(suite) if suite and not run else None,
        )
    for path in written:
        typer.echo(path)
    typer.echo(f"{len(set(ids)) + len(benchmarks)} records in {out}", err=True)


def _finished(store: ResultStore, suite: str) -> list[str]:
    """Return the finished runs of a suite as its file has it; say how many are missing."""
    cells = store.cells(suite)
    if not cells:
        known = {cell.suite for cell in store.cells()}
        raise ConfigError(f"no runs of a suite '{suite}'{suggest(suite, known)}")
    finished = {run_id for run_id, status in store.statuses().items() if status != "failed"}
    missing = {cell.run_id for cell in cells if cell.run_id} - finished
    if missing:
        typer.echo(f"suite {suite}: {len(missing)} runs are not finished, left out", err=True)
    return [cell.run_id for cell in cells if cell.run_id in finished]


def _tell(store: ResultStore, taken: Imported, source: str, as_json: bool) -> None:
    """Say what was taken over, and which places in a suite stayed as they were."""
    held = {cell.place: cell.run_id for cell in store.cells()}
    for cell in taken.refused:
        typer.echo(
            f"suite {cell.suite}, {cell.label} on {cell.dataset}, seed {cell.seed}: "
            f"stays run {held[cell.place]}, not {cell.run_id}",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps({"added": list(taken.added), "kept": taken.kept}, indent=2))
    typer.echo(f"{source}: {_plural(taken.added)} added, {taken.kept} known already", err=True)


def tell_damaged(store: ResultStore) -> None:
    """Say on stderr which places of suites and measurements are left out."""
    for problem in store.damaged():
        typer.echo(f"left out: {problem}", err=True)


def _plural(items: Sequence[object]) -> str:
    return f"{len(items)} record{'' if len(items) == 1 else 's'}"
