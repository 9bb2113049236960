"""What names of sides mean: rows of suites, runs; what cannot be compared is refused and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.sides import Side, StoredSuites, find_sides
from harness.errors import ConfigError, StoreError
from harness.plan.spec import Protocol
from harness.report.files import suites_by_table
from harness.store.memory import MemoryStore
from harness.store.records import Cell

Row = Callable[..., list[str]]


@pytest.fixture
def row(store: MemoryStore, make_row: Row, tmp_path: Path) -> Row:
    """Return a function that adds a row to the store: ``row("RotatE", suite="toy")``."""
    return lambda label, **options: make_row(store, tmp_path, label, 4.0, **options)


def ids(side: Side) -> list[str]:
    return [record.run_id for record in side.tested.values()]


def test_a_row_of_a_suite_is_its_runs_by_seed(store: MemoryStore, row: Row) -> None:
    first, second = row("MoCME"), row("RotatE", seeds=(1, 2, 3))
    a, b = find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE")
    assert (ids(a), ids(b)) == (first, second)
    assert list(b.tested) == [1, 2, 3]
    assert a.source == "suite toy"


@pytest.mark.parametrize("text", ["toy:mocme", "toy:MOCME", "toy:moe"])
def test_a_row_is_named_by_label_in_any_case_or_by_model(
    store: MemoryStore, row: Row, text: str
) -> None:
    expected = row("MoCME", model="moe")
    row("RotatE")
    assert ids(find_sides(StoredSuites(store), text, "toy:RotatE")[0]) == expected


def test_a_label_may_hold_colons_and_commas(store: MemoryStore, row: Row) -> None:
    expected = row("MoCME: mean, bf16", model="mocme")
    row("RotatE")
    assert (
        ids(find_sides(StoredSuites(store), "toy:MoCME: mean, bf16", "toy:RotatE")[0]) == expected
    )


def test_a_table_stands_for_its_suite(store: MemoryStore, row: Row) -> None:
    expected = row("MoCME", suite="main_table")
    row("RotatE", suite="main_table")
    assert (
        ids(find_sides(StoredSuites(store, suites_by_table), "main:MoCME", "main_table:RotatE")[0])
        == expected
    )


def test_sides_may_be_of_two_suites_and_of_variants(store: MemoryStore, row: Row) -> None:
    plain, changed = row("RotatE"), row("RotatE", variant="beef")
    other = row("RotatE", suite="other")
    a, b = find_sides(StoredSuites(store), "toy@beef:RotatE", "toy:RotatE")
    assert (ids(a), ids(b)) == (changed, plain)
    assert a.source == "suite toy --set ..."
    assert ids(find_sides(StoredSuites(store), "toy:RotatE", "other:RotatE")[1]) == other


def test_runs_are_named_by_the_beginnings_of_their_ids(store: MemoryStore, row: Row) -> None:
    first, second = row("MoCME"), row("RotatE")
    a, b = find_sides(StoredSuites(store), f"{first[2][:8]}, {first[0]}", second[0])
    assert ids(a) == [first[0], first[2]]
    assert list(a.tested) == [0, 2]
    assert a.label == f"mocme {first[2]} and 1 more"
    assert b.label == f"rotate {second[0]}"


def test_seeds_can_be_chosen(store: MemoryStore, row: Row) -> None:
    first = row("MoCME")
    row("RotatE")
    a, _ = find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE", seeds={0, 2})
    assert ids(a) == [first[0], first[2]]
    a, _ = find_sides(StoredSuites(store), ",".join(first), "toy:RotatE", seeds={1})
    assert ids(a) == [first[1]]


def test_the_dataset_is_the_only_one_in_common_or_is_named(store: MemoryStore, row: Row) -> None:
    row("MoCME", dataset="mkg-w")
    row("RotatE", dataset="mkg-y")
    row("RotatE", dataset="mkg-w")
    assert find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE")[1].result.dataset == "mkg-w"
    row("MoCME", dataset="mkg-y", suite="two")
    row("MoCME", dataset="mkg-w", suite="two")
    with pytest.raises(ConfigError, match=r"both sides are on mkg-y, mkg-w: name a dataset"):
        find_sides(StoredSuites(store), "two:MoCME", "toy:RotatE")
    assert (
        find_sides(StoredSuites(store), "two:MoCME", "toy:RotatE", "MKG-Y")[0].result.dataset
        == "mkg-y"
    )


def test_what_a_side_lacks_is_told(store: MemoryStore, row: Row) -> None:
    failed = row("MoCME")[1]
    row("RotatE")
    record = store.get(failed)
    store.remove(failed)
    store.add(record.model_copy(update={"status": "failed", "error": "loss is NaN", "metrics": ()}))
    missing = Cell(
        suite="toy", position=9, label="MoCME", dataset="atlas", seed=3, run_id="ffffffffffff"
    )
    none = Cell(
        suite="toy",
        position=9,
        label="MoCME",
        dataset="atlas",
        seed=4,
        run_id="",
        reason="needs image",
    )
    store.add_cells([missing, none])
    a, _ = find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE")
    assert list(a.tested) == [0, 2]
    assert a.missing == {1: "failed (loss is NaN)", 3: "was not run", 4: "needs image"}


# --- refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tony:RotatE", r"'tony:RotatE': no suite or table 'tony'; did you mean 'toy'\?"),
        ("toy:RotateE", r"'toy:RotateE': no row 'RotateE'; did you mean 'RotatE'\?"),
        ("toy:", r"'toy:': no row ''; choose from MoCME, MoCME mean, RotatE"),
        ("toy@beaf:RotatE", r"no results of toy@beaf; did you mean 'toy@beef'\?"),
        ("other:RotatE", "no results of other without --set; choose from other@beef"),
        ("toy:mocme2", r"several rows are of model 'mocme2'; choose from MoCME, MoCME mean"),
        (
            "RotatE",
            r"'RotatE' is no run; rows are named with their suite: other@beef:RotatE, toy:RotatE",
        ),
        ("Rotat", r"'Rotat' is no run; rows are named SUITE:ROW; did you mean 'RotatE'\?"),
        ("zzzz", r"no run 'zzzz'; list them with: harness runs list"),
        ("", r"no run ''"),
    ],
)
def test_names_that_mean_nothing_get_the_nearest(
    store: MemoryStore, row: Row, text: str, told: str
) -> None:
    for label, options in {
        "MoCME": {"model": "mocme2"},
        "MoCME mean": {"model": "mocme2"},
        "RotatE": {},
    }.items():
        row(label, **options)
    row("RotatE", variant="beef")
    store.plan(
        "other",
        "beef",
        [c.model_copy(update={"suite": "other"}) for c in store.cells("toy", "beef")],
    )
    with pytest.raises(ConfigError, match=told):
        find_sides(StoredSuites(store), text, "toy:RotatE")


def test_an_empty_store_has_no_suites(store: MemoryStore) -> None:
    with pytest.raises(ConfigError, match="no suite or table 'toy'; the store has none"):
        find_sides(StoredSuites(store), "toy:a", "toy:b")


def test_runs_of_a_side_differ_in_their_seed_alone(store: MemoryStore, row: Row) -> None:
    first, second = row("MoCME"), row("RotatE")
    with pytest.raises(ConfigError, match=rf"{first[0]} and {second[0]} both have seed 0"):
        find_sides(StoredSuites(store), f"{first[0]},{second[0]}", second[1])
    with pytest.raises(ConfigError, match=r"more than the seed: model.name \(mocme and rotate\)"):
        find_sides(StoredSuites(store), f"{first[0]},{second[1]}", second[2])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset_digest": "d2"}, r"they differ in dataset version \(d1 and d2\)"),
        (
            {"protocol": Protocol(ties="optimistic").key},
            r"they differ in protocol \(realistic/\S+ and optimistic/\S+\)",
        ),
        ({"dataset": "mkg-w"}, r"no dataset in common: 'toy:MoCME' is on atlas, .* on mkg-w"),
        (
            {"seeds": (5, 6)},
            r"no seed in common.*'toy:MoCME' has seeds 0, 1, 2; 'other:RotatE' has seeds 5, 6",
        ),
    ],
)
def test_what_differs_is_told(
    store: MemoryStore, row: Row, changes: dict[str, object], told: str
) -> None:
    row("MoCME")
    row("RotatE", suite="other", **changes)
    with pytest.raises(ConfigError, match=told):
        find_sides(StoredSuites(store), "toy:MoCME", "other:RotatE")


def test_a_suite_whose_runs_are_of_two_protocols_is_refused(store: MemoryStore, row: Row) -> None:
    row("MoCME")
    row("RotatE", protocol=Protocol(ties="optimistic").key)
    with pytest.raises(StoreError, match="different protocols"):
        find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE")


def test_a_side_without_a_tested_run_is_refused(store: MemoryStore, row: Row) -> None:
    row("MoCME")
    row("RotatE", status="validated", seeds=(0,))
    with pytest.raises(ConfigError, match="'toy:RotatE' has no tested run: seed 0 was validated"):
        find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE")


def test_a_row_is_not_compared_with_itself(store: MemoryStore, row: Row) -> None:
    runs = row("MoCME")
    with pytest.raises(ConfigError, match="are the same runs"):
        find_sides(StoredSuites(store), "toy:MoCME", ",".join(runs))


def test_a_dataset_that_a_side_has_not(store: MemoryStore, row: Row) -> None:
    row("MoCME")
    row("RotatE")
    with pytest.raises(ConfigError, match=r"'toy:MoCME' has no dataset 'atla'; did you mean"):
        find_sides(StoredSuites(store), "toy:MoCME", "toy:RotatE", "atla")
