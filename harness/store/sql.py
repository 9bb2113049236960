"""The result store in a SQL database, and its opening."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Engine, delete, false, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from harness.config.base import Config
from harness.config.storable import text_problem
from harness.errors import StoreError
from harness.store import migrations
from harness.store.base import (
    MAX_LISTED,
    STAGE,
    DamagedRecords,
    check_plan,
    supersedes,
    takes_place,
)
from harness.store.benchmarks import BenchmarkRecord
from harness.store.database import Database
from harness.store.failures import TransientError, is_transient
from harness.store.postgresql import PostgresDatabase
from harness.store.reading import (
    PARTS,
    REPAIR,
    is_name,
    load_benchmarks,
    load_cells,
    load_runs,
    load_suites,
    names_suite,
)
from harness.store.records import RUN_ID, Cell, Numbers, RunRecord, Status, StoredSuite
from harness.store.rows import benchmark_rows, rows_of
from harness.store.sqlite import SqliteDatabase
from harness.store.tables import (
    Base,
    Benchmark,
    BenchmarkSampleRow,
    CellRow,
    RunRow,
    StoredSuiteRow,
)

__all__ = ["SqlStore", "database_of", "open_database", "upgrade_database"]

CHUNK = 500
"""Ids per statement: databases limit the number of parameters."""
DELAYS = (1, 2, 4, 8, 16, 32)
"""Seconds between attempts to connect to a server again."""
EXAMPLE = "write postgresql+psycopg://USER@HOST/DATABASE, or leave it unset for a SQLite file"
REFUSED = dict.fromkeys(
    ("mysql", "mariadb"),
    "not supported: its keys are too short for the key of a cell, and a migration that fails there "
    "cannot be undone",
)
"""Kind of database -> why it cannot hold results."""


class SqlStore:
    """A result store in a database; contract in :class:`harness.store.base.ResultStore`.

    Args:
        database: an existing database of the current schema version.
        engine: its engine, which ``close`` disposes of.
    """

    def __init__(self, database: Database, engine: Engine) -> None:
        self.database, self.engine = database, engine
        self._reading = engine.execution_options(**database.reading)
        self._writing = engine.execution_options(**database.writing)
        self._open: Connection | None = None
        """The connection of the transaction that is open."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that is written in a ``with`` block one change.

        A block within another belongs to the outer one's change.
        """
        with self._write():
            yield

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with self._begin(self._reading) as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with self._begin(self._writing) as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None

    @contextmanager
    def _begin(self, engine: Engine) -> Iterator[Connection]:
        with self.database.explained(), _connected(engine) as connection, connection.begin():
            yield connection

    def add(self, record: RunRecord) -> None:
        """Keep a record."""
        try:
            self._add(record)
        except TransientError:  # whether or not it was stored, adding it again is right
            self._add(record)

    def _add(self, record: RunRecord) -> None:
        record = record.model_copy(update={"cells": ()})  # cells are stored by ``plan``
        with self._write() as connection:
            is_run = RunRow.run_id == record.run_id
            # Compared inside the transaction: another process may have added the run meanwhile.
            for _, stored in load_runs(connection, [is_run]).records:
                if stored == record or not supersedes(record, stored):
                    return
            # Its metrics, epochs and timings are deleted by the foreign keys.
            connection.execute(delete(RunRow).where(is_run))
            for table, rows in rows_of(record).items():
                if rows:
                    connection.execute(insert(Base.metadata.tables[table]), rows)

    def get(self, run_id: str) -> RunRecord | None:
        """Return one record, by its full id or by a prefix that only one run has."""
        records = self.find(ids=[run_id])
        if not records and run_id and len(matching := self.ids(run_id)) == 1:
            records = self.find(ids=matching)
        return records[0] if records else None

    def find(
        self,
        *,
        model: str | None = None,
        dataset: str | None = None,
        status: str | None = None,
        ids: Iterable[str] | None = None,
        numbers: Numbers | None = None,
    ) -> Sequence[RunRecord]:
        """Return matching records, oldest first, in six statements per 500 ids."""
        values = {RunRow.model: model, RunRow.dataset: dataset, RunRow.status: status}
        conditions = [_is(column, value) for column, value in values.items() if value is not None]
        batches: list[list[ColumnElement[bool]]] = [[]]
        if ids is not None:
            storable = sorted(run_id for run_id in set(ids) if not text_problem(run_id))
            batches = [[RunRow.run_id.in_(chunk)] for chunk in _chunks(storable)]
        with self._read() as connection:
            loaded = [load_runs(connection, [*conditions, *batch], numbers) for batch in batches]
        # Batches are by id; numbers give the order in which runs were added.
        numbered = sorted((pair for block in loaded for pair in block.records), key=itemgetter(0))
        records = [record for _, record in numbered]
        if problems := {
            run_id: text for block in loaded for run_id, text in block.problems.items()
        }:
            raise DamagedRecords(problems, records)
        return records

    def ids(self, prefix: str = "") -> Sequence[str]:
        """Return the ids that begin with ``prefix``, oldest first."""
        statement = select(RunRow.run_id).order_by(RunRow.number)
        if text_problem(prefix):
            return []
        if prefix:
            statement = statement.where(RunRow.run_id.startswith(prefix, autoescape=True))
        with self._read() as connection:
            # LIKE ignores case in SQLite
            return [i for i in map(str, connection.scalars(statement)) if i.startswith(prefix)]

    def statuses(self) -> Mapping[str, Status]:
        """Return the status of every run by its id, oldest first."""
        with self._read() as connection:
            rows = connection.execute(select(RunRow.run_id, RunRow.status).order_by(RunRow.number))
            # One that was damaged counts as failed: nothing else is known of the run.
            return {i: cast("Status", s if s in STAGE else "failed") for i, s in rows}

    def remove(self, run_id: str) -> bool:
        """Forget a record; True when there was one."""
        with self._write() as connection:
            return connection.execute(delete(RunRow).where(_is(RunRow.run_id, run_id))).rowcount > 0

    def plan(self, suite: str, variant: str, cells: Sequence[Cell]) -> None:
        """Replace the cells of a suite."""
        check_plan(suite, variant, cells)
        of_suite = (CellRow.suite == suite, CellRow.variant == variant)
        with self._write() as connection:
            connection.execute(delete(CellRow).where(*of_suite))
            if cells:
                connection.execute(insert(CellRow), [cell.model_dump() for cell in cells])

    def add_cells(self, cells: Iterable[Cell]) -> Sequence[Cell]:
        """Put each cell where no run stands; return the runs that found another one there."""
        refused = []
        with self._write() as connection:
            stored = {cell.place: cell for cell in load_cells(connection)[0]}
            for cell in cells:
                if takes_place(cell, stored.get(cell.place)):
                    connection.execute(delete(CellRow).where(*_at(cell)))
                    connection.execute(insert(CellRow), [cell.model_dump()])
                    stored[cell.place] = cell
                elif cell.run_id not in ("", stored[cell.place].run_id):
                    refused.append(cell)
        return refused

    def cells(self, suite: str | None = None, variant: str = "") -> Sequence[Cell]:
        """Return the cells of a suite in table order (of all suites and variants when None)."""
        conditions = (
            [] if suite is None else [_is(CellRow.suite, suite), _is(CellRow.variant, variant)]
        )
        with self._read() as connection:
            cells, problems = load_cells(connection, *conditions)
        if problems and suite is not None:
            raise StoreError("\n".join(problems[:MAX_LISTED]))
        return sorted(cells, key=lambda cell: cell.order)

    def add_suite(self, suite: StoredSuite) -> None:
        """Keep the title and the settings of a suite, in place of earlier ones."""
        is_suite = (StoredSuiteRow.suite == suite.suite, StoredSuiteRow.variant == suite.variant)
        with self._write() as connection:
            connection.execute(delete(StoredSuiteRow).where(*is_suite))
            connection.execute(insert(StoredSuiteRow), [suite.model_dump()])

    def suites(self) -> Mapping[tuple[str, str], StoredSuite]:
        """Return title and settings of suites by name and variant."""
        with self._read() as connection:
            suites, _ = load_suites(connection)
        return {(suite.suite, suite.variant): suite for suite in suites}

    def blocks(self) -> Sequence[tuple[str, str, str]]:
        """Return the suite, variant and dataset of all cells, each once, sorted."""
        columns = (CellRow.suite, CellRow.variant, CellRow.dataset)
        with self._read() as connection:
            blocks = connection.execute(select(*columns).distinct()).all()
        return sorted(
            (suite, variant, str(name)) for suite, variant, name in filter(names_suite, blocks)
        )

    def add_benchmark(self, record: BenchmarkRecord) -> None:
        """Keep a measurement."""
        is_record = Benchmark.benchmark_id == record.benchmark_id
        with self._write() as connection:
            if not load_benchmarks(connection, is_record)[0]:
                connection.execute(delete(Benchmark).where(is_record))
                for table, rows in benchmark_rows(record).items():
                    connection.execute(insert(Base.metadata.tables[table]), rows)

    def benchmarks(self, suite: str | None = None) -> Sequence[BenchmarkRecord]:
        """Return the measurements of a suite (of all when None), oldest first."""
        with self._read() as connection:
            if suite is None:
                return list(load_benchmarks(connection)[0].values())
            records, problems = load_benchmarks(connection, _is(Benchmark.suite, suite))
        if problems:
            raise StoreError("\n".join([*problems.values()][:MAX_LISTED]))
        return list(records.values())

    def damaged(self, suites: Iterable[str] | None = None) -> Sequence[str]:
        """Return the rows on suites (on all when None) that cannot be read, without the runs."""
        names = None if suites is None else list(suites)
        of_suites, of_cells, of_benchmarks = (
            [] if names is None else [table.suite.in_(names)]
            for table in (StoredSuiteRow, CellRow, Benchmark)
        )
        with self._read() as connection:
            problems = [*load_suites(connection, *of_suites)[1]]
            problems += load_cells(connection, *of_cells)[1]
            return [*problems, *load_benchmarks(connection, *of_benchmarks)[1].values()]

    def repair(self) -> Sequence[str]:
        """Remove every row that no other command removes; return them, one line each.

        These are suites, cells and measurements that cannot be read, rows that belong to no run,
        and runs whose id is none.
        """
        with self._write() as connection:
            cells, lines = load_cells(connection)
            if lines:
                _write_anew(connection, CellRow, cells)
            suites, damaged_suites = load_suites(connection)
            if damaged_suites:
                _write_anew(connection, StoredSuiteRow, suites)
            lines += damaged_suites
            damaged = load_benchmarks(connection)[1]
            connection.execute(delete(Benchmark).where(Benchmark.number.in_(damaged)))
            lines += damaged.values()
            runs = connection.execute(select(RunRow.number, RunRow.run_id)).all()
            nameless = {number: i for number, i in runs if not is_name(i, RUN_ID)}
            connection.execute(delete(RunRow).where(RunRow.number.in_(nameless)))
            lines += [f"run {run_id!r}: no id of a run" for run_id in nameless.values()]
            for table, owner in (
                (BenchmarkSampleRow, Benchmark),
                *((table, RunRow) for table in PARTS),
            ):
                column = next(iter(table.__table__.primary_key))
                owners = select(owner.__table__.columns[column.name])
                orphans = connection.execute(delete(table).where(column.not_in(owners))).rowcount
                lines += [f"{table.__tablename__}: {orphans} rows of no run"] * bool(orphans)
        return lines

    def check(
        self, look: Callable[[RunRecord], Iterable[str]] = lambda record: ()
    ) -> Sequence[str]:
        """Return the problems of the database, one line each; none when all is well.

        Args:
            look: is given every record that can be read; what it returns is wrong too.
        """
        problems = []
        if self.engine.dialect.name == "sqlite":
            with self._read() as connection:
                integrity = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
                orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            problems += [f"integrity: {line}" for line in integrity if line != "ok"]
            problems += [
                f"{table}: a row belongs to no run; {REPAIR}"
                for table in sorted({table for table, *_ in orphans})
            ]
        problems += self.damaged()
        for chunk in _chunks(self.ids()):
            try:
                records = self.find(ids=chunk)
            except DamagedRecords as error:
                records = error.readable
                problems += error.problems.values()
            problems += [line for record in records for line in look(record)]
        return problems

    def close(self) -> None:
        """Release the database."""
        self.engine.dispose()


def _is(column: InstrumentedAttribute[Any], text: str) -> ColumnElement[bool]:
    """Return the condition that a column holds a text, which may be one that none can hold."""
    return false() if text_problem(text) else column == text


def _at(cell: Cell) -> list[ColumnElement[bool]]:
    """Return the conditions that find what stands in a cell's place."""
    return [column == getattr(cell, column.name) for column in CellRow.__table__.primary_key]


def _write_anew(connection: Connection, table: type[Base], rows: Sequence[Config]) -> None:
    """Replace the rows of a table: one whose key is no text cannot be looked for."""
    connection.execute(delete(table))
    if rows:
        connection.execute(insert(table), [row.model_dump() for row in rows])


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _connected(engine: Engine) -> Connection:
    """Return a new connection; a server that is restarted is waited for."""
    for delay in DELAYS:
        try:
            return engine.connect()
        except DBAPIError as error:
            if not is_transient(error.orig):
                raise
        time.sleep(delay)
    return engine.connect()


# --- opening ------------------------------------------------------------------------------


def open_database(address: Path | str, *, create: bool = True, write: bool = True) -> SqlStore:
    """Open a database; see :func:`harness.store.open_store`."""
    database = database_of(address, write=write)
    database.prepare(create=create)
    engine = database.engine()
    try:
        # Two processes that start at once must not both find an empty database.
        with database.explained(), database.lock():
            version = database.version(engine)
            if version is None and create:
                database.migrate()
            else:
                database.check_version(version)
            database.after_opening(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(database, engine)


def upgrade_database(address: Path | str) -> tuple[str, str]:
    """Bring a database to the current schema in one transaction.

    Returns:
        the versions before and after.

    Raises:
        StoreError: it is newer than this harness, or no database of the harness.
    """
    database = database_of(address)
    database.prepare(create=False)
    engine = database.engine()
    try:
        with database.explained(), database.lock():
            version = database.version(engine)
            if version not in migrations.known_versions():
                database.check_version(version)
            database.migrate()
            database.after_opening(engine)
    finally:
        engine.dispose()
    return str(version), migrations.head()


def database_of(address: Path | str, *, write: bool = True) -> Database:
    """Return the database that a file or an SQLAlchemy URL names.

    Args:
        address: a file, or a URL of SQLite or PostgreSQL.
        write: without, a file that this user cannot write is opened to be read.

    Raises:
        StoreError: the URL is none, or of another kind of database.
    """
    if not (isinstance(address, str) and "://" in address):
        return SqliteDatabase(Path(address), write=write)
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # their messages hold the password
        raise StoreError(f"HARNESS_STORE: no address of a database; {EXAMPLE}") from None
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database:
        return SqliteDatabase(Path(url.database), write=write)
    if backend == "postgresql":
        if "@" in (url.host or ""):  # messages would show the end of the password as a host
            raise StoreError(f"HARNESS_STORE: write an @ in the password as %40; {EXAMPLE}")
        return PostgresDatabase(url)
    reason = REFUSED.get(backend, "results are stored in SQLite or PostgreSQL")
    raise StoreError(f"HARNESS_STORE: {backend}: {reason}; {EXAMPLE}")
