"""A result database on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateSchema

from harness.errors import StoreError
from harness.store.database import Database
from harness.store.failures import WAIT

__all__ = ["DRIVER", "PostgresDatabase", "connect_arguments", "public_name", "with_driver"]

DRIVER = "postgresql+psycopg"
WRITERS, MIGRATIONS = 0x6D6D6B67, 0x6D6D6B68
"""Keys of the advisory locks: one writer at a time, one process that opens or upgrades."""


class PostgresDatabase(Database):
    """A database on a server, which other processes and machines may use at the same time.

    Readers see one state of the database in all statements of a transaction. Writers take an
    advisory lock first, so that each reads what the one before it wrote.
    """

    def __init__(self, url: URL) -> None:
        self.url = with_driver(url)
        self.name = public_name(url)
        self.upgrade_command = "harness db upgrade"
        self.elsewhere = "set HARNESS_STORE to another database"
        self.reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self.writing = {"isolation_level": "READ COMMITTED", "writing": True}

    def prepare(self, *, create: bool) -> None:
        """Do nothing: whether the database exists is known when it is connected to."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock out other processes that open or upgrade the database."""
        engine = self.engine()
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATIONS})
                yield
        finally:
            engine.dispose()

    def engine(self, *, migrating: bool = False, **options: Any) -> Engine:
        """Return a new engine, which replaces connections that the server has closed."""
        arguments = connect_arguments(self.url)
        return super().engine(
            migrating=migrating, pool_pre_ping=True, connect_args=arguments, **options
        )

    def has_schema(self, name: str, *, create: bool) -> bool:
        """Tell whether a schema is there; it is made first where ``create`` is set."""
        engine = self.engine()
        try:
            with engine.begin() as connection:
                if create:
                    connection.execute(CreateSchema(name, if_not_exists=True))
                return inspect(connection).has_schema(name)
        finally:
            engine.dispose()

    def on_connect(self, connection: Any, *, migrating: bool) -> None:
        """Refuse a database whose encoding cannot hold every text."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreError(
                f"{self.name}: its encoding is {encoding}, results need UTF8; make another "
                "database with: createdb -E UTF8 -T template0 NAME"
            )

    def after_opening(self, engine: Engine) -> None:
        """Do nothing: all settings are those of a connection."""

    def on_begin(self, connection: Connection) -> None:
        """Let one transaction write at a time; the lock is released when it ends."""
        if connection.get_execution_options().get("writing", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")


def with_driver(url: URL) -> URL:
    """Return the address with the driver that is used.

    Raises:
        StoreError: it names another driver, or the driver is not installed.
    """
    if url.drivername not in ("postgresql", DRIVER):
        raise StoreError(
            f"{public_name(url)}: driver '{url.get_driver_name()}' is not supported; write {DRIVER}://..."
        )
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise StoreError(
            f"{public_name(url)}: PostgreSQL needs the package psycopg; install it with: "
            "pip install -e '.[postgres]'"
        ) from None
    return url.set(drivername=DRIVER)


def public_name(url: URL) -> str:
    """Return the address as messages show it: without password and further parameters."""
    return url.set(query={}).render_as_string(hide_password=True)


def connect_arguments(url: URL, schema: str = "") -> dict[str, Any]:
    """Return the arguments of the driver that limit how long it waits.

    Args:
        url: address, whose own parameters come first.
        schema: schema of the tables; that of the server or the address when empty.
    """
    options = f"-c lock_timeout={int(WAIT * 1000)}"
    if parameter := url.query.get("options"):
        options += f" {parameter if isinstance(parameter, str) else ' '.join(parameter)}"
    if schema:
        options += f" -c search_path={schema}"
    defaults: dict[str, Any] = {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "tcp_user_timeout": 60_000,
        "application_name": "mmkgc-harness",
    }
    missing = {name: value for name, value in defaults.items() if name not in url.query}
    return {**missing, "options": options}
