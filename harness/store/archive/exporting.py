"""Records out of a store, into a folder of suite files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import StoreError
from harness.evaluation import shadow
from harness.store import results_home
from harness.store.archive import audit
from harness.store.archive.rank_archive import (
    Load,
    digests_of,
    encode_parts,
    kept_name,
    kept_parts,
    part_names,
)
from harness.store.archive.rank_files import RankFile, run_files
from harness.store.archive.redaction import redacted, redacted_benchmark
from harness.store.archive.single_files import single_files
from harness.store.archive.suite_file import (
    SUFFIX,
    StoredRun,
    SuiteFile,
    compressed,
    file_name,
    read_suite_file,
)
from harness.store.base import ResultStore, supersedes
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import RANKS, check_run_folder, write_whole
from harness.store.records import Cell, RunRecord, StoredSuite

__all__ = ["export"]


def export(
    store: ResultStore,
    ids: Iterable[str],
    folder: Path,
    *,
    runs: Path | None = None,
    benchmarks: Iterable[BenchmarkRecord] = (),
    suites: Collection[str] | None = None,
) -> Sequence[Path]:
    """Write records with their cells, and their ranks, into a folder that can be committed.

    What the folder holds beside them stays. A run that one of its files holds is renewed there,
    unless the folder's is of a later stage; a new one comes into the file of the first of its
    suites. The same export again changes no file.

    Args:
        store: holds the records.
        ids: full run ids.
        folder: gets ``<suite>.jsonl.gz`` and ``<suite>.ranks.npz``.
        runs: the run folders; ``results_home() / "runs"`` when None.
        benchmarks: measurements that are written too.
        suites: suites whose cells are written; all to which the runs belong when None.

    Returns:
        the files that hold what was exported.

    Raises:
        StoreError: an id has no record, one is damaged or has numbers or ranks that cannot be
            true (``audit``), a cell contradicts its record, or the folder holds damaged files
            or those of an earlier version; nothing is written.
        MachineError: the folder cannot be written.
    """
    runs = runs or results_home() / "runs"
    records = _audited(store, list(dict.fromkeys(ids)), runs)
    target = _Folder(folder)
    cells = store.cells()
    if suites is None:
        suites = {cell.suite for cell in cells if cell.run_id in records}
    problems = [*store.damaged(suites)]
    for cell in cells:
        if cell.run_id in records and cell.suite in suites:
            problems += audit.cell_problems(cell, records[cell.run_id])
    if problems:
        raise StoreError("\n".join(problems))
    suites_of: dict[str, list[str]] = {run_id: [] for run_id in records}
    for cell in cells:
        if cell.run_id in records and cell.suite in suites:
            suites_of[cell.run_id].append(cell.suite)
    for run_id, record in records.items():
        target.add(record, runs / run_id, min(suites_of[run_id], default=""))
    for suite in sorted(suites):
        target.place_cells(suite, [c for c in cells if c.suite == suite], records)
    target.add_suites(stored for stored in store.suites().values() if stored.suite in suites)
    for benchmark in benchmarks:
        target.change(benchmark.suite).benchmarks[benchmark.benchmark_id] = redacted_benchmark(
            benchmark
        )
    return target.write()


def _audited(store: ResultStore, run_ids: Sequence[str], runs: Path) -> dict[str, RunRecord]:
    """Return the records by id.

    Raises:
        StoreError: one is missing, or cannot be true.
    """
    records = {record.run_id: record for record in store.find(ids=run_ids)}
    if missing := [run_id for run_id in run_ids if run_id not in records]:
        raise StoreError(f"no record of {', '.join(missing)}; list them with: harness runs list")
    problems = []
    for run_id, record in records.items():
        check_run_folder(runs / run_id)
        problems += audit.problems(record, run_files(runs / run_id))
    if problems:
        raise StoreError("\n".join(problems))
    return records


class _Folder:
    """A folder of suite files while it is changed; ``write`` writes what differs."""

    def __init__(self, folder: Path) -> None:
        if single := single_files(folder):
            raise StoreError(
                f"{single[0]}: {folder} holds files of an earlier version, one for each run; take "
                f"them over with: harness db import {folder}, then export to a new folder"
            )
        self.folder = folder
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        self.files = {path.name.removesuffix(SUFFIX): read_suite_file(path) for path in paths}
        self.homes = {run_id: name for name, file in self.files.items() for run_id in file.runs}
        self.loaders: dict[str, Load] = {}
        self.changed: dict[str, None] = {}

    def change(self, suite: str) -> SuiteFile:
        """Return the file of a suite, which is written in the end."""
        name = file_name(suite)
        self.changed[name] = None
        return self.files.setdefault(name, SuiteFile(suite))

    def _file_of(self, run_id: str, suite: str) -> SuiteFile:
        """Return the file that holds a run, that of ``suite`` for a new one."""
        name = self.homes.setdefault(run_id, file_name(suite))
        self.changed[name] = None
        return self.files.setdefault(name, SuiteFile(suite))

    def add(self, record: RunRecord, run_folder: Path, suite: str) -> None:
        """Add or renew a run; a new one comes into the file of ``suite``."""
        record = redacted(record)
        file = self._file_of(record.run_id, suite)
        before = file.runs.get(record.run_id)
        if before is not None and not supersedes(record, before.record):
            return
        members = {name: self._members(file) for name, file in run_files(run_folder).items()}
        ranks = members.pop(RANKS, {})
        prefix = f"{shadow.FOLDER}/"
        epochs = {name.removeprefix(prefix): arrays for name, arrays in members.items()}
        stored = StoredRun(record=record, ranks=ranks, sealed=epochs)
        if before is not None and before.record.metrics == record.metrics:
            # Of a run that is known from its record alone the folder may hold the ranks.
            stored = stored.model_copy(
                update={
                    "ranks": stored.ranks or before.ranks,
                    "sealed": stored.sealed or before.sealed,
                }
            )
        file.runs[record.run_id] = stored

    def _members(self, file: RankFile) -> dict[str, str]:
        members, loaders = digests_of(file)
        self.loaders |= loaders
        return members

    def place_cells(self, suite: str, cells: Sequence[Cell], exported: Collection[str]) -> None:
        """Renew the cells of a suite: those of exported runs, and the reasons for no run.

        Places that the folder alone knows stay, and so do its runs where the store has a reason
        for none.
        """
        file = self.change(suite)
        variants = {cell.variant for cell in cells if cell.run_id in exported}
        cell_keys = {
            cell.place: cell for cell in file.cells if cell.run_id or cell.variant not in variants
        }
        for cell in cells:
            reason = not cell.run_id and cell.variant in variants
            if cell.run_id in exported or (reason and cell.place not in cell_keys):
                cell_keys[cell.place] = cell
        file.cells = tuple(cell_keys.values())

    def add_suites(self, stored: Iterable[StoredSuite]) -> None:
        """Add or renew titles and settings of suites that have cells in the folder."""
        for suite in stored:
            file = self.files.get(file_name(suite.suite))
            if file is not None and suite.variant in {cell.variant for cell in file.cells}:
                self.change(suite.suite).suites[suite.variant] = suite

    def write(self) -> Sequence[Path]:
        """Write the files that differ; return all that hold what was exported."""
        paths: list[Path] = []
        for name in self.changed:
            paths += _write(self.folder, name, self.files[name], self.loaders)
        return paths


def _write(folder: Path, name: str, file: SuiteFile, new: Mapping[str, Load]) -> list[Path]:
    """Write a suite's files unless they hold the same already; return them."""
    digests = file.digests()
    rank_files = list(file.archive.parts)
    stored_parts = kept_parts(folder, name)
    if stored_parts or set(digests) != set(file.archive.members):
        loaders = file.archive.loaders(digests) | {d: new[d] for d in digests if d in new}
        contents = encode_parts(loaders)
        if file.text:
            _keep(folder, name, [path for path in rank_files if path not in stored_parts])
        outdated = [*rank_files, *kept_parts(folder, name)]
        rank_files = [folder / file_name for file_name in part_names(name, len(contents))]
        for path, content in zip(rank_files, contents, strict=True):
            write_whole(path, content)
    else:
        outdated = []
    text, path = file.lines(len(rank_files)), folder / f"{name}{SUFFIX}"
    if text != file.text:
        write_whole(path, compressed(text))
    for rank_file in outdated:
        if rank_file not in rank_files:
            rank_file.unlink(missing_ok=True)
    return [path, *rank_files]


def _keep(folder: Path, name: str, rank_files: Iterable[Path]) -> None:
    """Keep copies of an archive's parts, which the old lines need until the new are written."""
    for rank_file in rank_files:
        content = rank_file.read_bytes()
        write_whole(folder / kept_name(name, content), content)
