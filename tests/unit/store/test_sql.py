"""Opening a result database, what its errors say, and how fast it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import environment
from harness.data import folders
from harness.errors import ConfigError, MachineError, StoreError
from harness.store import open_store, results_home
from harness.store.failures import explain
from harness.store.records import RunRecord
from harness.store.sql import SqlStore

MakeRecord = Callable[..., RunRecord]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "harness.db"


@pytest.fixture
def store(database: Path) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(database)) as made:
        yield made


def execute(database: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements outside of the harness; return the rows of the last."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = [connection.execute(statement).fetchall() for statement in statements]
        connection.commit()
    return rows[-1]


# --- where --------------------------------------------------------------------------------


def test_home_is_the_environment_or_a_folder_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", "/somewhere")
    assert results_home() == Path("/somewhere")
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("HARNESS_HOME")
        else:
            monkeypatch.setenv("HARNESS_HOME", unset)
        assert results_home() == Path("results")


@pytest.mark.parametrize("variable", ["HARNESS_HOME", "HARNESS_CACHE", "HARNESS_DATA"])
def test_a_tilde_is_the_home_folder_in_every_variable(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/x")
    found = {
        "HARNESS_HOME": results_home(),
        "HARNESS_CACHE": environment.cache_folder(),
        "HARNESS_DATA": folders.roots()[0],
    }
    assert found[variable] == tmp_path / "x"
    monkeypatch.setenv(variable, "~nobody-of-this-name/x")
    with pytest.raises(ConfigError, match=f"{variable} ~nobody.*: no such user"):
        (results_home(), environment.cache_folder(), folders.roots())


def test_a_tilde_is_the_home_folder_in_the_option_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment.results_folder(Path("~/x")) == tmp_path / "x"


def test_the_default_database_is_in_the_home(make_record: MakeRecord) -> None:
    with contextlib.closing(open_store()) as store:
        store.add(make_record("r1"))
    with contextlib.closing(open_store(results_home() / "harness.db")) as store:
        assert list(store.ids()) == ["r1"]


def test_a_url_names_the_same_database(database: Path, make_record: MakeRecord) -> None:
    with contextlib.closing(open_store(f"sqlite:///{database}")) as store:
        store.add(make_record("r1"))
    with contextlib.closing(open_store(database)) as store:
        assert store.get("r1") == make_record("r1")


def test_a_path_may_hold_any_character(tmp_path: Path, make_record: MakeRecord) -> None:
    database = tmp_path / "50% of #1 ? ü" / "harness.db"
    with contextlib.closing(open_store(database)) as store:
        store.add(make_record("r1"))
    assert database.is_file()


def test_importing_the_package_imports_no_sqlalchemy() -> None:
    modules = "harness.store, harness.store.memory, harness.cli.runs"
    code = f"import sys, {modules}; print('sqlalchemy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- how ----------------------------------------------------------------------------------


def test_every_connection_waits_and_keeps_references(store: SqlStore) -> None:
    with store.engine.connect() as one, store.engine.connect() as two:
        for connection in (one, two):
            for pragma, value in {
                "journal_mode": "wal",
                "busy_timeout": 30_000,
                "foreign_keys": 1,
                "synchronous": 2,
            }.items():
                assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_parts_cannot_belong_to_no_run(store: SqlStore, make_record: MakeRecord) -> None:
    store.add(make_record("r1"))
    store.remove("r1")
    with store.engine.connect() as connection:
        for table in ("metrics", "history", "timings", "diagnostics", "notes"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_two_stores_on_one_file_see_each_other(
    store: SqlStore, database: Path, make_record: MakeRecord
) -> None:
    with contextlib.closing(open_store(database)) as other:
        other.add(make_record("r1"))
        store.add(make_record("r2"))
        assert list(store.ids()) == list(other.ids()) == ["r1", "r2"]


def test_a_writer_waits_for_another(
    store: SqlStore, database: Path, make_record: MakeRecord
) -> None:
    other = (
        f"import sqlite3, time; c = sqlite3.connect({str(database)!r}, isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(0.5);"
        "c.execute('COMMIT'); c.close()"
    )
    with subprocess.Popen([sys.executable, "-c", other], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        began = time.monotonic()
        store.add(make_record("r1"))
        assert time.monotonic() - began > 0.2
    assert store.get("r1") == make_record("r1")


# --- refusals -----------------------------------------------------------------------------


def test_reading_makes_no_database(database: Path) -> None:
    with pytest.raises(StoreError, match=r"no result database at .*harness run SUITE"):
        open_store(database, create=False)
    assert not database.exists()


def test_a_newer_database_is_refused_and_left_alone(database: Path) -> None:
    open_store(database).close()
    execute(database, "UPDATE harness_schema SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"harness\.db: schema version 9999 is newer than the 0"):
        open_store(database)
    assert execute(database, "SELECT version_num FROM harness_schema") == [("9999",)]


def test_another_applications_database_is_refused_and_left_alone(database: Path) -> None:
    # As Optuna's studies are: they have an Alembic version too.
    execute(database, "CREATE TABLE studies (a)", "CREATE TABLE alembic_version (version_num)")
    before = database.read_bytes()
    with pytest.raises(StoreError, match=r"not a database of the harness .*alembic_version, stud"):
        open_store(database)
    assert database.read_bytes() == before


@pytest.mark.parametrize("content", [b"run_id,mrr\n1,0.3\n" * 100, b"\x00" * 5000, b"x"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    database: Path, content: bytes
) -> None:
    database.write_bytes(content)
    with pytest.raises(StoreError, match=r"harness\.db: not a database"):
        open_store(database)
    assert database.read_bytes() == content


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is a folder, not a result database$"):
        open_store(tmp_path)
    (tmp_path / "harness.db").touch()
    with pytest.raises(StoreError, match=rf"database; name {tmp_path}/harness\.db$"):
        open_store(tmp_path)


def test_an_empty_file_becomes_a_database(database: Path, make_record: MakeRecord) -> None:
    database.touch()
    with contextlib.closing(open_store(database)) as store:
        store.add(make_record("r1"))
        assert store.get("r1") == make_record("r1")


def test_a_damaged_database_says_how_to_rebuild_it(database: Path, make_record: MakeRecord) -> None:
    with contextlib.closing(open_store(database)) as store:
        for i in range(50):
            store.add(make_record(f"r{i}"))
    content = bytearray(database.read_bytes())
    content[4096 * 2 : -4096] = b"\xff" * (len(content) - 4096 * 3)
    database.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*harness db import"):  # noqa: SIM117
        with contextlib.closing(open_store(database)) as store:
            store.find()


def test_a_folder_that_cannot_be_made_says_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="set HARNESS_HOME"):
        open_store(tmp_path / "file" / "results" / "harness.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_says_where_to_go(database: Path) -> None:
    open_store(database).close()
    database.parent.chmod(0o500)
    try:
        with pytest.raises(MachineError, match=r"cannot write here.*HARNESS_HOME"):
            open_store(database)
    finally:
        database.parent.chmod(0o700)


def test_a_read_only_database_says_where_to_go(store: SqlStore, make_record: MakeRecord) -> None:
    with store.engine.connect() as connection:  # the pool hands the same connection out again
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(MachineError, match=r"cannot write here.*HARNESS_HOME"):
        store.add(make_record("r1"))


def test_a_full_disk_stores_nothing_of_the_record(store: SqlStore, make_record: MakeRecord) -> None:
    store.add(make_record("r1"))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    large = make_record("r2", history=tuple({"loss": float(i)} for i in range(5000)))
    with pytest.raises(MachineError, match="the disk is full; nothing was stored"):
        store.add(large)
    assert list(store.ids()) == ["r1"]
    assert list(store.check()) == []


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("SQLITE_IOERR_WRITE", MachineError, "the disk is full or does not work"),
        ("SQLITE_CANTOPEN", MachineError, "HARNESS_HOME"),
        ("SQLITE_READONLY_DIRECTORY", MachineError, "HARNESS_HOME"),
        ("SQLITE_BUSY_SNAPSHOT", StoreError, "another process"),
        ("SQLITE_ERROR", StoreError, "what happened"),
    ],
)
def test_errors_of_the_database_name_file_and_remedy(
    code: str, error: type[Exception], words: str
) -> None:
    raised = sqlite3.OperationalError("what happened")
    raised.sqlite_errorname = code
    explained = explain("results/harness.db", raised)
    assert isinstance(explained, error)
    assert "results/harness.db: " in str(explained)
    assert words in str(explained)


# --- check --------------------------------------------------------------------------------


def test_check_finds_rows_without_a_run(
    store: SqlStore, database: Path, make_record: MakeRecord
) -> None:
    store.add(make_record("r1"))
    assert list(store.check()) == []
    execute(database, "INSERT INTO notes VALUES ('nowhere', 0, 'text')")
    assert list(store.check()) == [
        "notes: a row belongs to no run; remove it with: harness db check --repair"
    ]


def test_check_names_the_record_that_was_edited(
    store: SqlStore, database: Path, make_record: MakeRecord
) -> None:
    for run_id in ("r1", "r2", "r3"):
        store.add(make_record(run_id))
    execute(
        database,
        "UPDATE metrics SET split = 'train' WHERE run_id = 'r2' AND split = 'valid'",
        "UPDATE history SET numbers = '{' WHERE run_id = 'r3'",
    )
    problems = store.check()
    assert len(problems) == 2
    assert "run r2: the stored record is damaged: metrics." in problems[0]
    assert "run r3: the stored record is damaged: " in problems[1]
    with pytest.raises(StoreError, match="run r2"):
        store.get("r2")


# --- speed (processor time: other programs may be running) -----------------------------------


def test_a_record_with_200_epochs_is_added_fast(store: SqlStore, make_record: MakeRecord) -> None:
    history = tuple({"epoch": float(e), "loss": 1 / (e + 1), "mrr": 0.3} for e in range(200))
    seconds = []
    for i in range(8):
        record = make_record(f"r{i}", history=history)
        began = time.process_time()
        store.add(record)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.020


def test_statuses_of_10_000_runs_are_read_fast(
    store: SqlStore, database: Path, make_record: MakeRecord
) -> None:
    store.add(make_record("first"))
    columns = [str(row[1]) for row in execute(database, "PRAGMA table_info(runs)")]
    copied = [name for name in columns if name not in ("number", "run_id")]
    execute(
        database,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
        f"INSERT INTO runs (run_id, {', '.join(copied)}) "
        f"SELECT printf('%012x', i), {', '.join(copied)} FROM n, runs",
    )
    seconds = []
    for _ in range(5):
        began = time.process_time()
        assert len(store.statuses()) == 10_000
        seconds.append(time.process_time() - began)
    began = time.process_time()
    assert len(store.find()) == 10_000
    assert min(seconds) < 0.1 * (time.process_time() - began), "as long as reading the records"


def test_find_returns_every_one_of_many(
    store: SqlStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.sql.CHUNK", 7)
    wanted = [f"r{i:04}" for i in range(30)]
    for run_id in wanted[::-1]:
        store.add(make_record(run_id))
    assert list(store.find(ids=wanted)) == [make_record(run_id) for run_id in wanted[::-1]]


def test_find_takes_as_many_statements_for_many_runs_as_for_one(
    store: SqlStore, make_record: MakeRecord
) -> None:
    from sqlalchemy import event

    def statements() -> int:
        seen: list[str] = []

        def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
            seen.append(statement)

        event.listen(store.engine, "before_cursor_execute", note)
        store.find(model="rotate")
        event.remove(store.engine, "before_cursor_execute", note)
        return len(seen)

    store.add(make_record("r0"))
    for_one = statements()
    for i in range(1, 30):
        store.add(make_record(f"r{i}"))
    assert statements() == for_one
