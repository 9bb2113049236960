"""A store on a PostgreSQL server: refusals, lost connections, writers and readers at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import event, text

from harness.errors import MachineError, StoreError
from harness.store import migrations, open_store, read_home
from harness.store.failures import TransientError, explain
from harness.store.postgresql import public_name
from harness.store.records import Cell, RunRecord
from harness.store.sql import SqlStore, database_of, upgrade_database
from tests.postgresql import Server, running

MakeRecord = Callable[..., RunRecord]

SECRET = "correct-horse"


@pytest.fixture
def store(server_store: str) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(server_store)) as opened:
        yield opened


@pytest.fixture
def without_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.sql.DELAYS", ())


# --- addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql+pymysql://u:correct-horse@h/d", r"mysql: not supported: its keys are too short"),
        ("mariadb://u:correct-horse@h/d", r"mariadb: not supported.* cannot be undone; write post"),
        ("oracle://u:correct-horse@h/d", "results are stored in SQLite or PostgreSQL"),
        ("sqlite://", "results are stored in SQLite or PostgreSQL"),
        ("postgresql+psycopg2://u:correct-horse@h/d", r"driver 'psycopg2' is not supported"),
        ("://u:correct-horse@h", "no address of a database"),
        ("postgresql+psycopg://u:correct-horse@h:port/d", "no address of a database"),
        ("postgresql+psycopg://u:battery@correct-horse@h/d", "write an @ in the password as %40"),
    ],
)
def test_other_addresses_are_refused_with_the_reason(address: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised:
        open_store(address)
    assert SECRET not in str(raised.value)
    assert "postgresql+psycopg://" in str(raised.value)


def test_messages_show_neither_password_nor_parameters() -> None:
    url = database_of(
        f"postgresql://u:{SECRET}@h:5433/d?password={SECRET}&options=-csearch_path%3Dx"
    ).url
    assert public_name(url) == "postgresql+psycopg://u:***@h:5433/d"


def test_a_missing_driver_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install -e '\.\[postgres\]'"):
        open_store("postgresql+psycopg://u@h/d")


def test_the_parameters_of_an_address_come_before_those_of_the_harness(server_store: str) -> None:
    parameters = "application_name=mine&options=-c%20statement_timeout%3D1234"
    names = ("application_name", "statement_timeout", "lock_timeout")
    with (
        contextlib.closing(open_store(f"{server_store}?{parameters}")) as store,
        store.engine.connect() as connection,
    ):
        values = [connection.scalar(text(f"SHOW {name}")) for name in names]
    assert values == ["mine", "1234ms", "30s"]


# --- refusals of the server ---------------------------------------------------------------


@pytest.mark.usefixtures("without_delays")
def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    with pytest.raises(TransientError) as raised:
        open_store(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/d")
    assert "postgresql+psycopg://u:***@127.0.0.1:1/d: " in str(raised.value)
    assert "Try: pg_isready" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_database_that_is_not_there_says_how_to_make_it(postgresql: Server) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist; make it with: creat'):
        open_store(postgresql.url("nowhere"))


def test_an_unknown_user_says_where_the_user_comes_from(postgresql: Server) -> None:
    with pytest.raises(StoreError, match=r'role "nobody" does not exist; check the user in HARN'):
        open_store(postgresql.url("postgres", user="nobody"))


def test_a_wrong_password_is_not_shown(postgresql: Server) -> None:
    postgresql.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    rules = postgresql.data / "pg_hba.conf"
    rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    postgresql.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)
    with pytest.raises(StoreError, match=r"password authentication failed.*pgpass") as raised:
        open_store(postgresql.url("postgres", user=f"locked:{SECRET}"))
    assert SECRET not in str(raised.value)


def test_a_database_of_another_encoding_is_refused(postgresql: Server) -> None:
    postgresql.execute("CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"encoding is LATIN1.*createdb -E UTF8"):
        open_store(postgresql.url("latin"))


def test_another_applications_database_is_refused_and_left_alone(postgresql: Server) -> None:
    url = postgresql.create()
    name = url.rpartition("/")[2]
    postgresql.execute("CREATE TABLE studies (a integer)", name)
    with pytest.raises(StoreError, match=r"holds studies.*set HARNESS_STORE to another database"):
        open_store(url)
    assert tables(postgresql, url) == {"studies"}


def test_an_empty_database_becomes_a_store_when_something_is_written(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_STORE", postgresql.create())
    assert list(read_home(tmp_path).ids()) == []
    with pytest.raises(StoreError, match="empty, no result database yet; a suite"):
        open_store(create=False)
    open_store().close()
    open_store(create=False).close()


def test_a_user_who_may_only_read_reads(
    server_store: str, postgresql: Server, make_record: MakeRecord
) -> None:
    with contextlib.closing(open_store(server_store)) as store:
        store.add(make_record("aaaa"))
    name = server_store.rpartition("/")[2]
    postgresql.execute("DROP ROLE IF EXISTS reader")
    postgresql.execute("CREATE ROLE reader LOGIN")
    postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    with contextlib.closing(
        open_store(postgresql.url(name, user="reader"), create=False, write=False)
    ) as store:
        assert store.get("aaaa") == make_record("aaaa")
        with pytest.raises(StoreError, match=r"permission denied.*GRANT ALL"):
            store.add(make_record("bbbb"))
    with pytest.raises(StoreError, match="permission denied for schema public"):
        open_store(postgresql.url(postgresql.create().rpartition("/")[2], user="reader"))


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("53100", MachineError, "the server's disk is full; nothing was stored"),
        ("25006", StoreError, "primary server"),
        ("55P03", StoreError, "another process has been writing for 30 s; try again"),
        ("57P01", TransientError, "pg_isready"),
        ("40P01", TransientError, "what happened"),
        ("XX001", StoreError, "rebuild it with: harness db import"),
        ("22003", StoreError, "h/d: what happened"),
    ],
)
def test_errors_of_the_server_name_address_and_remedy(
    state: str, kind: type[Exception], words: str
) -> None:
    raised: Any = RuntimeError("what\n happened")
    raised.sqlstate = state
    explained = explain("h/d", raised)
    assert type(explained) is kind
    assert str(explained).startswith("h/d: ")
    assert words in str(explained)


# --- schema -------------------------------------------------------------------------------


@pytest.fixture
def old(postgresql: Server, make_record: MakeRecord) -> Iterator[str]:
    """A store of schema version 0003, which had a table that later ones have not."""
    url = postgresql.create()
    database = database_of(url)
    engine = database.engine()
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0003")
    engine.dispose()
    yield url
    postgresql.drop(url)


def tables(server: Server, url: str) -> set[object]:
    found = server.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url.rpartition("/")[2]
    )
    return {name for (name,) in found}


def test_an_older_store_is_upgraded(old: str, postgresql: Server, make_record: MakeRecord) -> None:
    with pytest.raises(StoreError, match=r"has schema version 0003.*with: harness db upgrade$"):
        open_store(old)
    assert "comparisons" in tables(postgresql, old)
    assert upgrade_database(old) == ("0003", migrations.head())
    assert "comparisons" not in tables(postgresql, old)
    with contextlib.closing(open_store(old)) as store:
        store.add(make_record("aaaa"))
        assert store.get("aaaa") == make_record("aaaa")


def test_an_upgrade_that_fails_changes_nothing(
    old: str, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = migrations.upgrade

    def failing(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        connection.execute(text("SELECT * FROM nowhere"))  # type: ignore[attr-defined]

    monkeypatch.setattr(migrations, "upgrade", failing)
    with pytest.raises(StoreError, match='"nowhere" does not exist'):
        upgrade_database(old)
    assert "comparisons" in tables(postgresql, old)


# --- lost connections ---------------------------------------------------------------------


def end_sessions(server: Server, url: str) -> None:
    """End every session of a database, as an administrator or a failing network does."""
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{url.rpartition('/')[2]}'"
    )


def test_a_session_that_was_ended_is_replaced(
    store: SqlStore, server_store: str, postgresql: Server, make_record: MakeRecord
) -> None:
    store.add(make_record("aaaa"))
    end_sessions(postgresql, server_store)
    store.add(make_record("bbbb"))
    end_sessions(postgresql, server_store)
    assert list(store.ids()) == ["aaaa", "bbbb"]


def test_a_record_whose_session_ends_on_the_way_is_stored_once(
    store: SqlStore, server_store: str, postgresql: Server, make_record: MakeRecord
) -> None:
    ended: list[str] = []

    def end_once(_: object, __: object, statement: str, *rest: object) -> None:
        if statement.startswith("INSERT INTO metrics") and not ended:
            ended.append(statement)
            end_sessions(postgresql, server_store)

    event.listen(store.engine, "before_cursor_execute", end_once)
    store.add(make_record("aaaa"))
    assert ended
    assert store.find() == [make_record("aaaa")]


def test_in_a_transaction_nothing_is_repeated_and_nothing_stays(
    store: SqlStore, server_store: str, postgresql: Server, make_record: MakeRecord
) -> None:
    def added() -> None:
        with store.transaction():
            store.add(make_record("aaaa"))
            end_sessions(postgresql, server_store)
            store.add(make_record("bbbb"))

    with pytest.raises(TransientError):
        added()
    assert list(store.ids()) == []
    store.add(make_record("cccc"))
    assert list(store.ids()) == ["cccc"]


def test_a_server_that_is_restarted_is_waited_for(
    make_record: MakeRecord, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.sql.DELAYS", (0.2,) * 100)
    with running() as server:
        store = open_store(server.create_store())
        store.add(make_record("aaaa"))
        server.stop()
        restart = threading.Timer(1.0, server.start)
        restart.start()
        began = time.monotonic()
        store.add(make_record("bbbb"))
        restart.join()
        assert time.monotonic() - began > 1.0
        assert list(store.ids()) == ["aaaa", "bbbb"]
        server.stop()
        monkeypatch.setattr("harness.store.sql.DELAYS", (0.01, 0.01))
        with pytest.raises(TransientError, match="pg_isready"):
            store.ids()
        store.close()


# --- at once ------------------------------------------------------------------------------


def test_a_writer_waits_for_another_and_gives_up(
    store: SqlStore, server_store: str, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.postgresql.WAIT", 0.3)
    with contextlib.closing(open_store(server_store)) as other:
        with store.transaction():
            store.add(make_record("aaaa"))
            assert list(other.ids()) == [], "readers wait for nobody"
            with pytest.raises(StoreError, match="try again"):
                other.add(make_record("bbbb"))
        other.add(make_record("bbbb"))
        assert list(other.ids()) == ["aaaa", "bbbb"]


def test_a_record_that_is_replaced_while_it_is_read_is_read_whole(
    store: SqlStore, server_store: str, make_record: MakeRecord
) -> None:
    old = make_record("aaaa", status="validated", notes=("old",))
    new = make_record("aaaa", notes=("new",), history=())
    store.add(old)
    with contextlib.closing(open_store(server_store)) as other:
        replaced: list[str] = []

        def replace_once(_: object, __: object, statement: str, *rest: object) -> None:
            if "FROM notes" in statement and not replaced:
                replaced.append(statement)
                other.add(new)

        event.listen(store.engine, "before_cursor_execute", replace_once)
        assert store.find() == [old]
        assert replaced
    assert store.find() == [new]


WRITER = """
import sys
from harness.store import open_store
from harness.store.files import read_record
from pathlib import Path
from typing import Any
record = read_record(Path(sys.argv[2]))
store = open_store(sys.argv[1])
for number in range(int(sys.argv[4])):
    own = f"w{sys.argv[3]}r{number:04d}"
    store.add(record.model_copy(update={"run_id": own}))
    store.add(record.model_copy(update={"run_id": f"shared{number:04d}"}))
    if number % 50 == 0:
        store.ids()
