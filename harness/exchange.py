"""A folder of records that can be committed, or sent to another machine.

It holds ``<run_id>.json`` and ``<run_id>.npz``, the ranks, ``<run_id>.shadow/`` with what an audit
sealed, ``not_run.json`` with the cells of their suites that have no run, and measurements in
``benchmarks/<benchmark_id>.json``. What goes in or comes out is checked: see ``harness.audit``. The
log of accesses to the test split stays; what it says in sum is in the record's provenance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from harness import audit
from harness.config.base import Config
from harness.errors import StoreError
from harness.evaluation import shadow
from harness.store import results_home
from harness.store.base import ResultStore
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import (
    RANKS,
    read,
    read_benchmark,
    read_record,
    write,
    write_record,
    write_whole,
)
from harness.store.ingest import Taken, take
from harness.store.records import RECORD_VERSION, Cell

__all__ = ["BENCHMARKS", "NOT_RUN", "export", "import_records"]

NOT_RUN = "not_run.json"
BENCHMARKS = "benchmarks"


def export(
    store: ResultStore,
    ids: Iterable[str],
    folder: Path,
    *,
    runs: Path | None = None,
    benchmarks: Iterable[BenchmarkRecord] = (),
) -> Sequence[Path]:
    """Write records with their cells, and their ranks, into a folder that can be committed.

    Args:
        store: where the records are.
        ids: full ids.
        folder: gets ``<run_id>.json`` and, where the run folder has them, the ranks and what an
            audit sealed; in ``not_run.json`` the suites that are exported anew replace what was
            there.
        runs: the run folders; ``results_home() / "runs"`` when None.
        benchmarks: measurements that are written too.

    Returns:
        the files written.

    Raises:
        StoreError: an id has no record, or one is damaged or has numbers or ranks that cannot be
            true (``harness.audit``); nothing is written.
        MachineError: the folder cannot be written.
    """
    place = runs or results_home() / "runs"
    wanted = list(dict.fromkeys(ids))
    records = {record.run_id: record for record in store.find(ids=wanted)}
    if missing := [run_id for run_id in wanted if run_id not in records]:
        raise StoreError(f"no record of {', '.join(missing)}; list them with: harness runs list")
    ranks = {run_id: place / run_id / RANKS for run_id in records}
    _refuse(p for run_id, record in records.items() for p in audit.problems(record, ranks[run_id]))
    sealed = {run_id: place / run_id / shadow.FOLDER for run_id in records}
    _refuse(
        problem
        for run_id, record in records.items()
        for problem in audit.sealed_problems(record, sealed[run_id], ranks[run_id])
    )
    cells: dict[str, list[Cell]] = {}
    for cell in store.cells():
        cells.setdefault(cell.run_id, []).append(cell)
    exported = {(c.suite, c.variant) for run_id in records for c in cells.get(run_id, ())}
    written: list[Path] = []
    if records:
        written += _write_not_run(folder / NOT_RUN, exported, cells.get("", ()))
    for run_id, record in records.items():
        placed = record.model_copy(update={"cells": tuple(cells.get(run_id, ()))})
        written.append(folder / f"{run_id}.json")
        write_record(written[-1], placed)
        if ranks[run_id].is_file():
            written.append(folder / f"{run_id}.npz")
            write_whole(written[-1], ranks[run_id].read_bytes())
        for path in shadow.files(sealed[run_id]):
            written.append(_sealed(folder, run_id) / path.name)
            write_whole(written[-1], path.read_bytes())
    for benchmark in benchmarks:
        written.append(folder / BENCHMARKS / f"{benchmark.benchmark_id}.json")
        write(written[-1], benchmark)
    return written


def import_records(store: ResultStore, folder: Path, *, runs: Path | None = None) -> Taken:
    """Add exported records with their cells, and put their ranks into the run folders.

    Args:
        store: gets the records. Those that it holds from no earlier stage are left as they are,
            and so are the other cells of a suite.
        folder: holds ``<run_id>.json``, ``<run_id>.npz`` and ``<run_id>.shadow``,
            ``not_run.json`` and ``benchmarks`` if there are any.
        runs: the run folders; ``results_home() / "runs"`` when None.

    Raises:
        StoreError: a record cannot be read, or it has numbers or ranks that cannot be true
            (``harness.audit``), or there is none; every such file is named, nothing is added.
    """
    paths = sorted(path for path in folder.glob("*.json") if path.name != NOT_RUN)
    measured = sorted((folder / BENCHMARKS).glob("*.json"))
    if not paths and not measured:
        raise StoreError(f"{folder}: no records (*.json) here")
    records, problems = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except StoreError as error:
            problems.append(str(error))
        else:
            ranks = folder / f"{records[-1].run_id}.npz"
            problems += [f"{path}: {problem}" for problem in audit.problems(records[-1], ranks)]
            sealed = _sealed(folder, records[-1].run_id)
            problems += audit.sealed_problems(records[-1], sealed, ranks)
    benchmarks = []
    for path in measured:
        try:
            benchmarks.append(read_benchmark(path))
        except StoreError as error:
            problems.append(str(error))
    _refuse(problems)
    not_run = _read_not_run(folder / NOT_RUN)
    taken = take(store, records, benchmarks)
    refused = store.add_cells([*(cell for record in records for cell in record.cells), *not_run])
    for record in records:
        source = folder / f"{record.run_id}.npz"
        target = (runs or results_home() / "runs") / record.run_id / RANKS
        if source.is_file() and not target.exists():
            write_whole(target, source.read_bytes())
        for path in shadow.files(_sealed(folder, record.run_id)):
            own = target.parent / shadow.FOLDER / path.name
            if not own.exists():
                write_whole(own, path.read_bytes())
    return Taken(taken.added, taken.kept, refused)


def _sealed(folder: Path, run_id: str) -> Path:
    """Return where a folder of records holds what an audit sealed of a run."""
    return folder / f"{run_id}.{shadow.FOLDER}"


def _refuse(problems: Iterable[str]) -> None:
    """Raise StoreError when there is any problem."""
    if lines := list(problems):
        raise StoreError("\n".join(lines))


class _NotRun(Config):
    """Content of ``not_run.json``."""

    version: int = RECORD_VERSION
    cells: tuple[Cell, ...]


def _write_not_run(
    path: Path, suites: Collection[tuple[str, str]], cells: Iterable[Cell]
) -> Iterator[Path]:
    """Replace the cells of some suites (with variant) in a file; yield it if it was written."""
    kept = [c for c in _read_not_run(path) if (c.suite, c.variant) not in suites]
    kept += [c for c in cells if (c.suite, c.variant) in suites]
    if kept or path.exists():
        ordered = sorted(kept, key=lambda cell: cell.order)
        write(path, _NotRun(cells=tuple(ordered)))
        yield path


def _read_not_run(path: Path) -> Sequence[Cell]:
    return read(path, _NotRun).cells if path.exists() else ()
