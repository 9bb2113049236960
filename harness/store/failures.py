"""Errors of the database and the disk, as messages that name the next command."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import MachineError, StoreError

__all__ = [
    "ELSEWHERE",
    "WAIT",
    "EmptyDatabase",
    "TransientError",
    "check_folder",
    "disk_error",
    "explain",
    "is_damaged",
    "is_transient",
    "make_folder",
    "not_a_database",
]


class TransientError(StoreError):
    """A server could not be reached or ended the transaction, or another process was writing: the
    same may succeed later."""


class EmptyDatabase(StoreError):  # noqa: N818 - nothing is wrong with it
    """There is a database, and nothing was stored in it yet."""


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
    message = f"{path}: cannot write here ({error.strerror or error})"
    return MachineError(f"{message}; {remedy}" if remedy else message)


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
        problem = "is a file, not a folder"
    except OSError as error:
        problem = f"this folder cannot be made ({error.strerror})"
    else:
        return
    raise MachineError(f"{path}: {problem}; {remedy}" if remedy else f"{path}: {problem}")


def check_folder(path: Path, remedy: str = "") -> None:
    """Check that a folder can be made and written to; arguments and errors as ``make_folder``.

    Permissions do not tell (root may write in /proc, and cannot), so another folder is made in the
    nearest one that is there, and removed again.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if existing == path:
        make_folder(path, remedy)  # refuses a file
    try:
        Path(tempfile.mkdtemp(dir=existing)).rmdir()
    except OSError as error:
        what = "written to" if existing == path else "made"
        problem = f"{path}: this folder cannot be {what} ({error.strerror})"
        raise MachineError(f"{problem}; {remedy}" if remedy else problem) from None


def not_a_database(database: str) -> str:
    """Return the message on a file that SQLite did not write."""
    return f"{database}: not a database; move it away, or {ELSEWHERE}"


def is_damaged(database: str, error: BaseException, rebuild: str) -> str:
    """Return the message on a damaged database.

    Args:
        database: its file or address.
        error: what a reader raised.
        rebuild: command that makes it again.
    """
    reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
    return (
        f"{database}: the database is damaged ({reason}); move it away and rebuild it with: "
        f"{rebuild}"
    )


IMPORT = "harness db import results/records"
"""Command that makes a result database again."""


def explain(
    database: str, error: BaseException, *, rebuild: str = IMPORT
) -> MachineError | StoreError:
    """Return the error to raise for one of the database driver's.

    Args:
        database: file or address of the database, without a password.
        error: error of the driver, which carries the name of SQLite's code or PostgreSQL's state.
        rebuild: command that makes the database again when it is lost.
    """
    if hasattr(error, "sqlstate"):
        return _of_postgresql(database, error, rebuild)
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return MachineError(f"{database}: the disk is full; nothing was stored")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return MachineError(f"{database}: cannot write here; {ELSEWHERE}")
    if code.startswith("SQLITE_IOERR"):
        return MachineError(f"{database}: the disk is full or does not work ({error})")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        text = f"{database}: another process has been writing for {WAIT} s; try again"
        return TransientError(text)
    if code == "SQLITE_NOTADB":
        return StoreError(not_a_database(database))
    if code.startswith("SQLITE_CORRUPT") or isinstance(error, UnicodeDecodeError):
        return StoreError(is_damaged(database, error, rebuild))
    return StoreError(f"{database}: {error}")


def _of_postgresql(database: str, error: BaseException, rebuild: str) -> MachineError | StoreError:
    """Return the error to raise for one of PostgreSQL or its driver."""
    state, text = _state(error), " ".join(str(error).split())
    if state == "53100":
        return MachineError(f"{database}: the server's disk is full; nothing was stored")
    if state.startswith("XX"):
        return StoreError(is_damaged(database, error, rebuild))
    if state.startswith(TRANSIENT):
        advice = "is the server running there? Try: pg_isready -h HOST -p PORT"
        return TransientError(f"{database}: {text}" + f"; {advice}" * (state not in CONFLICTS))
    advice = next((a for prefix, a in ADVICE.items() if state.startswith(prefix)), "")
    return StoreError(f"{database}: {text}" + f"; {advice}" * bool(advice))


def is_transient(error: BaseException | None) -> bool:
    """Tell whether a server could not be reached, so that the same may succeed a little later."""
    return hasattr(error, "sqlstate") and _state(error).startswith(TRANSIENT)


def _state(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error; where a connection was refused its text tells it."""
    if (state := getattr(error, "sqlstate", None)) is not None:
        return str(state)
    refused = (state for words, state in REFUSALS.items() if words in str(error))
    return next(refused, NO_CONNECTION if type(error).__name__ == "OperationalError" else "")


NO_CONNECTION = "08000"
CONFLICTS = ("40001", "40P01")
"""States of a transaction that failed because of another one."""
TRANSIENT = ("08", "57P", *CONFLICTS)
"""Beginnings of the states after which the same transaction may succeed
(https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
REFUSALS: Mapping[str, str] = {
    "authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    'FATAL:  role "': "28000",
    'FATAL:  database "': "3D000",
    "too many clients": "53300",
    "connection slots are reserved": "53300",
}
"""Words with which a server refuses a connection -> state."""
ADVICE: Mapping[str, str] = {
    "28": "check the user in HARNESS_STORE, and the password there or in ~/.pgpass",
    "3D000": "make it with: createdb -E UTF8 -T template0 NAME",
    "3F000": "make it with: CREATE SCHEMA NAME",
    "25006": "write to the primary server: set HARNESS_STORE to it",
    "42501": "the owner allows it with: GRANT CREATE ON DATABASE NAME TO USER; "
    "GRANT ALL ON SCHEMA public TO USER; GRANT ALL ON ALL TABLES IN SCHEMA public TO USER",
    "53300": "close other programs that use the server, or raise its max_connections",
    "55P03": f"another process has been writing for {WAIT} s; try again",
    "57014": "the server cancelled it, see its statement_timeout; try again",
}
"""Beginning of a state -> what to do."""
