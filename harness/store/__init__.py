"""Stores of results: records of runs, and the cells of suites that they belong to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import results_folder
from harness.store.failures import ELSEWHERE, EmptyDatabase, check_folder, make_folder

if TYPE_CHECKING:
    from harness.store.base import ResultStore
    from harness.store.sql import SqlStore

__all__ = [
    "DATABASE",
    "check_home",
    "open_home",
    "open_store",
    "read_home",
    "results_home",
    "store_address",
]

DATABASE = "harness.db"
"""File name of the result database in a results folder."""


def results_home() -> Path:
    """Return the folder of the database and the run folders: $HARNESS_HOME, else ``results``."""
    return results_folder()


def store_address(home: Path) -> Path | str:
    """Return the database of a results folder: $HARNESS_STORE, else ``harness.db`` in the folder.

    Args:
        home: the results folder, which holds the run folders wherever the database is.
    """
    return os.environ.get("HARNESS_STORE") or home / DATABASE


def open_home(home: Path, *, create: bool = True, write: bool = True) -> SqlStore:
    """Open the result database of a results folder; arguments and errors as ``open_store``.

    With ``create`` the folder is made too: run folders and locks are in it wherever the store is.
    """
    if create:
        make_folder(home, ELSEWHERE)
    return open_store(store_address(home), create=create, write=write)


def check_home(home: Path) -> None:
    """Check that a results folder is there or can be made; nothing is kept.

    Raises:
        MachineError: it cannot be made, or a file has the name.
    """
    check_folder(home, ELSEWHERE)


def read_home(home: Path) -> ResultStore:
    """Open the result database of a results folder to read it; an empty store where none is yet."""
    from harness.store.memory import MemoryStore

    address = store_address(home)
    if isinstance(address, Path) and not address.exists():
        return MemoryStore()
    try:
        return open_store(address, create=False, write=False)
    except EmptyDatabase:
        if isinstance(address, Path):  # no process leaves a file without content
            raise
        return MemoryStore()


def open_store(
    path_or_url: Path | str | None = None, *, create: bool = True, write: bool = True
) -> SqlStore:
    """Open the result database; a new one is made at the current schema version.

    Args:
        path_or_url: a file or an SQLAlchemy URL; that of ``results_home()`` when None.
        create: make the database when there is none.
        write: without, a database that cannot be written (on a read-only disk, of another user)
            is opened to be read.

    Raises:
        StoreError: the database is of an older or newer schema, is not one of the harness, or
            there is none and ``create`` is False.
        MachineError: the folder cannot be written, or the disk is full.
    """
    from harness.store.sql import open_database  # SQLAlchemy takes 0.2 s to import

    address = path_or_url or store_address(results_home())
    return open_database(address, create=create, write=write or create)
