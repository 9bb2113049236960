"""What to tell a person when the database or the disk refuses."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.errors import MachineError, StoreError, UnreachableStoreError

__all__ = [
    "ELSEWHERE",
    "WAIT",
    "disk_error",
    "explain",
    "is_damaged",
    "make_folder",
    "not_a_database",
]

WAIT = 30
"""Seconds to wait for another process to finish writing."""

ELSEWHERE = "set HARNESS_HOME to another folder"
"""What to do when the results folder will not do."""


def disk_error(path: Path, error: OSError, remedy: str = "") -> MachineError:
    """Return the error to raise for one of the operating system's.

    Args:
        path: what was to be written.
        error: what the system said.
        remedy: what to do about it.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"{path}: the disk is full; nothing was stored")
    said = f"{path}: cannot write here ({error.strerror or error})"
    return MachineError(f"{said}; {remedy}" if remedy else said)


def make_folder(path: Path, remedy: str = "") -> None:
    """Make a folder and those above it, unless it is there.

    Args:
        path: the folder.
        remedy: what to do when it cannot be made.

    Raises:
        MachineError: it cannot be made, or a file has the name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        what = "is a file, not a folder"
    except OSError as error:
        what = f"this folder cannot be made ({error.strerror})"
    else:
        return
    raise MachineError(f"{path}: {what}; {remedy}" if remedy else f"{path}: {what}")


def not_a_database(place: str) -> str:
    """Return what to say of a file that SQLite did not write."""
    return f"{place}: not a database; move it away, or {ELSEWHERE}"


def is_damaged(place: str, error: BaseException, rebuild: str) -> str:
    """Return what to say of a database that is damaged.

    Args:
        place: its file.
        error: what a reader raised.
        rebuild: command that makes it again.
    """
    reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
    return (
        f"{place}: the database is damaged ({reason}); move it away and rebuild it with: {rebuild}"
    )


IMPORT = "harness db import results/records"
"""Command that makes a result database again."""


def explain(
    place: str, error: BaseException, *, rebuild: str = IMPORT
) -> MachineError | StoreError:
    """Return the error to raise for one of the database driver's.

    Args:
        place: file of the database.
        error: what the driver raised; SQLite's carry the name of their code.
        rebuild: command that makes the database again when it is lost.
    """
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return MachineError(f"{place}: the disk is full; nothing was stored")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return MachineError(f"{place}: cannot write here; {ELSEWHERE}")
    if code.startswith("SQLITE_IOERR"):
        return MachineError(f"{place}: the disk is full or does not work ({error})")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        text = f"{place}: another process has been writing for {WAIT} s; try again"
        return UnreachableStoreError(text)
    if code == "SQLITE_NOTADB":
        return StoreError(not_a_database(place))
    if code.startswith("SQLITE_CORRUPT") or isinstance(error, UnicodeDecodeError):
        return StoreError(is_damaged(place, error, rebuild))
    return StoreError(f"{place}: {error}")
