"""Records out of files, into a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import audit
from harness.errors import ConfigError, StoreError
from harness.evaluation import shadow
from harness.exchange.single_files import NOT_RUN, files_of, read_single_files
from harness.exchange.suite_file import SUFFIX, SuiteFile, read_suite_file
from harness.store import results_home
from harness.store.base import ResultStore
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import RANKS, check_run_folder, write_whole
from harness.store.ingest import Taken, take
from harness.store.records import Cell, RunRecord

__all__ = ["import_records"]

Content = Callable[[], bytes | None]


@dataclass
class _Parcel:
    """Content of one file, or of a folder of single files, that comes into the store as a whole.

    Attributes:
        records: runs.
        cells: their places, and cells without a run.
        benchmarks: measurements.
        files: run id -> file in its run folder -> function that makes the content.
    """

    records: list[RunRecord] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    benchmarks: list[BenchmarkRecord] = field(default_factory=list)
    files: dict[str, dict[str, Content]] = field(default_factory=dict)


def import_records(store: ResultStore, source: Path, *, runs: Path | None = None) -> Taken:
    """Add exported records with their cells, and put their ranks into the run folders.

    Everything is read and checked first. Then each suite file is one transaction.

    Args:
        store: gets the records. Those that it holds from no earlier stage are left as they are,
            and so are the other cells of a suite.
        source: a folder, ``<suite>.jsonl.gz``, or ``<run_id>.json`` of an earlier version.
        runs: the run folders; ``results_home() / "runs"`` when None.

    Raises:
        ConfigError: the source does not exist, or is another kind of file.
        StoreError: a file is damaged, or a record has numbers or ranks that cannot be true
            (``harness.audit``), or there is none; every such file is named, nothing is added.
        MachineError: a run folder cannot be written.
    """
    problems: list[str] = []
    parcels = list(_parcels(source, problems))
    if problems:
        raise StoreError("\n".join(problems))
    taken = [_take(store, parcel, runs or results_home() / "runs") for parcel in parcels]
    stored = set(store.ids())
    return Taken(
        [run_id for one in taken for run_id in one.added],
        sum(one.kept for one in taken),
        [cell for one in taken for cell in one.refused],
        [c for one in parcels for c in one.cells if c.run_id and c.run_id not in stored],
    )


def _parcels(source: Path, problems: list[str]) -> Iterator[_Parcel]:
    """Yield the content of the files, and add a line for everything that is wrong."""
    suite_files, single, not_run = _files(source)
    for path in suite_files:
        try:
            content = read_suite_file(path)
        except StoreError as error:
            problems.append(str(error))
        else:
            yield _of_suite(path, content, problems)
    if single or not_run:
        yield _of_single(single, not_run, problems)


def _files(source: Path) -> tuple[Sequence[Path], list[Path], Path | None]:
    """Return the suite files, the single files and the cells without a run that are imported."""
    if source.is_dir():
        suite_files = sorted(source.glob(f"*{SUFFIX}"))
        single = files_of(source)
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


def _of_suite(path: Path, content: SuiteFile, problems: list[str]) -> _Parcel:
    parcel = _Parcel(
        [run.record for run in content.runs.values()],
        list(content.cells),
        list(content.benchmarks.values()),
    )
    for record in parcel.records:
        ranks, sealed = content.ranks(record.run_id), content.sealed(record.run_id)
        wrong = audit.problems(record, ranks)
        wrong += audit.sealed_problems(record, sealed, ranks)
        problems += [f"{path}: {problem}" for problem in wrong]
        files: dict[str, Content] = {RANKS: ranks.content} if ranks.members else {}
        files |= {f"{shadow.FOLDER}/{name}": one.content for name, one in sealed.files.items()}
        parcel.files[record.run_id] = files
    return parcel


def _of_single(paths: list[Path], not_run: Path | None, problems: list[str]) -> _Parcel:
    content = read_single_files(paths, not_run)
    problems += content.problems
    parcel = _Parcel(benchmarks=content.benchmarks)
    for run in content.runs:
        parcel.records.append(run.record)
        parcel.cells += run.record.cells
        wrong = audit.problems(run.record, run.ranks)
        problems += [f"{run.path}: {problem}" for problem in wrong]
        problems += audit.sealed_problems(run.record, run.sealed, run.ranks)
        paths_of = {RANKS: run.ranks} if run.ranks.is_file() else {}
        paths_of |= {f"{shadow.FOLDER}/{path.name}": path for path in shadow.files(run.sealed)}
        parcel.files[run.record.run_id] = {
            name: partial(path.read_bytes) for name, path in paths_of.items()
        }
    parcel.cells += content.not_run
    return parcel


def _take(store: ResultStore, parcel: _Parcel, runs: Path) -> Taken:
    """Add what a parcel holds, the ranks first: a run in the store is never without them.

    Nothing of it stays, not even ranks, when something cannot be added.
    """
    written: list[Path] = []
    try:
        for run_id, files in parcel.files.items():
            check_run_folder(runs / run_id)
            for name, content in files.items():
                target = runs / run_id / name
                if not target.exists() and (encoded := content()) is not None:
                    written.append(target)
                    write_whole(target, encoded)
        with store.transaction():
            taken = take(store, parcel.records, parcel.benchmarks)
            refused = store.add_cells(parcel.cells)
    except BaseException:
        _remove(written, runs)
        raise
    return Taken(taken.added, taken.kept, refused)


def _remove(files: Sequence[Path], runs: Path) -> None:
    """Remove files and the folders below ``runs`` that are empty without them."""
    for file in files:
        file.unlink(missing_ok=True)
        for folder in file.relative_to(runs).parents[:-1]:
            with contextlib.suppress(OSError):  # holds something else
                (runs / folder).rmdir()
