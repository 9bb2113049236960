"""Files of a run and of a folder of records: written whole or not at all, read with checks.

A run folder ``<home>/runs/<run_id>/`` holds ``record.json`` and ``ranks.npz``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.config.base import Config
from harness.errors import MachineError, StoreError
from harness.store.benchmarks import BENCHMARK_VERSION, BenchmarkRecord
from harness.store.failures import disk_error, make_folder
from harness.store.records import RECORD_VERSION, RUN_ID, RunRecord
from harness.store.rows import first_problem
from harness.writing import replacing

__all__ = [
    "RANKS",
    "RECORD",
    "check_run_folder",
    "read",
    "read_benchmark",
    "read_own_record",
    "read_record",
    "run_folder",
    "run_ids",
    "unreadable_records",
    "validated",
    "write_below",
    "write_chunks",
    "write_record",
    "write_whole",
]

RECORD = "record.json"
LOG = "log.jsonl"
RANKS = "ranks.npz"

Content = TypeVar("Content", bound=Config)


def write_record(path: Path, content: Config) -> None:
    """Write a record, or a measurement, as JSON.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    text = json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_whole(path, (text + "\n").encode())


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        StoreError: the file is damaged, of another version, or a value is not valid.
        MachineError: the file cannot be read.
    """
    return read(path, RunRecord)


def run_folder(runs: Path, run_id: str) -> Path:
    """Return the folder of a run.

    Raises:
        StoreError: the id, which an edited database may hold, leads elsewhere.
    """
    if not re.fullmatch(RUN_ID, run_id):
        raise StoreError(f"run {run_id!r}: no id of a run; it names no folder in {runs}")
    return runs / run_id


def check_run_folder(folder: Path) -> None:
    """Refuse a run folder that leads elsewhere: files in it are written, appended to and deleted.

    Raises:
        StoreError: the folder, or a file in it, is a symbolic link.
    """
    entries = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    for path in (folder, *entries):
        if path.is_symlink():
            raise StoreError(
                f"{path}: a symbolic link, which is not followed in run folders; put what it "
                f"names in its place, or remove it"
            )


def read_own_record(folder: Path) -> RunRecord | None:
    """Read the record in a run folder, None where there is none.

    Raises:
        StoreError: the file is damaged, of another version or the record of another run, or the
            folder leads elsewhere; the message says what helps.
        MachineError: the file cannot be read.
    """
    check_run_folder(folder)
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = read_record(path)
        if record.run_id != folder.name:
            raise StoreError(f"{path}: the record of another run, {record.run_id}")
    except StoreError as error:
        run = shlex.quote(folder.name)
        raise StoreError(
            f"{error}; `harness runs retry {run}` removes it and keeps the checkpoints, "
            f"`harness runs rm {run}` removes the folder"
        ) from None
    return record


def run_ids(runs: Path) -> list[str]:
    """Return the ids of the runs that have a folder, sorted."""
    entries = runs.iterdir() if runs.is_dir() else ()
    return sorted(path.name for path in entries if re.fullmatch(RUN_ID, path.name))


def unreadable_records(runs: Path, ids: Iterable[str]) -> dict[str, str]:
    """Return the problems of records in run folders that cannot be read, by run id."""
    unreadable = {}
    for run_id in ids:
        try:
            read_own_record(runs / run_id)
        except (StoreError, MachineError) as error:
            unreadable[run_id] = str(error)
    return unreadable


def read_benchmark(path: Path) -> BenchmarkRecord:
    """Read a measurement; errors as ``read_record``."""
    return read(path, BenchmarkRecord, BENCHMARK_VERSION)


def read(path: Path, kind: type[Content], layout: int = RECORD_VERSION) -> Content:
    """Read a file of this version of the harness.

    Args:
        path: a JSON file.
        kind: what it holds.
        layout: version of its layout.

    Raises:
        StoreError: the file is damaged, of another version, or a value is not valid.
        MachineError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise StoreError(f"{path}:{error.lineno}: not a record: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # no text, or thousands of digits
        raise StoreError(f"{path}: not a record: {error}") from None
    return validated(content, kind, str(path), layout)


def validated(
    content: object, kind: type[Content], source: str, layout: int = RECORD_VERSION
) -> Content:
    """Check the decoded content of a file of this version of the harness.

    Args:
        content: decoded JSON.
        kind: type that it becomes.
        source: file, with the line where it has several, for messages.
        layout: version of its layout.

    Raises:
        StoreError: it is of another version, or a value is not valid.
    """
    version = content.get("version") if isinstance(content, dict) else None
    if version != layout:
        raise StoreError(
            f"{source}: version: this harness reads records of version {layout}, this is "
            f"{version!r}"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise StoreError(f"{source}: {first_problem(error)}") from None


def write_below(folder: Path, name: str, content: bytes) -> Path:
    """Write a file of a folder whole, and return it.

    Raises:
        StoreError: the name leads out of the folder.
        MachineError: as ``write_whole``.
    """
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"{name!r}: leads out of {folder} and was not written")
    write_whole(path, content)
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole: a reader, or a crash, finds the old content or the new.

    A link stays a link, and a file keeps its permissions. What is no file but a pipe or a device is
    written to.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    write_chunks(path, [content])


def write_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file whole from its parts; otherwise as ``write_whole``."""
    path = path.resolve()
    make_folder(path.parent)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                device.writelines(chunks)
            return
        with replacing(path) as file:
            file.writelines(chunks)
    except OSError as error:
        raise disk_error(path, error) from error
