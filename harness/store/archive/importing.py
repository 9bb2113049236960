"""Records out of files, or of another store, into a store."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError, StoreError
from harness.store import results_home
from harness.store.archive import audit
from harness.store.archive.content import ArchivedCell, ArchivedRun, Content
from harness.store.archive.rank_files import run_files
from harness.store.archive.single_files import NOT_RUN, read_single_files, single_files
from harness.store.archive.suite_file import SUFFIX, read_suite_file
from harness.store.base import STAGE, ResultStore, readable_records
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import check_run_folder, write_whole
from harness.store.records import Cell, Numbers, RunRecord, Status, StoredSuite

__all__ = ["Imported", "import_records", "merge"]


@dataclass(frozen=True)
class Imported:
    """Result of an import or a merge.

    Attributes:
        added: ids of the records that the store lacked, or had from an earlier stage.
        already_stored: number of records that it had already; they are unchanged.
        refused: cells of a suite that another run has in the store.
        absent: cells whose runs are in none of the imported files, nor in the store.
    """

    added: Sequence[str]
    already_stored: int
    refused: Sequence[Cell] = ()
    absent: Sequence[Cell] = ()


def import_records(store: ResultStore, source: Path, *, runs: Path | None = None) -> Imported:
    """Add exported records with their cells, and put their ranks into the run folders.

    Everything is read and checked first. Then each suite file is one transaction.

    Args:
        store: gets the records. Those that it holds from no earlier stage are left as they are,
            and so are the other cells of a suite.
        source: a folder, ``<suite>.jsonl.gz``, or ``<run_id>.json`` of an earlier version.
        runs: the run folders; ``results_home() / "runs"`` when None.

    Raises:
        ConfigError: the source does not exist, or is another kind of file.
        StoreError: a file is damaged, or a record has numbers or ranks that cannot be true, or a
            cell contradicts the record of its run (``audit``), or a run folder holds other ranks
            than a record to add, or there is none; every such file is named, nothing is added.
        MachineError: a run folder cannot be written.
    """
    problems: list[str] = []
    contents = list(_contents(source, problems))
    for run in (run for content in contents for run in content.runs):
        problems += [f"{run.source}: {text}" for text in audit.problems(run.record, run.files)]
    cells = [archived for content in contents for archived in content.cells]
    archived_records = (run.record for content in contents for run in content.runs)
    problems += _cell_problems(store, cells, {r.run_id: r for r in archived_records})
    if problems:
        raise StoreError("\n".join(problems))
    runs = runs or results_home() / "runs"
    if problems := list(_stale_ranks(store, contents, runs)):
        raise StoreError("\n".join(problems))
    suite_results = [_add_content(store, content, runs) for content in contents]
    stored = set(store.ids())
    return Imported(
        [run_id for result in suite_results for run_id in result.added],
        sum(result.already_stored for result in suite_results),
        [cell for result in suite_results for cell in result.refused],
        [a.cell for a in cells if a.cell.run_id and a.cell.run_id not in stored],
    )


def merge(store: ResultStore, source: ResultStore) -> Imported:
    """Add the records and cells of another store in one transaction.

    Args:
        store: gets them; its own results stay as they are.
        source: the other store; its ranks are neither copied nor read.

    Raises:
        StoreError: a record or a cell cannot be read or cannot be true (``audit``); each is named,
            nothing is added.
    """
    finished = {run_id for run_id, status in store.statuses().items() if status == "ok"}
    records = source.find(ids=set(source.ids()) - finished)
    problems = [problem for record in records for problem in audit.problems(record)]
    cells = source.cells()
    archived_cells = [ArchivedCell("", cell) for cell in cells]
    problems += _cell_problems(store, archived_cells, {r.run_id: r for r in records})
    if problems := [*source.damaged(), *problems]:
        raise StoreError("nothing was merged:\n" + "\n".join(problems))
    benchmarks = source.benchmarks()
    imported = _add(store, records, benchmarks, cells, source.suites().values())
    already_stored = len(source.ids()) + len(benchmarks) - len(imported.added)
    return Imported(imported.added, already_stored, imported.refused)


def _cell_problems(
    store: ResultStore, cells: Collection[ArchivedCell], records: Mapping[str, RunRecord]
) -> Iterator[str]:
    """Yield the contradictions between cells and the records of their runs, with their source.

    Args:
        store: holds the records of cells whose runs are not added.
        cells: cells to add.
        records: records to add, by run id.
    """
    other_ids = {archived.cell.run_id for archived in cells} - records.keys()
    stored, _ = readable_records(store, other_ids, Numbers())
    for archived in cells:
        if record := records.get(archived.cell.run_id) or stored.get(archived.cell.run_id):
            for text in audit.cell_problems(archived.cell, record):
                yield f"{archived.source}: {text}" if archived.source else text


def _stale_ranks(store: ResultStore, contents: Iterable[Content], runs: Path) -> Iterator[str]:
    """Yield the contradictions between records to add and ranks that their run folders hold.

    The ranks of a run folder are never replaced: they may be of a training on this machine whose
    record is not stored yet.
    """
    statuses = store.statuses()
    for run in (run for content in contents for run in content.runs):
        run_id, folder = run.record.run_id, runs / run.record.run_id
        local_files = run_files(folder)
        if local_files and _is_added(run.record, statuses.get(run_id)):
            for text in audit.problems(run.record, {**run.files, **local_files}):
                yield (
                    f"{run.source}: {text}; `harness runs rm {shlex.quote(run_id)}` removes "
                    f"{folder}"
                )


def _is_added(record: RunRecord, stored: Status | None) -> bool:
    """Return whether an import adds a record, given the status of the stored one of its run."""
    return stored is None or STAGE[record.status] > STAGE[stored]


def _contents(source: Path, problems: list[str]) -> Iterator[Content]:
    """Yield the content of the files, and add a line for each that cannot be read."""
    suite_files, single, not_run = _files(source)
    for path in suite_files:
        try:
            yield read_suite_file(path).content(path)
        except StoreError as error:
            problems.append(str(error))
    if single or not_run:
        yield read_single_files(single, not_run, problems)


def _files(source: Path) -> tuple[Sequence[Path], list[Path], Path | None]:
    """Return the suite files, the single files and the cells without a run that are imported."""
    if source.is_dir():
        suite_files = sorted(source.glob(f"*{SUFFIX}"))
        single = single_files(source)
        if not suite_files and not single:
            raise StoreError(f"{source}: no records (*{SUFFIX}, *.json) here")
        names = {path.name.removesuffix(SUFFIX) for path in suite_files}
        for path in sorted(source.glob("*.ranks*.npz")):
            if (name := path.name.rpartition(".ranks")[0]) not in names:
                raise StoreError(f"{path}: ranks without their records, {name}{SUFFIX}")
        return suite_files, single, source / NOT_RUN if single else None
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if source.name.endswith(SUFFIX):
        return [source], [], None
    if source.suffix == ".json" and source.name != NOT_RUN:
        return [], [source], None
    hint = f"; import its folder: harness db import {source.parent}"
    raise ConfigError(f"{source}: no file of records (SUITE{SUFFIX}, or RUN.json){hint}")


def _add_content(store: ResultStore, content: Content, runs: Path) -> Imported:
    """Add the content of a file, the ranks first: a run in the store is never without them.

    Nothing of it stays, not even ranks, when something cannot be added.
    """
    paths: list[Path] = []
    differing = _differing(store, content.runs, runs)
    try:
        for run in content.runs:
            if run.record.run_id not in differing:
                _write_ranks(run, runs / run.record.run_id, paths)
        records = [run.record for run in content.runs]
        cells = [archived.cell for archived in content.cells]
        return _add(store, records, content.benchmarks, cells, content.suites)
    except BaseException:
        _remove(paths, runs)
        raise


def _differing(store: ResultStore, archived: Sequence[ArchivedRun], runs: Path) -> set[str]:
    """Return the ids of runs without ranks here whose stored record, which stays, has other numbers
    than the archived one: the archived ranks are not those of the stored record."""
    records = {
        run.record.run_id: run.record
        for run in archived
        if not all((runs / run.record.run_id / name).exists() for name in run.files)
    }
    stored, _ = readable_records(store, records)
    return {
        run_id
        for run_id, record in stored.items()
        if not _is_added(records[run_id], record.status)
        and record.metrics != records[run_id].metrics
    }


def _write_ranks(run: ArchivedRun, folder: Path, paths: list[Path]) -> None:
    """Write the files of ranks that a run folder lacks, and add them to ``paths``."""
    check_run_folder(folder)
    for name, file in run.files.items():
        if not (folder / name).exists():
            content = file.content()
            paths.append(folder / name)
            write_whole(folder / name, content)


def _remove(files: Sequence[Path], runs: Path) -> None:
    """Remove files and the folders below ``runs`` that are empty without them."""
    for file in files:
        file.unlink(missing_ok=True)
        for folder in file.relative_to(runs).parents[:-1]:
            with contextlib.suppress(OSError):  # holds something else
                (runs / folder).rmdir()


def _add(
    store: ResultStore,
    records: Iterable[RunRecord],
    benchmarks: Iterable[BenchmarkRecord],
    cells: Iterable[Cell],
    suites: Iterable[StoredSuite],
) -> Imported:
    """Add records that the store lacks, or holds from an earlier stage, in one transaction."""
    added, already_stored = [], 0
    with store.transaction():
        statuses = store.statuses()
        for record in records:
            if not _is_added(record, statuses.get(record.run_id)):
                already_stored += 1
                continue
            store.add(record)
            added.append(record.run_id)
        measured = {benchmark.benchmark_id for benchmark in store.benchmarks()}
        for benchmark in benchmarks:
            if benchmark.benchmark_id in measured:
                already_stored += 1
                continue
            store.add_benchmark(benchmark)
            added.append(benchmark.benchmark_id)
        refused = store.add_cells(cells)
        titled = store.suites()
        for suite in suites:
            if (suite.suite, suite.variant) not in titled:
                store.add_suite(suite)
    return Imported(added, already_stored, refused)
