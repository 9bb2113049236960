"""Rows that learn nothing stand in every main table, and mark what stays below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.catalog import load_models
from harness.plan.expand import expand
from harness.plan.suite import find_suite, read_suite
from harness.report.definition import Definition
from harness.report.files import load_definition
from harness.report.query import suite_table
from harness.store.memory import MemoryStore
from tests.unit.report.conftest import report_table

BOTH = "worse than Lookup and Popularity, which learn nothing"
ONE = "worse than Lookup, which learns nothing"


@pytest.mark.parametrize("name", ["main", "main_native", "main_own", "quickstart"])
def test_counting_rows_stand_in_every_main_table(name: str) -> None:
    load_models()
    definition = load_definition(name)
    assert isinstance(definition, Definition)
    plan = expand(read_suite(find_suite(definition.suite)))
    assert {"lookup", "popularity"} <= {run.spec.model.name for run in plan.runs}
    if name != "quickstart":  # whose definition lists no row
        assert [row.label for row in definition.rows[:2]] == ["Lookup", "Popularity"]


def notes(store: MemoryStore, row: str, **options: Any) -> dict[str, tuple[str, ...]]:
    definition = Definition(title="T", suite="toy", metrics=("mrr", "mr"), **options)
    table = report_table(store, definition)
    (found,) = [r for r in table.rows if r.label == row]
    return {c.metric: (*found.notes, *cell.notes) for c, cell in zip(table.columns, found.cells)}  # noqa: B905


def test_a_learned_model_below_counting_has_a_footnote(
    store: MemoryStore, fill: Callable[..., Any]
) -> None:
    """The mean ranks are 200, 180, 100, 190 and 210: lower is better."""
    filler = fill()
    for label, mrr in (("Lookup", 0.2), ("Popularity", 0.18), ("Good", 0.3), ("Between", 0.19),
                       ("Bad", 0.1)):  # fmt: skip
        rank = {"Lookup": 200, "Popularity": 180, "Good": 100, "Between": 190, "Bad": 210}[label]
        filler.row(label, [mrr, mrr], extra={"mr": rank / mrr})
    below = {row: notes(store, row) for row in ("Lookup", "Popularity", "Good", "Between", "Bad")}
    for row in ("Lookup", "Popularity", "Good"):  # Popularity, below Lookup, is no learned model
        assert not any("learn" in note for found in below[row].values() for note in found)
    assert ONE in below["Between"]["mrr"]
    assert "worse than Popularity, which learns nothing" in below["Between"]["mr"]
    assert BOTH in below["Bad"]["mrr"]
    assert BOTH in below["Bad"]["mr"]


def test_a_suite_without_a_definition_is_marked_too(
    store: MemoryStore, fill: Callable[..., Any]
) -> None:
    fill().row("Lookup", [0.2]).row("TransE", [0.1])
    (row,) = [row for row in suite_table(store, "toy").rows if row.label == "TransE"]
    assert ONE in (*row.notes, *row.cells[0].notes)


def test_a_table_may_have_other_floors_or_none(
    store: MemoryStore, fill: Callable[..., Any]
) -> None:
    fill().row("Lookup", [0.2]).row("Names", [0.3]).row("TransE", [0.1])
    assert not any("learn" in note for note in notes(store, "TransE", floors=())["mrr"])
    assert (
        "worse than Names, which learns nothing" in notes(store, "TransE", floors=("Names",))["mrr"]
    )
