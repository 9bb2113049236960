"""From one schema version to the next: all of it or nothing, and no row is lost."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from harness.errors import StoreError
from harness.store import migrations, open_store
from harness.store.migrations.__main__ import write_migration
from harness.store.records import RunRecord
from harness.store.sql import upgrade_database
from harness.store.tables import Base

MakeRecord = Callable[..., RunRecord]

CURRENT = migrations.head()
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("colour", sa.String(10), nullable=True))
        runs.alter_column("model", new_column_name="contender")
    {then}
"""


@pytest.fixture
def old(
    tmp_path: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return a function that makes a database and then a harness with one schema version more."""

    def make(then: str = "") -> Path:
        with contextlib.closing(open_store(tmp_path / "harness.db")) as store:
            store.add(make_record("r1"))
        versions = tmp_path / "versions"
        versions.mkdir()
        text = NEXT.format(head=migrations.head(), then=then)
        (versions / "v9001_colour.py").write_text(text)
        monkeypatch.setattr(migrations, "VERSIONS", (*migrations.VERSIONS, versions))
        assert migrations.head() == "9001"
        return tmp_path / "harness.db"

    return make


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def test_migrations_build_the_tables_that_are_mapped() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrations.upgrade(connection)
        options = {"compare_type": True, "version_table": migrations.VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_an_older_database_is_refused_with_the_command_that_upgrades_it(
    old: Callable[..., Path],
) -> None:
    database = old()
    with pytest.raises(StoreError, match=rf"uses 9001; .*harness db upgrade {database}"):
        open_store(database)


def test_an_upgrade_keeps_every_row(old: Callable[..., Path]) -> None:
    database = old()
    tables = ["metrics", "history", "timings", "diagnostics", "notes"]
    before = {table: rows(database, f"SELECT * FROM {table}") for table in tables}
    assert all(before.values())
    assert upgrade_database(database) == (CURRENT, "9001")
    # The table that the others refer to was dropped and copied on the way.
    assert {table: rows(database, f"SELECT * FROM {table}") for table in tables} == before
    assert rows(database, "SELECT run_id, contender, colour FROM runs") == [("r1", "rotate", None)]
    assert rows(database, "PRAGMA foreign_key_check") == []


def test_an_upgrade_that_fails_changes_nothing(old: Callable[..., Path]) -> None:
    database = old(then="op.execute('SELECT * FROM nowhere')")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        upgrade_database(database)
    assert rows(database, "SELECT version_num FROM harness_schema") == [(CURRENT,)]
    assert rows(database, "SELECT run_id, model FROM runs") == [("r1", "rotate")]


def test_an_upgrade_of_a_current_database_does_nothing(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    database = tmp_path / "harness.db"
    with contextlib.closing(open_store(database)) as store:
        store.add(make_record("r1"))
    head = migrations.head()
    assert upgrade_database(database) == (head, head)
    with contextlib.closing(open_store(database)) as store:
        assert store.get("r1") == make_record("r1")


def test_only_what_the_harness_wrote_is_upgraded(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no result database"):
        upgrade_database(tmp_path / "harness.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="empty"):
        upgrade_database(tmp_path / "empty.db")
    open_store(tmp_path / "new.db").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.execute("UPDATE harness_schema SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="newer"):
        upgrade_database(tmp_path / "new.db")


def test_the_next_migration_is_written_from_the_mapped_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = migrations.head()
    monkeypatch.setattr(migrations, "VERSIONS", (*migrations.VERSIONS, tmp_path))
    path = Path(write_migration("a new column"))
    assert path == tmp_path / f"v{int(head) + 1:04d}_a_new_column.py"
    assert f"down_revision = '{head}'" in path.read_text()
    assert migrations.head() == f"{int(head) + 1:04d}"
    open_store(tmp_path / "harness.db").close()


def test_the_tables_can_be_made_in_postgresql() -> None:
    for table in Base.metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "ROWID" not in text
        assert text.strip().startswith(f"CREATE TABLE {table.name}")
