"""A report reads of its runs what it shows, and of other runs nothing: however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from harness.report.query import suite_table
from harness.store import open_store
from harness.store.records import Cell, RunRecord
from harness.store.sql import SqlStore

MakeRecord = Callable[..., RunRecord]
Fill = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(tmp_path / "harness.db")
    assert isinstance(opened, SqlStore)
    yield opened
    opened.close()


@pytest.fixture
def fill(store: SqlStore, make_record: MakeRecord) -> Fill:
    """Return ``fill("toy", runs=3)``: plans a suite of one row and adds its runs."""

    def filled(suite: str, runs: int, epochs: int = 1) -> None:
        cells = []
        for seed in range(runs):
            record = make_record(
                f"{suite}{seed}",
                seed=seed,
                history=tuple({"epoch": float(e), "loss": 1.0} for e in range(epochs)),
                timings=tuple({"name": "train.epoch", "value": 1.0} for _ in range(epochs)),
                provenance={"machine": "x" * epochs},
            )
            store.add(record)
            place = {"suite": suite, "label": "A", "dataset": record.dataset, "position": 0}
            cells.append(Cell(**place, features="names", seed=seed, run_id=record.run_id))
        store.plan(suite, "", cells)

    return filled


@dataclass
class Work:
    """What a database was asked, and how many steps of SQLite's machine that took."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0

    def note(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        self.statements.append(statement)

    def step(self) -> None:
        self.steps += 1

    def watch(self, connection: Any, *rest: Any) -> None:
        connection.set_progress_handler(self.step, 1)


@contextmanager
def watched(store: SqlStore) -> Iterator[Work]:
    work = Work()
    noted = (("before_cursor_execute", work.note), ("checkout", work.watch))
    for name, listener in noted:
        event.listen(store.engine, name, listener)
    yield work
    for name, listener in noted:
        event.remove(store.engine, name, listener)
    store.engine.dispose()


def reported(store: SqlStore) -> Work:
    with watched(store) as work:
        table = suite_table(store, "toy")
    assert table.rows[0].cells[0].value is not None
    return work


def test_many_runs_take_as_many_statements_as_one(store: SqlStore, fill: Fill) -> None:
    fill("toy", runs=1)
    of_one = reported(store).statements
    fill("toy", runs=50)
    assert len(reported(store).statements) == len(of_one) < 10


def test_the_runs_of_other_suites_take_no_work(store: SqlStore, fill: Fill) -> None:
    fill("toy", runs=10)
    alone = reported(store).steps
    fill("other", runs=50)
    assert reported(store).steps < 1.1 * alone


def test_epochs_and_timings_take_no_work(store: SqlStore, fill: Fill) -> None:
    fill("toy", runs=10)
    few = reported(store).steps
    fill("toy", runs=10, epochs=100)
    assert reported(store).steps < 1.1 * few


def test_what_is_not_shown_is_not_read(store: SqlStore, fill: Fill) -> None:
    fill("toy", runs=2)
    read = " ".join(reported(store).statements)
    assert "metrics" in read
    for what in ("history", "timings", "provenance"):
        assert what not in read
