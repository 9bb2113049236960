"""The cells of a suite's table: runs, and reasons where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.plan.expand import Excluded, Plan, PlannedRun, asked_for
from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.plan.suite import Selector
from harness.run.cells import table_cells, with_left_out
from harness.store.records import Cell


def run(label: str, dataset: str = "one", seed: int = 0, position: int = 0) -> PlannedRun:
    spec = RunSpec(model=ModelSpec(name="m"), data=DataSpec(dataset=dataset), seed=seed)
    return PlannedRun(spec, label, position)


def ids(*runs: PlannedRun) -> dict[tuple[str, str, str, int], str]:
    return {
        (r.label, r.spec.data.dataset, "none", r.spec.seed): f"{r.label}{r.spec.seed}" for r in runs
    }


def shown(cells: list[Cell]) -> list[tuple[str, str, int, str, str]]:
    return [
        (c.label, c.dataset, c.seed, c.run_id, c.reason)
        for c in sorted(cells, key=lambda cell: cell.order)
    ]


A = [run("A", seed=seed) for seed in (0, 1)]
C = [run("C", seed=seed, position=2) for seed in (0, 1)]
NO_IMAGE = Excluded("B", 1, "one", "none", "needs image")
WHOLE = Plan("s", "", "", (*A, *C), (NO_IMAGE,))


def test_an_excluded_row_stands_in_its_place_once_per_seed() -> None:
    cells = table_cells(WHOLE, WHOLE, ids(*A, *C))
    assert shown(cells) == [
        ("A", "one", 0, "A0", ""),
        ("A", "one", 1, "A1", ""),
        ("B", "one", 0, "", "needs image"),
        ("B", "one", 1, "", "needs image"),
        ("C", "one", 0, "C0", ""),
        ("C", "one", 1, "C1", ""),
    ]


def test_the_seeds_of_a_row_share_its_position_dataset_by_dataset() -> None:
    two = [run("A", "another", seed) for seed in (0, 1)]
    whole = replace(WHOLE, runs=(*A, *C, *two))
    cells = table_cells(whole, whole, ids(*whole.runs))
    assert {(c.dataset, c.label): c.position for c in cells} == {
        ("one", "A"): 0,
        ("one", "B"): 1,
        ("one", "C"): 2,
        ("another", "A"): 3,
    }


def test_a_single_seed_can_be_excluded() -> None:
    slow = Excluded("C", 2, "one", "none", "takes days", seed=1)
    whole = Plan("s", "", "", (*A, C[0]), (slow,))
    assert shown(table_cells(whole, whole, ids(*A, C[0])))[2:] == [
        ("C", "one", 0, "C0", ""),
        ("C", "one", 1, "", "takes days"),
    ]


def test_data_that_are_not_here_are_the_reason() -> None:
    gone = Excluded("C", 2, "one", "none", "ONE was not on\n  the machine")
    present = Plan("s", "", "", tuple(A), (NO_IMAGE, gone))
    assert ("C", "one", 0, "", "ONE was not on the machine") in shown(
        table_cells(WHOLE, present, ids(*A))
    )


def test_with_only_what_was_planned_earlier_stays() -> None:
    earlier = table_cells(WHOLE, WHOLE, ids(*A, *C))
    part = replace(WHOLE, runs=(A[0],))
    assert table_cells(WHOLE, part, {("A", "one", "none", 0): "new"}, earlier) == [
        c.model_copy(update={"run_id": "new"}) if c.run_id == "A0" else c for c in earlier
    ]


def test_with_only_rows_that_left_the_suite_leave_the_table() -> None:
    earlier = table_cells(WHOLE, WHOLE, ids(*A, *C))
    shorter = replace(WHOLE, runs=tuple(A))
    assert {c.label for c in table_cells(shorter, shorter, ids(*A), earlier)} == {"A", "B"}


def test_a_row_that_the_suite_now_excludes_loses_its_runs() -> None:
    earlier = table_cells(WHOLE, WHOLE, ids(*A, *C))
    whole = Plan("s", "", "", tuple(A), (Excluded("C", 2, "one", "none", "takes days"),))
    assert ("C", "one", 0, "", "takes days") in shown(table_cells(whole, whole, ids(*A), earlier))


def trial(label: str, run_id: str, position: int = 0, reason: str = "") -> Cell:
    place = {"suite": "s", "variant": "", "dataset": "one", "features": "none", "seed": 0}
    return Cell(**place, label=label, run_id=run_id, position=position, reason=reason)


def test_rows_that_a_study_leaves_out_stand_below_its_trials() -> None:
    cells = with_left_out([trial("A trial 0", "a")], [NO_IMAGE], WHOLE, [])
    assert shown(cells) == [
        ("A trial 0", "one", 0, "a", ""),
        ("B", "one", 0, "", "needs image"),
    ]
    assert [cell.position for cell in cells] == [0, 1]


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        ({}, ["A on two", "B on one", "C on one"]),
        ({"dataset": ["one"]}, ["B on one", "C on one"]),
        ({"dataset": ["two"]}, ["A on two"]),
        ({"model": ["rotate"]}, ["A on two"]),
        ({"label": ["A"], "dataset": ["one"]}, []),
        ({"features": ["names"]}, []),
        ({"seed": [1]}, ["A on two", "B on one", "C on one"]),  # gone for all seeds
    ],
)
def test_of_what_is_left_out_what_is_asked_for_is_kept(
    only: dict[str, list[str]], kept: list[str]
) -> None:
    gone = (
        Excluded("C", 2, "one", "none", "gone"),
        Excluded("A", 0, "two", "none", "gone", model="rotate"),
    )
    found = asked_for((NO_IMAGE, *gone), Selector.model_validate(only))
    assert sorted(f"{e.label} on {e.dataset}" for e in found) == kept


def test_a_study_keeps_reasons_of_rows_that_this_command_says_nothing_of() -> None:
    held = [trial("D", "", 4, "no files"), trial("A", "", 5, "no files"), trial("C trial 0", "c")]
    cells = with_left_out([trial("A trial 0", "a")], [], WHOLE, held)
    assert [(cell.label, cell.reason) for cell in cells] == [("A trial 0", ""), ("D", "no files")]
