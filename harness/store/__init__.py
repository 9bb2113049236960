"""Where results are kept: records of runs, and the suites that they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import results_folder

if TYPE_CHECKING:
    from harness.store.sql import SqlStore

__all__ = ["DATABASE", "open_store", "results_home"]

DATABASE = "harness.db"
"""File name of the result database."""


def results_home() -> Path:
    """Return the folder of the database and the run folders: $HARNESS_HOME, else ``results``."""
    return results_folder()


def open_store(
    path_or_url: Path | str | None = None, *, create: bool = True, write: bool = True
) -> SqlStore:
    """Open the result database; a new one is made at the current schema version.

    Args:
        path_or_url: a file or an SQLAlchemy URL; ``results_home() / "harness.db"`` when None.
        create: make the database when there is none.
        write: without, a database that cannot be written (on a read-only disk, of another user)
            is opened to be read.

    Raises:
        StoreError: the database is of an older or newer schema, is not one of the harness, or
            there is none and ``create`` is False.
        MachineError: the folder cannot be written, or the disk is full.
    """
    from harness.store.sql import open_database  # SQLAlchemy takes 0.2 s to import

    place = path_or_url or results_home() / DATABASE
    return open_database(place, create=create, write=write or create)
