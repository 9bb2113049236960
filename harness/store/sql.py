"""The result store in a SQL database.

SQLite in WAL mode is what is used and tested; statements and types are those that PostgreSQL
shares, and what only SQLite knows is asked of SQLite alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from filelock import FileLock, Timeout
from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    ScalarSelect,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import aliased

from harness.config.base import SUITE_NAME
from harness.errors import StoreError
from harness.store import migrations
from harness.store.base import STAGE, TOLD, DamagedRecords, check_plan, supersedes, takes_place
from harness.store.benchmarks import BenchmarkRecord
from harness.store.failures import ELSEWHERE, WAIT, disk_error, explain, make_folder, not_a_database
from harness.store.records import RUN_ID, Cell, Numbers, RunRecord, Status
from harness.store.rows import (
    COLUMNS,
    OWN,
    benchmark_of,
    benchmark_rows,
    first_problem,
    record_of,
    rows_of,
)
from harness.store.tables import (
    Base,
    Benchmark,
    BenchmarkSampleRow,
    CellRow,
    Diagnostic,
    Epoch,
    Metric,
    Note,
    Run,
    Timing,
)

__all__ = ["SqlStore", "open_database", "upgrade_database"]

MAGIC = b"SQLite format 3\x00"
"""How a database file begins (https://www.sqlite.org/fileformat.html, section 1.3)."""
CHUNK = 500
"""Ids per statement: databases limit the number of parameters."""
REPAIR = "remove it with: harness db check --repair"
"""What helps against rows that belong to no run that could be removed."""
PARTS = (Metric, Epoch, Timing, Diagnostic, Note)
"""Tables that hold the parts of a run."""


class SqlStore:
    """Keeps the contract of :class:`harness.store.base.ResultStore`; see ``open_database``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(begin="BEGIN IMMEDIATE")
        self._open: Connection | None = None
        """The connection of the transaction that is open."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that is written in a ``with`` block one change.

        A block within another belongs to the outer one's change.
        """
        if self._open is not None:
            yield
            return
        with self._write() as connection:
            self._open = connection
            try:
                yield
            finally:
                self._open = None

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with _explained(self.engine.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with _explained(self.engine.url), self._writing.begin() as connection:
            yield connection

    def add(self, record: RunRecord) -> None:
        """Keep a record."""
        record = record.model_copy(update={"cells": ()})
        with self._write() as connection:
            same = Run.run_id == record.run_id
            for _, known in _load(connection, [same]).records:
                if known == record or not supersedes(record, known):
                    return
            connection.execute(delete(Run).where(same))
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
        wanted = {Run.model: model, Run.dataset: dataset, Run.status: status}
        conditions = [column == value for column, value in wanted.items() if value is not None]
        chosen = [[]] if ids is None else [[Run.run_id.in_(c)] for c in _chunks(sorted(set(ids)))]
        with self._read() as connection:
            batches = [_load(connection, [*conditions, *chunk], numbers) for chunk in chosen]
        numbered = sorted((pair for f in batches for pair in f.records), key=lambda pair: pair[0])
        records = [record for _, record in numbered]
        if problems := {run_id: text for f in batches for run_id, text in f.problems.items()}:
            raise DamagedRecords(problems, records)
        return records

    def ids(self, prefix: str = "") -> Sequence[str]:
        """Return the ids that begin with ``prefix``, oldest first."""
        statement = select(Run.run_id).order_by(Run.number)
        if prefix:
            statement = statement.where(Run.run_id.startswith(prefix, autoescape=True))
        with self._read() as connection:
            # LIKE ignores case in SQLite
            return [i for i in map(str, connection.scalars(statement)) if i.startswith(prefix)]

    def statuses(self) -> Mapping[str, Status]:
        """Return the status of every run by its id, oldest first."""
        with self._read() as connection:
            rows = connection.execute(select(Run.run_id, Run.status).order_by(Run.number))
            # One that was damaged counts as failed: nothing else is known of the run.
            return {i: cast("Status", s if s in STAGE else "failed") for i, s in rows}

    def finished_ids(self) -> frozenset[str]:
        """Return the ids of all "ok" records (read from an index alone)."""
        with self._read() as connection:
            return frozenset(connection.scalars(select(Run.run_id).where(Run.status == "ok")))

    def remove(self, run_id: str) -> bool:
        """Forget a record; True when there was one."""
        with self._write() as connection:
            return connection.execute(delete(Run).where(Run.run_id == run_id)).rowcount > 0

    def plan(self, suite: str, variant: str, cells: Sequence[Cell]) -> None:
        """Replace the cells of a suite."""
        check_plan(suite, variant, cells)
        place = (CellRow.suite == suite, CellRow.variant == variant)
        with self._write() as connection:
            connection.execute(delete(CellRow).where(*place))
            if cells:
                connection.execute(insert(CellRow), [cell.model_dump() for cell in cells])

    def add_cells(self, cells: Iterable[Cell]) -> Sequence[Cell]:
        """Put each cell where no run stands; return the runs that found another one there."""
        refused = []
        with self._write() as connection:
            held = {cell.place: cell for cell in _cells(connection)[0]}
            for cell in cells:
                if takes_place(cell, held.get(cell.place)):
                    connection.execute(delete(CellRow).where(*_at(cell)))
                    connection.execute(insert(CellRow), [cell.model_dump()])
                    held[cell.place] = cell
                elif cell.run_id not in ("", held[cell.place].run_id):
                    refused.append(cell)
        return refused

    def cells(self, suite: str | None = None, variant: str = "") -> Sequence[Cell]:
        """Return the cells of a suite in table order (of all suites and variants when None)."""
        conditions = [] if suite is None else [CellRow.suite == suite, CellRow.variant == variant]
        with self._read() as connection:
            cells, problems = _cells(connection, *conditions)
        if problems and suite is not None:
            raise StoreError("\n".join(problems[:TOLD]))
        return sorted(cells, key=lambda cell: cell.order)

    def blocks(self) -> Sequence[tuple[str, str, str]]:
        """Return the suite, variant and dataset of all cells, each once, sorted."""
        columns = (CellRow.suite, CellRow.variant, CellRow.dataset)
        with self._read() as connection:
            blocks = connection.execute(select(*columns).distinct()).all()
        return sorted(
            (suite, variant, str(name)) for suite, variant, name in filter(_named, blocks)
        )

    def add_benchmark(self, record: BenchmarkRecord) -> None:
        """Keep a measurement."""
        same = Benchmark.benchmark_id == record.benchmark_id
        with self._write() as connection:
            if not _benchmarks(connection, same)[0]:
                connection.execute(delete(Benchmark).where(same))
                for table, rows in benchmark_rows(record).items():
                    connection.execute(insert(Base.metadata.tables[table]), rows)

    def benchmarks(self, suite: str | None = None) -> Sequence[BenchmarkRecord]:
        """Return the measurements of a suite (of all when None), oldest first."""
        with self._read() as connection:
            if suite is None:
                return list(_benchmarks(connection)[0].values())
            records, problems = _benchmarks(connection, Benchmark.suite == suite)
        if problems:
            raise StoreError("\n".join([*problems.values()][:TOLD]))
        return list(records.values())

    def damaged(self, suites: Iterable[str] | None = None) -> Sequence[str]:
        """Return the cells and measurements of suites (of all when None) that cannot be read."""
        names = None if suites is None else list(suites)
        of_cells, of_benchmarks = (
            [] if names is None else [table.suite.in_(names)] for table in (CellRow, Benchmark)
        )
        with self._read() as connection:
            problems = _cells(connection, *of_cells)[1]
            return [*problems, *_benchmarks(connection, *of_benchmarks)[1].values()]

    def repair(self) -> Sequence[str]:
        """Remove every row that no other command removes; return them, one line each.

        These are cells and measurements that cannot be read, rows that belong to no run, and runs
        whose id is none.
        """
        with self._write() as connection:
            cells, lines = _cells(connection)
            if lines:  # a value that is no text cannot be looked for: all are written anew
                connection.execute(delete(CellRow))
                connection.execute(insert(CellRow), [cell.model_dump() for cell in cells])
            damaged = _benchmarks(connection)[1]
            connection.execute(delete(Benchmark).where(Benchmark.number.in_(damaged)))
            lines += damaged.values()
            runs = connection.execute(select(Run.number, Run.run_id)).all()
            nameless = {number: i for number, i in runs if not _is_name(i, RUN_ID)}
            connection.execute(delete(Run).where(Run.number.in_(nameless)))
            lines += [f"run {run_id!r}: no id of a run" for run_id in nameless.values()]
            for table, owner in ((BenchmarkSampleRow, Benchmark), *((part, Run) for part in PARTS)):
                column = next(iter(table.__table__.primary_key))
                owners = select(owner.__table__.columns[column.name])
                orphans = connection.execute(delete(table).where(column.not_in(owners))).rowcount
                lines += [f"{table.__tablename__}: {orphans} rows of no run"] * bool(orphans)
        return lines

    def check(
        self, look: Callable[[RunRecord], Iterable[str]] = lambda record: ()
    ) -> Sequence[str]:
        """Return what is wrong with the database, one line each; nothing when all is well.

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


class _Loaded(NamedTuple):
    """Records with the numbers of their runs, and what is wrong with those that cannot be read."""

    records: list[tuple[int, RunRecord]]
    problems: dict[str, str]


def _load(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    numbers: Numbers | None = None,
) -> _Loaded:
    """Return matching runs in order: one statement per table."""
    fields = [n for n in OWN if n != "provenance" or numbers is None or numbers.provenance]
    columns = [Run.__table__.columns[name] for name in ("number", *fields)]
    statement = select(*columns).where(*conditions).order_by(Run.number)
    runs = [dict(row) for row in connection.execute(statement).mappings()]
    loaded = _Loaded([], {})
    if not runs:
        return loaded
    matching = select(Run.run_id).where(*conditions)
    rows: dict[str, dict[str, list[Sequence[Any]]]] = defaultdict(lambda: defaultdict(list))
    for table, selecting in _tables_of(numbers).items():
        columns = [getattr(table, name) for name in COLUMNS[table.__tablename__]]
        statement = select(table.run_id, *columns).where(table.run_id.in_(matching), *selecting)
        if hasattr(table, "position"):
            statement = statement.order_by(table.position)
        for run_id, *values in connection.execute(statement):
            rows[run_id][table.__tablename__].append(values)
    for run in runs:
        try:
            loaded.records.append((run["number"], record_of(run, rows[run["run_id"]])))
        except ValueError as error:
            loaded.problems[run["run_id"]] = str(error)
    return loaded


def _tables_of(numbers: Numbers | None) -> Mapping[Any, Sequence[ColumnElement[bool]]]:
    """Return the tables that hold selected numbers of runs, with the conditions that select them.

    A table without a selected number is not read: a run has thousands of epochs and timings.
    """
    if numbers is None:
        return dict.fromkeys(PARTS, ())
    tables: dict[Any, Sequence[ColumnElement[bool]]] = {Note: ()}
    if numbers.metrics:
        keys = tuple_(Metric.metric, Metric.bucket, Metric.split)
        tables[Metric] = (Metric.side == "both", keys.in_(sorted(numbers.metrics)))
    if numbers.diagnostics:
        tables[Diagnostic] = (Diagnostic.name.in_(numbers.diagnostics),)
    if numbers.timings:
        tables[Timing] = (Timing.name.in_(numbers.timings),)
    if numbers.epochs != "none":
        tables[Epoch] = () if numbers.epochs == "all" else (Epoch.position == _last_position(),)
    return tables


def _last_position() -> ScalarSelect[int]:
    """Return a subquery: the position of the last epoch of the run of a row of ``history``."""
    others = aliased(Epoch)
    last = select(func.max(others.position)).where(others.run_id == Epoch.run_id)
    return last.correlate(Epoch).scalar_subquery()


def _cells(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[list[Cell], list[str]]:
    """Return matching cells, and what is wrong with those that cannot be read."""
    cells, problems = [], []
    for row in connection.execute(select(CellRow.__table__).where(*conditions)).mappings():
        try:
            cells.append(Cell(**row))
        except ValidationError as error:
            anew = f"plan it anew with: harness run {row['suite']}"
            anew += " --set ..." * bool(row["variant"])
            problems.append(
                f"suite {row['suite']}, row {row['label']} on {row['dataset']}: the stored place "
                f"is damaged: {first_problem(error)}; "
                + (f"{anew}, or " if _named((row["suite"], row["variant"])) else "")
                + REPAIR
            )
    return cells, problems


def _benchmarks(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[dict[int, BenchmarkRecord], dict[int, str]]:
    """Return matching measurements by number, oldest first, and what is wrong with the others."""
    statement = select(Benchmark.__table__).where(*conditions).order_by(Benchmark.number)
    owners = [dict(row) for row in connection.execute(statement).mappings()]
    samples: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    if owners:
        of = BenchmarkSampleRow.benchmark_id
        ids = select(Benchmark.benchmark_id).where(*conditions)
        rows = select(BenchmarkSampleRow.__table__).where(of.in_(ids))
        for row in connection.execute(rows.order_by(of, BenchmarkSampleRow.position)).mappings():
            samples[row["benchmark_id"]].append(dict(row))
    records, problems = {}, {}
    for own in owners:
        try:
            records[own["number"]] = benchmark_of(own, samples[own["benchmark_id"]])
        except StoreError as error:
            problems[own["number"]] = f"{error}; {REPAIR}"
    return records, problems


def _named(block: Sequence[object]) -> bool:
    """Tell whether a suite and a variant can be those of cells."""
    suite, variant = block[:2]
    return _is_name(suite, SUITE_NAME) and (variant == "" or _is_name(variant, SUITE_NAME))


def _is_name(stored: object, pattern: str) -> bool:
    return isinstance(stored, str) and re.fullmatch(pattern, stored) is not None


def _at(cell: Cell) -> list[ColumnElement[bool]]:
    """Return the conditions that find what stands in a cell's place."""
    return [column == getattr(cell, column.name) for column in CellRow.__table__.primary_key]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


# --- opening ------------------------------------------------------------------------------


def open_database(path_or_url: Path | str, *, create: bool = True, write: bool = True) -> SqlStore:
    """Open a database; see :func:`harness.store.open_store`."""
    url = _url(path_or_url)
    if not write and (path := _path(url)) and path.is_file() and not _can_write(path):
        return _opened_to_read(url, path)
    _check_place(url, create=create)
    engine = _engine(url)
    try:
        # Two processes that start at once must not both find an empty database.
        with _explained(url), _lock(url):
            version = _version(engine)
            if version is None and create:
                _migrate(url)
            else:
                _check_version(url, version)
            _use_wal(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


def _opened_to_read(url: URL, path: Path) -> SqlStore:
    """Open a database that cannot be written: without locks, and without files of its own."""
    with _explained(url):
        _check_content(path)
    log = Path(f"{path}-wal")
    # The database is whole unless a log lies beside it, which the writer has yet to add to it.
    whole = not log.is_file() or not log.stat().st_size
    address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' * whole}"
    engine = _engine(url, creator=lambda: _connected_to_read(address, log))
    try:
        with _explained(url):
            _check_version(url, _version(engine))
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


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


def _can_write(path: Path) -> bool:
    """Tell whether this user can write a database, and the files that SQLite makes beside it."""
    beside = [Path(f"{path}{ending}") for ending in ("", ".lock", "-wal", "-shm")]
    files = [file for file in beside if file.exists()]
    return os.access(path.parent, os.W_OK | os.X_OK) and all(os.access(f, os.W_OK) for f in files)


def upgrade_database(path_or_url: Path | str) -> tuple[str, str]:
    """Bring a database to the current schema in one transaction.

    Returns:
        the versions before and after.

    Raises:
        StoreError: it is newer than this harness, or no database of the harness.
    """
    url = _url(path_or_url)
    _check_place(url, create=False)
    engine = _engine(url)
    try:
        with _explained(url), _lock(url):
            version = _version(engine)
            if version not in migrations.known_versions():
                _check_version(url, version)
            _migrate(url)
            _use_wal(engine)
    finally:
        engine.dispose()
    return str(version), migrations.head()


def _url(path_or_url: Path | str) -> URL:
    if isinstance(path_or_url, str) and "://" in path_or_url:
        return make_url(path_or_url)
    return URL.create("sqlite", database=str(path_or_url))


def _path(url: URL) -> Path | None:
    """Return the file of a SQLite database, None of another one."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _check_place(url: URL, *, create: bool) -> None:
    """Make the folder of a new SQLite database; refuse a folder, or nothing to open."""
    path = _path(url)
    if path is None:
        return
    if path.is_dir():
        raise StoreError(f"{path}: is a folder, not a result database")
    if not create and not path.exists():
        raise StoreError(
            f"no result database at {path}: run a suite (harness run SUITE), take over records "
            "(harness db import DIR), or set HARNESS_HOME to the folder that has one"
        )
    with _explained(url):
        make_folder(path.parent, ELSEWHERE)
        with Path(f"{path}.lock").open("a"):  # waiting for a lock never says that it cannot be made
            pass
        if create:
            path.touch()  # the file that SQLite makes ignores half of the umask
        _check_content(path)


def _check_content(path: Path) -> None:
    """Refuse a file that is there and holds something else than a SQLite database."""
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            # SQLite takes a file of a few bytes for an empty database, and overwrites it.
            if file.read(len(MAGIC)) != MAGIC:
                raise StoreError(not_a_database(str(path)))


def _engine(url: URL, *, foreign_keys: bool = True, **options: Any) -> Engine:
    engine = create_engine(
        url,
        **options,
        json_serializer=partial(json.dumps, separators=(",", ":")),
        json_deserializer=_json,
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_connected, foreign_keys=foreign_keys))
        event.listen(engine, "begin", _begun)
    return engine


def _json(stored: Any) -> Any:
    """Return what JSON holds; what is none as it is, so that the record is refused and not all."""
    try:
        return from_json(stored)  # text, or the bytes that psycopg hands over
    except (TypeError, ValueError):
        return stored


def _text(stored: bytes) -> str | bytes:
    """Return text; bytes that are none as they are, so that the record is refused and not all."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _connected(connection: sqlite3.Connection, _: Any, *, foreign_keys: bool) -> None:
    connection.text_factory = _text
    connection.isolation_level = None  # transactions begin where _begun says, DDL included
    connection.execute(f"PRAGMA busy_timeout = {WAIT * 1000}")
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
    # A stored run may have cost hours: it is on the disk when add() returns.
    connection.execute("PRAGMA synchronous = FULL")


def _begun(connection: Connection) -> None:
    # A writer takes the lock before it reads: SQLite cannot wait for it once a reader has a view.
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _use_wal(engine: Engine) -> None:
    """Switch to write-ahead logging, which stays in the file: only once it is known to be ours."""
    if engine.dialect.name == "sqlite":
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()


def _version(engine: Engine) -> str | None:
    with engine.begin() as connection:
        return migrations.stored_version(connection)


def _migrate(url: URL) -> None:
    # Foreign keys are off: Alembic changes a SQLite table by dropping and copying it, which would
    # delete the rows that refer to it.
    engine = _engine(url, foreign_keys=False).execution_options(begin="BEGIN IMMEDIATE")
    try:
        with engine.begin() as connection:
            migrations.upgrade(connection)
    finally:
        engine.dispose()


def _check_version(url: URL, version: str | None) -> None:
    """Raise StoreError unless ``version`` is the one this harness writes."""
    head = migrations.head()
    if version == head:
        return
    place = _place(url)
    if version is None:
        raise StoreError(
            f"{place}: empty, no result database yet; a suite (harness run SUITE) or records "
            "(harness db import DIR) make one of it"
        )
    if version in migrations.known_versions():
        raise StoreError(
            f"{place}: the database has schema version {version}, this harness uses {head}; "
            f"upgrade it with: harness db upgrade {shlex.quote(place)}"
        )
    raise StoreError(
        f"{place}: schema version {version} is newer than the {head} of this harness; "
        "install a newer mmkgc-harness, or set HARNESS_HOME to another folder"
    )


def _place(url: URL) -> str:
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string()


def _lock(url: URL) -> AbstractContextManager[Any]:
    if url.get_backend_name() != "sqlite":
        return nullcontext()
    return FileLock(f"{url.database}.lock", timeout=2 * WAIT)


# --- errors -------------------------------------------------------------------------------


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turn errors of the database and the disk into errors that say what to do."""
    try:
        yield
    except Timeout:
        raise StoreError(f"{_place(url)}: another process holds {_place(url)}.lock") from None
    except DBAPIError as error:
        raise explain(_place(url), error.orig or error) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of a damaged schema
        raise explain(_place(url), error) from error
    except OSError as error:
        raise disk_error(Path(error.filename or _place(url)), error, ELSEWHERE) from error
    except StoreError as error:
        if _place(url) in str(error):
            raise
        raise StoreError(f"{_place(url)}: {error}") from None
