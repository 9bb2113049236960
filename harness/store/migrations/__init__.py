"""The versions of the database schema, and how to get from one to the next.

Alembic is driven from here (no ``alembic.ini``). Its version table is called ``harness_schema``,
so that an Optuna study, which has a table ``alembic_version``, is never taken for a result store.
It is imported only to migrate: the names of the files (``v0001_runs.py``) say which versions exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnClause, Connection, column, inspect, select, table

from harness.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["VERSION_TABLE", "config", "head", "known_versions", "stored_version", "upgrade"]

VERSION_TABLE = "harness_schema"
FOLDER = Path(__file__).parent
VERSIONS: Sequence[Path] = (FOLDER / "versions",)
"""Folders of migrations."""


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for this folder."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", _escaped(FOLDER))
    settings.set_main_option("path_separator", "newline")
    settings.set_main_option("version_locations", "\n".join(map(_escaped, VERSIONS)))
    settings.attributes["connection"] = connection
    return settings


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def head() -> str:
    """Return the schema version that this harness writes."""
    return max(known_versions())


def known_versions() -> frozenset[str]:
    """Return all schema versions that this harness can upgrade from."""
    names = [path.name for folder in VERSIONS for path in folder.glob("v*.py")]
    return frozenset(m[1] for name in names if (m := re.match(r"v(\d{4})_", name)))


def stored_version(connection: Connection, elsewhere: str) -> str | None:
    """Return the schema version of a database, None when it is empty.

    Args:
        connection: to the database.
        elsewhere: advice where it is another application's.

    Raises:
        StoreError: its tables are another application's.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if VERSION_TABLE not in tables:
        listed = ", ".join(sorted(tables)[:5])
        raise StoreError(f"not a database of the harness (it holds {listed}); {elsewhere}")
    number: ColumnClause[str] = column("version_num")
    versions = connection.scalars(select(number).select_from(table(VERSION_TABLE))).all()
    if len(versions) != 1:
        raise StoreError(
            f"the schema version is damaged: {VERSION_TABLE} holds {len(versions)} rows"
        )
    return versions[0]


def upgrade(connection: Connection) -> None:
    """Bring a database to ``head()`` within the connection's transaction."""
    from alembic import command  # 0.2 s, and most commands find the schema as it should be

    command.upgrade(config(connection), "head")
