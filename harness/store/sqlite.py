"""A result database in a SQLite file."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from harness.errors import StoreError
from harness.store import DATABASE
from harness.store.database import Database
from harness.store.failures import ELSEWHERE, WAIT, make_folder, not_a_database

__all__ = ["SqliteDatabase"]

MAGIC = b"SQLite format 3\x00"
"""First bytes of a database file (https://www.sqlite.org/fileformat.html, section 1.3)."""


class SqliteDatabase(Database):
    """A file in WAL mode, with a file that locks out other processes beside it.

    Args:
        path: the file.
        write: without, a file that this user cannot write is read without locks and without
            further files beside it.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        self.read_only = not write and path.is_file() and not _can_write(path)
        self.url = URL.create("sqlite", database=str(path))
        self.name = str(path)
        self.upgrade_command = f"harness db upgrade {shlex.quote(self.name)}"
        self.elsewhere = ELSEWHERE

    def prepare(self, *, create: bool) -> None:
        """Make the folder of a new database; refuse a folder, or nothing to open."""
        if self.read_only:
            with self.explained():
                self._check_content()
            return
        if self.path.is_dir():
            database = self.path / DATABASE
            hint = f"; name {database}" if database.is_file() else ""
            raise StoreError(f"{self.path}: is a folder, not a result database{hint}")
        if not create and not self.path.exists():
            raise StoreError(
                f"no result database at {self.path}: run a suite (harness run SUITE), take over "
                "records (harness db import DIR), or set HARNESS_HOME to the folder that has one"
            )
        with self.explained():
            make_folder(self.path.parent, ELSEWHERE)
            # Waiting for a lock file never says that it cannot be made.
            with Path(f"{self.path}.lock").open("a"):
                pass
            if create:
                self.path.touch()  # the file that SQLite makes ignores half of the umask
            self._check_content()

    def lock(self) -> AbstractContextManager[Any]:
        """Lock out other processes that open or upgrade the database."""
        if self.read_only:
            return nullcontext()
        return FileLock(f"{self.path}.lock", timeout=2 * WAIT)

    def on_connect(self, connection: sqlite3.Connection, *, migrating: bool) -> None:
        """Set up a connection; foreign keys are off while tables are migrated.

        Alembic changes a SQLite table by dropping and copying it, which would delete the rows that
        refer to it.
        """
        connection.text_factory = _text
        connection.isolation_level = None  # transactions begin in on_begin, DDL included
        connection.execute(f"PRAGMA busy_timeout = {WAIT * 1000}")
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if migrating else 'ON'}")
        # A stored run may have cost hours: it is on the disk when add() returns.
        connection.execute("PRAGMA synchronous = FULL")

    def on_begin(self, connection: Connection) -> None:
        """Begin a transaction; a writer takes the lock before it reads.

        SQLite cannot wait for the lock once a reader has a view.
        """
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    def after_opening(self, engine: Engine) -> None:
        """Switch to write-ahead logging, which is a property of the file."""
        if self.read_only:
            return
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()

    def engine(self, *, migrating: bool = False, **options: Any) -> Engine:
        """Return a new engine, which connects when it is used."""
        if self.read_only:
            log = Path(f"{self.path}-wal")
            # The database is complete unless a log lies beside it, which its writer has yet to add.
            is_complete = not log.is_file() or not log.stat().st_size
            address = f"{self.path.resolve().as_uri()}?mode=ro{'&immutable=1' * is_complete}"
            options["creator"] = lambda: _connected_to_read(address, log)
        return super().engine(migrating=migrating, **options)

    def _check_content(self) -> None:
        """Refuse a file that holds something else than a SQLite database."""
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                # SQLite takes a file of a few bytes for an empty database, and overwrites it.
                if file.read(len(MAGIC)) != MAGIC:
                    raise StoreError(not_a_database(str(self.path)))


def _can_write(path: Path) -> bool:
    """Tell whether this user can write a database, and the files that SQLite makes beside it."""
    files = [Path(f"{path}{ending}") for ending in ("", ".lock", "-wal", "-shm")]
    writable = all(os.access(file, os.W_OK) for file in files if file.exists())
    return os.access(path.parent, os.W_OK | os.X_OK) and writable


def _connected_to_read(address: str, log: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorname.startswith("SQLITE_CANTOPEN") and log.is_file():
            raise StoreError(
                f"{log}: holds changes of a process that did not end; they are added to the "
                "database when somebody who may write there runs: harness db check"
            ) from error
        raise
    return connection


def _text(stored: bytes) -> str | bytes:
    """Return text; other bytes as they are, for the record is refused alone."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored
