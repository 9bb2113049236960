"""The result database as a whole: import, merge, export, check, upgrade."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.listing import one_or_more
from harness.environment import results_folder
from harness.errors import ConfigError, StoreError, suggest
from harness.events import Message, OnEvent, Step, ignore
from harness.plan.suite import suite_argument
from harness.report.stored import prepare_tables, report_damaged
from harness.run.runs import opened
from harness.store import open_store, store_address
from harness.store.archive import Imported, audit, export, import_records, merge
from harness.store.archive.rank_files import run_files
from harness.store.base import ResultStore, resolve_id
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import RANKS, run_ids, unreadable_records
from harness.store.reading import REPAIR
from harness.store.records import Cell, RunRecord
from harness.store.sql import database_of, upgrade_database

__all__ = [
    "CheckReport",
    "Exported",
    "check_results",
    "export_results",
    "import_results",
    "merge_results",
    "upgrade_results",
]


@dataclass(frozen=True)
class CheckReport:
    """Result of ``check_results``.

    Attributes:
        runs: number of records.
        finished: number of finished runs.
        without_ranks: number of finished runs whose ranks are not here.
        problems: what is wrong, a line each.
    """

    runs: int
    finished: int
    without_ranks: int
    problems: list[str]


@dataclass(frozen=True)
class Exported:
    """Result of ``export_results``.

    Attributes:
        files: files that were written.
        records: number of records and measurements in them.
    """

    files: Sequence[Path]
    records: int


def upgrade_results(
    database: str | None = None, home: Path | str | None = None
) -> tuple[str, str, str]:
    """Bring a database of an older version of the harness to the current schema.

    Args:
        database: a file or an address; the store of the results folder when None.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.

    Returns:
        The name of the database, and its schema version before and after.
    """
    address = database or store_address(results_folder(home))
    return database_of(address).name, *upgrade_database(address)


def import_results(
    source: Path, home: Path | str | None = None, on_event: OnEvent = ignore
) -> Imported:
    """Add exported records, their suites and ranks; never replaces a result.

    Args:
        source: folder of exported records, or one file of it.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        on_event: receives messages on cells that stay as they are and on missing files.

    Raises:
        ConfigError: there is no such file or folder.
        StoreError: a record or its ranks are damaged; nothing is added then.
    """
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    folder = results_folder(home)
    with opened(folder, create=True) as store:
        imported = import_records(store, source, runs=folder / "runs")
        _added(store, folder, imported, str(source), on_event)
    for suite, count in sorted(Counter(cell.suite for cell in imported.absent).items()):
        if source.is_dir():
            runs = f"{count} runs" if count > 1 else "1 run"
            text = f"suite {suite}: {source} has no record of {runs}, whose cells stay empty"
        else:
            runs = f"{count} runs of it are" if count > 1 else "1 run of it is"
            text = (
                f"suite {suite}: {runs} in another file; `harness db import {source.parent}` "
                "takes over all of them"
            )
        on_event(Message(text))
    return imported


def merge_results(
    other: str, home: Path | str | None = None, on_event: OnEvent = ignore
) -> Imported:
    """Add the records and suites of another database; never replaces a result.

    Args:
        other: the other database, a file or an address.
        home, on_event: as for ``import_results``.

    Raises:
        StoreError: a record cannot be read or cannot be true; nothing is added then.
    """
    folder = results_folder(home)
    with (
        contextlib.closing(open_store(other, create=False, write=False)) as source,
        opened(folder, create=True) as store,
    ):
        try:
            imported = merge(store, source)
        except StoreError as error:
            raise StoreError(f"{source.database.name}: {error}") from error
        _added(store, folder, imported, source.database.name, on_event)
    return imported


def _added(
    store: ResultStore, home: Path, imported: Imported, source: str, on_event: OnEvent
) -> None:
    """Compare the rows of the new tables; report what was added and which cells stay."""
    prepare_tables(store, home, on_event=on_event)
    run_at = {cell.place: cell.run_id for cell in store.cells()}
    for cell in imported.refused:
        on_event(
            Message(
                f"suite {cell.suite}, {cell.label} on {cell.dataset}, seed {cell.seed}: "
                f"stays run {run_at[cell.place]}, not {cell.run_id}"
            )
        )
    count = len(imported.added)
    records = f"{count} record{'' if count == 1 else 's'}"
    on_event(Message(f"{source}: {records} added, {imported.already_stored} known already"))


def check_results(
    home: Path | str | None = None, *, repair: bool = False, on_event: OnEvent = ignore
) -> CheckReport:
    """Check the database, every record in it and its cells, and that metrics follow from ranks.

    Args:
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        repair: remove damaged cells and measurements.
        on_event: receives a step per run, and what was removed.
    """
    runs = results_folder(home) / "runs"
    unreadable = unreadable_records(runs, run_ids(runs))
    with opened(home, write=repair) as store:
        for removed in store.repair() if repair else ():
            on_event(Message(f"removed: {removed.removesuffix(f'; {REPAIR}')}"))
        statuses = store.statuses()
        checked = 0
        cells_by_run: dict[str, list[Cell]] = {}
        for cell in store.cells():
            cells_by_run.setdefault(cell.run_id, []).append(cell)

        def check(record: RunRecord) -> list[str]:
            nonlocal checked
            checked += 1
            on_event(Step("runs", checked, len(statuses)))
            cell_problems = [
                f"{problem}; plan it anew with: harness run {suite_argument(cell.suite)}"
                + " --set ..." * bool(cell.variant)
                for cell in cells_by_run.get(record.run_id, ())
                for problem in audit.cell_problems(cell, record)
            ]
            files = None if record.run_id in unreadable else run_files(runs / record.run_id)
            return audit.problems(record, files) + cell_problems

        problems = [*store.check(check), *unreadable.values()]
    finished = [run_id for run_id, status in statuses.items() if status == "ok"]
    without_ranks = sum(not (runs / run_id / RANKS).is_file() for run_id in finished)
    return CheckReport(len(statuses), len(finished), without_ranks, problems)


def export_results(
    out: Path,
    home: Path | str | None = None,
    *,
    runs: Sequence[str] | str = (),
    suites: Sequence[str] | str = (),
    on_event: OnEvent = ignore,
) -> Exported:
    """Write records and ranks as files that can be committed.

    Args:
        out: folder that gets SUITE.jsonl.gz and SUITE.ranks.npz.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        runs: ids of runs, one or several; with ``suites`` empty too, all but failed runs.
        suites: one or several suites whose runs or stages are written.
        on_event: receives messages on runs that are left out.
    """
    runs, suites = one_or_more(runs), one_or_more(suites)
    folder = results_folder(home)
    with opened(folder) as store:
        report_damaged(store, on_event)
        ids = [resolve_id(store, text) for text in runs]
        benchmarks: list[BenchmarkRecord] = []
        for name in suites:
            newest = store.benchmarks(name)[-1:]  # the one that reports show
            benchmarks += newest
            ids += [] if newest and not store.cells(name) else _finished(store, name, on_event)
        if not runs and not suites:
            ids = [run_id for run_id, status in store.statuses().items() if status != "failed"]
            benchmarks = list(store.benchmarks())
        files = export(
            store,
            ids,
            out,
            runs=folder / "runs",
            benchmarks=benchmarks,
            suites=set(suites) if suites and not runs else None,
        )
    return Exported(files, len(set(ids)) + len(benchmarks))


def _finished(store: ResultStore, suite: str, on_event: OnEvent) -> list[str]:
    """Return the finished runs of a suite as its file has it; report how many are missing."""
    cells = store.cells(suite)
    if not cells:
        suites = {cell.suite for cell in store.cells()}
        raise ConfigError(f"no runs of a suite '{suite}'{suggest(suite, suites)}")
    finished = {run_id for run_id, status in store.statuses().items() if status != "failed"}
    missing = {cell.run_id for cell in cells if cell.run_id} - finished
    if missing:
        on_event(Message(f"suite {suite}: {len(missing)} runs are not finished, left out"))
    return [cell.run_id for cell in cells if cell.run_id in finished]
