"""Files of a run and of a folder of records: written whole or not at all, read with checks.

A run folder ``<home>/runs/<run_id>/`` holds ``record.json`` and ``ranks.npz``.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.config.base import Config
from harness.errors import MachineError, StoreError
from harness.store.benchmarks import BENCHMARK_VERSION, BenchmarkRecord
from harness.store.failures import disk_error, make_folder
from harness.store.records import RECORD_VERSION, RunRecord
from harness.store.rows import first_problem

__all__ = [
    "RANKS",
    "RECORD",
    "read",
    "read_benchmark",
    "read_record",
    "validated",
    "write",
    "write_record",
    "write_whole",
]

RECORD = "record.json"
RANKS = "ranks.npz"

Content = TypeVar("Content", bound=Config)


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record as JSON.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    write(path, record)


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        StoreError: the file is damaged, of another version, or a value is not valid.
        MachineError: the file cannot be read.
    """
    return read(path, RunRecord)


def read_benchmark(path: Path) -> BenchmarkRecord:
    """Read a measurement; errors as ``read_record``."""
    return read(path, BenchmarkRecord, BENCHMARK_VERSION)


def read(path: Path, kind: type[Content], known: int = RECORD_VERSION) -> Content:
    """Read a file of this version of the harness.

    Args:
        path: a JSON file.
        kind: what it holds.
        known: version of its layout.

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
    return validated(content, kind, str(path), known)


def validated(
    content: object, kind: type[Content], source: str, known: int = RECORD_VERSION
) -> Content:
    """Check the decoded content of a file of this version of the harness.

    Args:
        content: decoded JSON.
        kind: type that it becomes.
        source: file, with the line where it has several, for messages.
        known: version of its layout.

    Raises:
        StoreError: it is of another version, or a value is not valid.
    """
    version = content.get("version") if isinstance(content, dict) else None
    if version != known:
        raise StoreError(
            f"{source}: version: this harness reads records of version {known}, this is {version!r}"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise StoreError(f"{source}: {first_problem(error)}") from None


def write(path: Path, content: Config) -> None:
    """Write a file of this version of the harness.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    text = json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_whole(path, (text + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole: a reader, or a crash, finds the old content or the new.

    A link stays a link, and a file keeps its permissions. What is no file but a pipe or a device is
    written to.

    Raises:
        MachineError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    path = path.resolve()
    make_folder(path.parent)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(path, error) from error
