"""The SQL of ``docs/database.md`` runs, and its table of columns is complete."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import open_store, results_home
from harness.store.records import Cell, RunRecord
from harness.store.tables import Base

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "database.md").read_text()
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_every_question_has_an_answer(question: str, make_record: Callable[..., RunRecord]) -> None:
    cells = [
        Cell(
            suite="quickstart", position=0, label="RotatE", dataset="atlas", seed=s, run_id=f"r{s}"
        )
        for s in range(2)
    ]
    with contextlib.closing(open_store()) as store:
        store.add(make_record("r0"))
        none = cells[0].model_copy(update={"seed": 2, "run_id": "", "reason": "needs image"})
        store.plan("quickstart", "", [*cells, none])
    with contextlib.closing(sqlite3.connect(results_home() / "harness.db")) as connection:
        assert connection.execute(question).fetchall()


def test_every_column_is_explained() -> None:
    for table in Base.metadata.sorted_tables:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{table.name}` |")]
        named = re.findall(r"`(\w+)`", row)
        assert [column.name for column in table.columns if column.name not in named] == []
