"""The SQL of ``docs/database.md`` runs on both databases, and its table of columns is complete."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.store import open_store, results_home
from harness.store.records import Cell, RunRecord
from harness.store.sql import SqlStore
from harness.store.tables import Base
from tests.postgresql import Server

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "database.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
ONE_DATABASE = re.compile("-- (SQLite|PostgreSQL)\n")
"""First line of a query that only one database understands."""

MakeRecord = Callable[..., RunRecord]


def queries(database: str) -> list[str]:
    """Return the queries that a database understands."""
    remarks = [ONE_DATABASE.match(query) for query in QUERIES]
    pairs = zip(QUERIES, remarks, strict=True)
    return [query for query, remark in pairs if remark is None or remark[1] == database]


def fill(store: SqlStore, make_record: MakeRecord) -> None:
    cells = [
        Cell(
            suite="quickstart", position=0, label="RotatE", dataset="atlas", seed=s, run_id=f"r{s}"
        )
        for s in range(2)
    ]
    store.add(make_record("r0", provenance={"commit": "abc"}))
    none = cells[0].model_copy(update={"seed": 2, "run_id": "", "reason": "needs image"})
    store.plan("quickstart", "", [*cells, none])


@pytest.mark.parametrize("query", queries("SQLite"), ids=range(len(queries("SQLite"))))
def test_every_query_has_an_answer(query: str, make_record: MakeRecord) -> None:
    with contextlib.closing(open_store()) as store:
        fill(store, make_record)
    with contextlib.closing(sqlite3.connect(results_home() / "harness.db")) as connection:
        assert connection.execute(query).fetchall()


def test_every_query_has_the_same_answer_on_a_server(
    server_store: str, postgresql: Server, make_record: MakeRecord
) -> None:
    for address in (None, server_store):
        with contextlib.closing(open_store(address)) as store:
            fill(store, make_record)
    with contextlib.closing(sqlite3.connect(results_home() / "harness.db")) as connection:
        for here, there in zip(queries("SQLite"), queries("PostgreSQL"), strict=True):
            rows = postgresql.execute(there, server_store.rpartition("/")[2])
            assert rows
            assert printed(rows) == printed(connection.execute(here).fetchall())


def printed(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    """Return rows as text, numbers rounded: one database has floats where another has decimals."""
    numeric = (int, float, Decimal)
    return [
        [f"{float(v):.9g}" if isinstance(v, numeric) else _number(v) for v in row] for row in rows
    ]


def _number(value: Any) -> str:
    """Return a number that a database returns as text as the others are printed."""
    try:
        return f"{float(value):.9g}"
    except (TypeError, ValueError):
        return str(value)


def test_every_column_is_explained() -> None:
    for table in Base.metadata.sorted_tables:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{table.name}` |")]
        named = re.findall(r"`(\w+)`", row)
        assert [column.name for column in table.columns if column.name not in named] == []
