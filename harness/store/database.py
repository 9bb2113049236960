"""A place for results: its engine, the version of its schema, and its errors."""

from __future__ import annotations

import abc
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import Timeout
from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from harness.errors import StoreError
from harness.store import migrations
from harness.store.failures import ELSEWHERE, EmptyDatabase, disk_error, explain

__all__ = ["Database"]


class Database(abc.ABC):
    """A place for results, which may not exist yet.

    Attributes:
        url: address of the database.
        name: its name in messages, without a password.
        upgrade_command: command that upgrades it.
        elsewhere: advice where the database cannot be used.
        reading: execution options of a transaction that reads.
        writing: execution options of a transaction that writes: it locks out other writers first.
    """

    url: URL
    name: str
    upgrade_command: str
    elsewhere: str
    reading: Mapping[str, Any] = MappingProxyType({})
    writing: Mapping[str, Any] = MappingProxyType({"writing": True})

    @abc.abstractmethod
    def prepare(self, *, create: bool) -> None:
        """Refuse a place where no database can be, or where there is none unless it is created."""

    @abc.abstractmethod
    def lock(self) -> AbstractContextManager[Any]:
        """Lock out other processes that open or upgrade the database."""

    @abc.abstractmethod
    def on_connect(self, connection: Any, *, migrating: bool) -> None:
        """Set up a new connection of the driver."""

    @abc.abstractmethod
    def on_begin(self, connection: Connection) -> None:
        """Begin a transaction; with the option ``writing`` no other one writes meanwhile."""

    @abc.abstractmethod
    def after_opening(self, engine: Engine) -> None:
        """Change settings that are kept in the database, once it is known to be a store."""

    def engine(self, *, migrating: bool = False, **options: Any) -> Engine:
        """Return a new engine, which connects when it is used."""
        engine = create_engine(
            self.url,
            **options,
            json_serializer=partial(json.dumps, separators=(",", ":")),
            json_deserializer=_json,
        )

        def on_connect(connection: Any, _: Any) -> None:
            self.on_connect(connection, migrating=migrating)

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", self.on_begin)
        return engine

    def version(self, engine: Engine) -> str | None:
        """Return the schema version, None of an empty database."""
        with engine.begin() as connection:
            return migrations.stored_version(connection, self.elsewhere)

    def migrate(self) -> None:
        """Bring the schema to the version that this harness writes, in one transaction."""
        engine = self.engine(migrating=True).execution_options(**self.writing)
        try:
            with engine.begin() as connection:
                migrations.upgrade(connection)
        finally:
            engine.dispose()

    def check_version(self, version: str | None) -> None:
        """Raise StoreError unless ``version`` is the one that this harness writes."""
        head = migrations.head()
        if version == head:
            return
        if version is None:
            raise EmptyDatabase(
                f"{self.name}: empty, no result database yet; a suite (harness run SUITE) or "
                "records (harness db import DIR) make one of it"
            )
        if version in migrations.known_versions():
            raise StoreError(
                f"{self.name}: the database has schema version {version}, this harness uses "
                f"{head}; upgrade it with: {self.upgrade_command}"
            )
        raise StoreError(
            f"{self.name}: schema version {version} is newer than the {head} of this harness; "
            f"install a newer mmkgc-harness, or {self.elsewhere}"
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database and the disk into errors that say what to do."""
        try:
            yield
        except Timeout:
            raise StoreError(f"{self.name}: another process holds {self.name}.lock") from None
        except DBAPIError as error:
            raise explain(self.name, error.orig or error) from error
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of a damaged schema
            raise explain(self.name, error) from error
        except OSError as error:
            raise disk_error(Path(error.filename or self.name), error, ELSEWHERE) from error
        except StoreError as error:
            if self.name in str(error):
                raise
            raise StoreError(f"{self.name}: {error}") from None


def _json(stored: Any) -> Any:
    """Return the value of a JSON text; other text as it is, for the record is refused alone."""
    try:
        return from_json(stored)  # text, or the bytes that psycopg hands over
    except (TypeError, ValueError):
        return stored
