"""What to tell a person when the database or the disk refuses."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.errors import MachineError, StoreError

__all__ = ["WAIT", "disk_error", "explain", "not_a_database"]

WAIT = 30
"""Seconds to wait for another process to finish writing."""

ELSEWHERE = "set HARNESS_HOME to another folder"


def disk_error(path: Path, error: OSError) -> MachineError:
    """Return the error to raise for one of the operating system's."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MachineError(f"{path}: cannot write here ({error.strerror}); {ELSEWHERE}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"{path}: the disk is full; nothing was stored")
    return MachineError(f"{path}: {error.strerror or error}; {ELSEWHERE}")


def not_a_database(place: str) -> str:
    """Return what to say of a file that SQLite did not write."""
    return f"{place}: not a database; move it away, or {ELSEWHERE}"


def explain(place: str, error: BaseException) -> MachineError | StoreError:
    """Return the error to raise for one of the database driver's.

    Args:
        place: file of the database.
        error: what the driver raised; SQLite's carry the name of their code.
    """
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return MachineError(f"{place}: the disk is full; nothing was stored")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return MachineError(f"{place}: cannot write here; {ELSEWHERE}")
    if code.startswith("SQLITE_IOERR"):
        return MachineError(f"{place}: the disk is full or does not work ({error})")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(f"{place}: another process has been writing for {WAIT} s; try again")
    if code == "SQLITE_NOTADB":
        return StoreError(not_a_database(place))
    if code.startswith("SQLITE_CORRUPT"):
        return StoreError(
            f"{place}: the database is damaged ({error}); move it away and rebuild it with: "
            "harness db import results/records"
        )
    return StoreError(f"{place}: {error}")
