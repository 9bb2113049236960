"""Write the next migration: ``python -m harness.store.migrations "what changes"``.

Compares ``tables.py`` with the newest schema and writes the difference, to be read and mended by
a person, into ``versions/``.
"""

from __future__ import annotations

import sys

from alembic import command
from sqlalchemy import create_engine

from harness.store import migrations

__all__ = ["write_migration"]


def write_migration(message: str) -> str:
    """Write a migration with the next number and return its path."""
    number = f"{int(migrations.head()) + 1:04d}"
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            migrations.upgrade(connection)
            alembic = migrations.config(connection)
            alembic.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
            script = command.revision(
                alembic,
                message,
                autogenerate=True,
                rev_id=number,
                version_path=str(migrations.VERSIONS[-1]),
            )
    finally:
        engine.dispose()
    assert script is not None
    assert not isinstance(script, list)
    return script.path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m harness.store.migrations MESSAGE")
    print(write_migration(sys.argv[1]))
