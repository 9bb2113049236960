"""Records as files: what a worker leaves, what is committed, what another machine sends.

A run folder ``<home>/runs/<run_id>/`` holds ``record.json`` and ``ranks.npz``; a folder of exported
records holds ``<run_id>.json`` and ``<run_id>.npz``, and ``not_run.json`` with the cells of their
suites that have no run. Files are written whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.config.base import Config
from harness.errors import StoreError
from harness.store import results_home
from harness.store.base import STAGE, ResultStore
from harness.store.failures import disk_error
from harness.store.records import RECORD_VERSION, Cell, RunRecord
from harness.store.rows import first_problem

__all__ = [
    "NOT_RUN",
    "RANKS",
    "RECORD",
    "Taken",
    "export",
    "import_records",
    "ingest",
    "merge",
    "read_record",
    "write_record",
]

RECORD = "record.json"
RANKS = "ranks.npz"
NOT_RUN = "not_run.json"

Content = TypeVar("Content", bound=Config)


@dataclass(frozen=True)
class Taken:
    """What a store took over.

    Attributes:
        added: ids of the records that it did not hold (or held from an earlier stage).
        kept: how many it held already; they are left as they are.
        refused: cells whose place in a suite another run holds.
    """

    added: Sequence[str]
    kept: int
    refused: Sequence[Cell] = ()


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record as JSON.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    _write_json(path, record)


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        StoreError: the file is damaged, of another version, or a value is not valid.
        MachineError: the file cannot be read.
    """
    return _read(path, RunRecord)


def ingest(store: ResultStore, folder: Path) -> Taken:
    """Add what workers left: every ``record.json`` of the run folders below ``folder``.

    Raises:
        StoreError: a record cannot be read; all others were added.
    """
    records, problems = [], []
    finished = store.finished_ids()
    for path in sorted(folder.glob(f"*/{RECORD}")):
        if path.parent.name not in finished:
            try:
                records.append(read_record(path))
            except StoreError as error:
                problems.append(str(error))
    taken = _take(store, records)
    if problems:
        raise StoreError("\n".join(problems))
    return Taken(taken.added, taken.kept + len(finished))


def export(
    store: ResultStore, ids: Iterable[str], folder: Path, *, runs: Path | None = None
) -> Sequence[Path]:
    """Write records with their cells, and their ranks, into a folder that can be committed.

    Args:
        store: where the records are.
        ids: full ids.
        folder: gets ``<run_id>.json`` and, where the run folder has ranks, ``<run_id>.npz``; in
            ``not_run.json`` the suites that are exported anew replace what was there.
        runs: the run folders; ``results_home() / "runs"`` when None.

    Returns:
        the files written.

    Raises:
        StoreError: an id has no record; nothing is written.
        MachineError: the folder cannot be written.
    """
    wanted = list(dict.fromkeys(ids))
    records = {record.run_id: record for record in store.find(ids=wanted)}
    if missing := [run_id for run_id in wanted if run_id not in records]:
        raise StoreError(f"no record of {', '.join(missing)}; list them with: harness runs list")
    cells: dict[str, list[Cell]] = {}
    for cell in store.cells():
        cells.setdefault(cell.run_id, []).append(cell)
    exported = {(c.suite, c.variant) for run_id in records for c in cells.get(run_id, ())}
    written = list(_write_not_run(folder / NOT_RUN, exported, cells.get("", ())))
    for run_id, record in records.items():
        placed = record.model_copy(update={"cells": tuple(cells.get(run_id, ()))})
        written.append(folder / f"{run_id}.json")
        write_record(written[-1], placed)
        ranks = (runs or results_home() / "runs") / run_id / RANKS
        if ranks.is_file():
            written.append(folder / f"{run_id}.npz")
            _write(written[-1], ranks.read_bytes())
    return written


def import_records(store: ResultStore, folder: Path, *, runs: Path | None = None) -> Taken:
    """Add exported records with their cells, and put their ranks into the run folders.

    Args:
        store: gets the records. Those that it holds from no earlier stage are left as they are,
            and so are the other cells of a suite.
        folder: holds ``<run_id>.json`` and ``<run_id>.npz``, ``not_run.json`` if there is one.
        runs: the run folders; ``results_home() / "runs"`` when None.

    Raises:
        StoreError: a record cannot be read, or there is none; nothing is added.
    """
    paths = sorted(path for path in folder.glob("*.json") if path.name != NOT_RUN)
    if not paths:
        raise StoreError(f"{folder}: no records (*.json) here")
    records = [read_record(path) for path in paths]
    not_run = _read_not_run(folder / NOT_RUN)
    taken = _take(store, records)
    refused = store.add_cells([*(cell for record in records for cell in record.cells), *not_run])
    for record in records:
        source = folder / f"{record.run_id}.npz"
        target = (runs or results_home() / "runs") / record.run_id / RANKS
        if source.is_file() and not target.exists():
            _write(target, source.read_bytes())
    return Taken(taken.added, taken.kept, refused)


def merge(store: ResultStore, other: ResultStore) -> Taken:
    """Add the records and cells of another store; what ``store`` holds stays as it is."""
    taken = _take(store, other.find(ids=set(other.ids()) - store.finished_ids()))
    kept = len(other.ids()) - len(taken.added)
    return Taken(taken.added, kept, store.add_cells(other.cells()))


def _take(store: ResultStore, records: Iterable[RunRecord]) -> Taken:
    """Add records that the store lacks, or holds from an earlier stage."""
    held = store.statuses()
    added, kept = [], 0
    for record in records:
        old = held.get(record.run_id)
        if old is not None and STAGE[record.status] <= STAGE[old]:
            kept += 1
            continue
        store.add(record)
        added.append(record.run_id)
    return Taken(added, kept)


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
        _write_json(path, _NotRun(cells=tuple(ordered)))
        yield path


def _read_not_run(path: Path) -> Sequence[Cell]:
    return _read(path, _NotRun).cells if path.exists() else ()


def _read(path: Path, kind: type[Content]) -> Content:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise disk_error(path, error) from error
    except json.JSONDecodeError as error:
        raise StoreError(f"{path}:{error.lineno}: not a record: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not a record: {error}") from None
    version = content.get("version") if isinstance(content, dict) else None
    if version != RECORD_VERSION:
        raise StoreError(
            f"{path}: version: this harness reads records of version {RECORD_VERSION}, "
            f"this is {version!r}"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise StoreError(f"{path}: {first_problem(error)}") from None


def _write_json(path: Path, content: Config) -> None:
    text = json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False)
    _write(path, (text + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file whole: a reader, or a crash, finds the old content or the new."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(path, error) from error