"""
OPENER = "import sys; from harness.store import open_store; open_store(sys.argv[1]).close()"


def at_once(code: str, *arguments: tuple[str, ...]) -> list[str]:
    """Run processes at once and return their errors."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *given], stderr=subprocess.PIPE, text=True)
        for given in arguments
    ]
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    return [error for error, code in ended if code]


def race(url: str, folder: Path, make_record: MakeRecord, writers: int, records: int) -> None:
    from harness.store.files import write_record

    write_record(folder / "record.json", make_record("aaaa"))
    arguments = [
        (url, str(folder / "record.json"), str(number), str(records)) for number in range(writers)
    ]
    assert at_once(WRITER, *arguments) == []
    with contextlib.closing(open_store(url)) as store:
        ids = list(store.ids())
        expected = {f"w{w}r{n:04d}" for w in range(writers) for n in range(records)}
        assert sorted(ids) == sorted(expected | {f"shared{n:04d}" for n in range(records)})
        assert list(store.check()) == []


def test_writers_lose_and_double_nothing(
    server_store: str, tmp_path: Path, make_record: MakeRecord
) -> None:
    race(server_store, tmp_path, make_record, writers=3, records=20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_writers_of_a_thousand_records(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, make_record: MakeRecord
) -> None:
    url = (
        f"sqlite:///{tmp_path}/harness.db"
        if kind == "sqlite"
        else request.getfixturevalue("server_store")
    )
    race(url, tmp_path, make_record, writers=8, records=1000)


@pytest.mark.parametrize(
    ("processes", "rounds"), [(3, 1), pytest.param(8, 20, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(1800)
def test_processes_that_open_an_empty_database_at_once(
    processes: int, rounds: int, postgresql: Server
) -> None:
    for _ in range(rounds):
        url = postgresql.create()
        assert at_once(OPENER, *[(url,)] * processes) == []
        with contextlib.closing(open_store(url, create=False)) as store:
            assert list(store.check()) == []
        postgresql.drop(url)


def test_two_plans_at_once_leave_one_of_them_whole(server_store: str, store: SqlStore) -> None:
    def planned(prefix: str) -> None:
        with contextlib.closing(open_store(server_store)) as own:
            for number in range(10):
                own.plan("main", "", cells(f"{prefix}{number}"))

    def cells(run_id: str) -> list[Cell]:
        return [
            Cell(suite="main", label=f"R{i}", dataset="atlas", seed=0, position=i, run_id=run_id)
            for i in range(20)
        ]

    threads = [threading.Thread(target=planned, args=(prefix,)) for prefix in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (last,) = {cell.run_id for cell in store.cells("main")}
    assert list(store.cells("main")) == cells(last)
