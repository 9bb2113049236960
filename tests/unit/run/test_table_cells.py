"""The cells of a suite's table: runs, and reasons where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from harness.plan.cell import Cell
from harness.plan.expand import Plan
from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.run.cells import table_cells, with_left_out


def planned(label: str, position: int, seed: int = 0, reason: str = "") -> Cell:
    spec = RunSpec(model=ModelSpec(name="m"), data=DataSpec(dataset="one"), seed=seed)
    return Cell.of(spec, label, position, suite="s", reason=reason)


def ids(cells: Iterable[Cell]) -> dict[tuple[str, str, str, int], str]:
    return {cell.key: f"{cell.label}{cell.seed}" for cell in cells if not cell.reason}


def cells_of(whole: Plan, part: Plan | None = None, earlier: Iterable[Cell] = ()) -> list[Cell]:
    part = part or whole
    return list(table_cells(whole, part, ids(part.runs), earlier))


def shown(cells: Iterable[Cell]) -> list[tuple[str, int, str, str]]:
    return [
        (c.label, c.seed, c.run_id, c.reason) for c in sorted(cells, key=lambda cell: cell.order)
    ]


A = [planned("A", 0, seed) for seed in (0, 1)]
B = [planned("B", 1, seed, "needs image") for seed in (0, 1)]
C = [planned("C", 2, seed) for seed in (0, 1)]
WHOLE = Plan("s", "", "", (*A, *B, *C))


def test_an_excluded_row_stands_in_its_place_once_per_seed() -> None:
    assert shown(cells_of(WHOLE)) == [
        ("A", 0, "A0", ""),
        ("A", 1, "A1", ""),
        ("B", 0, "", "needs image"),
        ("B", 1, "", "needs image"),
        ("C", 0, "C0", ""),
        ("C", 1, "C1", ""),
    ]


def test_cells_of_a_store_have_no_specification_and_either_a_run_or_a_reason() -> None:
    cells = cells_of(WHOLE)
    with pytest.raises(AssertionError, match="was stored, not planned"):
        _ = cells[0].spec
    assert Cell.model_validate(cells[0].model_dump()) == cells[0]
    for run_id, reason in (("", ""), ("a", "b")):
        with pytest.raises(ValidationError, match="either a run or the reason"):
            Cell(**cells[0].model_dump() | {"run_id": run_id, "reason": reason})


def test_a_single_seed_can_be_excluded() -> None:
    whole = Plan("s", "", "", (*A, C[0], planned("C", 2, 1, "takes days")))
    assert shown(cells_of(whole))[2:] == [("C", 0, "C0", ""), ("C", 1, "", "takes days")]


def test_data_that_are_not_here_are_the_reason() -> None:
    gone = [planned("C", 2, seed, "ONE was not on\n  the machine") for seed in (0, 1)]
    available = Plan("s", "", "", (*A, *B, *gone))
    assert ("C", 0, "", "ONE was not on the machine") in shown(cells_of(WHOLE, available))


def test_with_only_what_was_planned_earlier_stays() -> None:
    earlier = cells_of(WHOLE)
    part = replace(WHOLE, cells=(A[0],))
    cells = list(table_cells(WHOLE, part, {A[0].key: "new"}, earlier))
    assert cells == [
        c.model_copy(update={"run_id": "new"}) if c.run_id == "A0" else c for c in earlier
    ]


def test_with_only_rows_that_left_the_suite_leave_the_table() -> None:
    shorter = replace(WHOLE, cells=(*A, *B))
    assert {c.label for c in cells_of(shorter, earlier=cells_of(WHOLE))} == {"A", "B"}


def test_a_row_that_the_suite_now_excludes_loses_its_runs() -> None:
    whole = Plan("s", "", "", (*A, *(planned("C", 2, seed, "takes days") for seed in (0, 1))))
    assert ("C", 0, "", "takes days") in shown(cells_of(whole, earlier=cells_of(WHOLE)))


def trial(label: str, run_id: str, position: int = 0, reason: str = "") -> Cell:
    return planned(label, position).stored(run_id, reason)


def search(label: str) -> tuple[str, str, str]:
    """Return the key of a row's search."""
    cell = trial(f"{label} trial 0", "x")
    return label, cell.dataset, cell.features


def test_rows_that_a_study_leaves_out_stand_below_its_trials_once() -> None:
    cells = with_left_out([trial("A trial 0", "a")], [search("A")], B, WHOLE, [])
    assert shown(cells) == [("A trial 0", 0, "a", ""), ("B", 0, "", "needs image")]
    assert [cell.position for cell in cells] == [0, 1]


def test_a_study_keeps_reasons_of_rows_that_this_command_says_nothing_of() -> None:
    stored = [trial("D", "", 4, "no files"), trial("A", "", 5, "no files"), trial("C trial 0", "c")]
    searched = [search("A"), search("C")]
    cells = with_left_out([trial("A trial 0", "a")], searched, [], WHOLE, stored)
    assert [(cell.label, cell.reason) for cell in cells] == [("A trial 0", ""), ("D", "no files")]


def test_trials_that_were_imported_stay_below_those_made_here() -> None:
    """Their searches are in another home; those of a search that is here are its trials now."""
    seeds = [planned("C trial 0", 3, seed).stored(f"c{seed}") for seed in (0, 1)]
    stored = [trial("A trial 0", "old"), trial("A trial 1", "gone", 1), *seeds]
    made = [trial("A trial 0", "a")]
    cells = with_left_out(made, [search("A")], B, WHOLE, stored)
    assert [(cell.label, cell.position, cell.run_id) for cell in cells] == [
        ("A trial 0", 0, "a"),
        ("C trial 0", 1, "c0"),
        ("C trial 0", 1, "c1"),
        ("B", 2, ""),
    ]
