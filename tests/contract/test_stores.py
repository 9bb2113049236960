"""What every result store does (``harness/store/base.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.store import open_store
from harness.store.archive import export, import_records, merge
from harness.store.base import ResultStore, resolve_id, suite_of
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified
from harness.store.memory import MemoryStore
from harness.store.records import Cell, MetricKey, MetricValue, Numbers, RunRecord, StoredSuite

MakeRecord = Callable[..., RunRecord]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultStore]:
    made: ResultStore
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = open_store(tmp_path / "harness.db")
    else:
        made = open_store(request.getfixturevalue("server_store"))
    yield made
    made.close()


def cell(run_id: str, *, label: str = "RotatE", position: int = 0, **values: object) -> Cell:
    filled = {"suite": "main", "dataset": "atlas", "seed": 0, **values}
    return Cell(run_id=run_id, label=label, position=position, **filled)  # type: ignore[arg-type]


# --- records ------------------------------------------------------------------------------


def test_what_was_added_is_returned_equal(store: ResultStore, make_record: MakeRecord) -> None:
    record = make_record("aaaa")
    store.add(record)
    assert store.get("aaaa") == record


def test_the_smallest_record_is_returned_equal(store: ResultStore) -> None:
    record = RunRecord(
        run_id="a",
        status="failed",
        spec={"model": {"name": "m"}, "data": {"dataset": "d"}},
        model="m",
        dataset="d",
        dataset_digest="",
        seed=2**40,
    )
    store.add(record)
    assert store.get("a") == record


def test_numbers_keep_every_bit(store: ResultStore, make_record: MakeRecord) -> None:
    values = (0.1 + 0.2, 1e-300, 1 / 3, 5e-324, 1.7976931348623157e308)
    metrics = tuple(
        MetricValue(split="test", side="both", metric=f"m{i}", value=v, queries=1)
        for i, v in enumerate(values)
    )
    store.add(make_record("aaaa", metrics=metrics, history=({"loss": 0.1 + 0.2},)))
    found = store.get("aaaa")
    assert found is not None
    assert [m.value.hex() for m in found.metrics] == [v.hex() for v in values]
    assert found.history[0]["loss"].hex() == (0.1 + 0.2).hex()


def test_cells_of_a_record_are_not_kept_with_it(
    store: ResultStore, make_record: MakeRecord
) -> None:
    store.add(make_record("aaaa", cells=(cell("aaaa"),)))
    assert store.get("aaaa") == make_record("aaaa")
    assert list(store.cells()) == []


def test_a_transaction_that_raises_leaves_nothing(
    store: ResultStore, make_record: MakeRecord
) -> None:
    def added() -> None:
        with store.transaction():
            store.add(make_record("aaaa"))
            store.add(make_record("bbbb"))
            store.add_cells([cell("bbbb")])
            store.add_benchmark(measurement("a", 0.1))
            assert list(store.ids()) == ["aaaa", "bbbb"]
            raise ConfigError("stop")

    store.add(make_record("aaaa", status="validated"))
    with pytest.raises(ConfigError, match="stop"):
        added()
    assert store.find() == [make_record("aaaa", status="validated")]
    assert (list(store.cells()), list(store.benchmarks())) == ([], [])
    with store.transaction():
        store.add(make_record("bbbb"))
    assert list(store.ids()) == ["aaaa", "bbbb"]


def test_a_transaction_within_another_belongs_to_its_change(
    store: ResultStore, make_record: MakeRecord
) -> None:
    def added() -> None:
        with store.transaction():
            store.add(make_record("aaaa"))
            with store.transaction():
                store.add(make_record("bbbb"))
            store.add(make_record("cccc"))
            raise ConfigError("stop")

    with pytest.raises(ConfigError, match="stop"):
        added()
    assert list(store.ids()) == []


def test_the_same_record_twice_is_one_run(store: ResultStore, make_record: MakeRecord) -> None:
    for run_id in ("aaaa", "bbbb", "aaaa"):
        store.add(make_record(run_id))
    assert list(store.ids()) == ["aaaa", "bbbb"]


def test_success_replaces_failure(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("aaaa", status="failed", error="out of memory", metrics=()))
    store.add(make_record("bbbb"))
    store.add(make_record("aaaa"))
    assert store.get("aaaa") == make_record("aaaa")
    assert list(store.ids()) == ["bbbb", "aaaa"], "what replaces another counts as the newest"


def test_failure_never_replaces_success(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("aaaa"))
    store.add(make_record("aaaa", status="failed", error="killed", metrics=()))
    assert store.get("aaaa") == make_record("aaaa")


STAGES = (("failed", "pruned"), ("validated",), ("ok",))


@pytest.mark.parametrize("old", [status for stage in STAGES for status in stage])
@pytest.mark.parametrize("new", [status for stage in STAGES for status in stage])
def test_a_record_replaces_one_that_has_come_no_further(
    store: ResultStore, make_record: MakeRecord, old: str, new: str
) -> None:
    stage = {status: number for number, stage in enumerate(STAGES) for status in stage}
    for seed, status in enumerate((old, new)):
        store.add(make_record("aaaa", status=status, seed=seed))
    kept = new if stage[new] >= stage[old] else old
    assert store.statuses() == {"aaaa": kept}
    assert store.get("aaaa").seed == (kept == new and stage[new] >= stage[old])


def test_a_later_failure_replaces_an_earlier_one(
    store: ResultStore, make_record: MakeRecord
) -> None:
    for error in ("first", "second"):
        store.add(make_record("aaaa", status="failed", error=error))
    found = store.get("aaaa")
    assert found is not None
    assert found.error == "second"


def test_a_shorter_record_leaves_nothing_of_the_longer_one(
    store: ResultStore, make_record: MakeRecord
) -> None:
    store.add(make_record("aaaa"))
    short = make_record("aaaa", metrics=(), history=(), timings=(), diagnostics={}, notes=())
    store.add(short)
    assert store.get("aaaa") == short


# --- looking up ---------------------------------------------------------------------------


def test_a_prefix_finds_the_only_run_that_has_it(
    store: ResultStore, make_record: MakeRecord
) -> None:
    for run_id in ("abc1", "abd2", "abd"):
        store.add(make_record(run_id))
    assert store.get("abc") == make_record("abc1")
    assert store.get("ab") is None
    assert store.get("abd") == make_record("abd"), "a whole id is not a prefix"
    assert store.get("ABC") is None
    assert store.get("a_c") is None, "no wildcards"


@pytest.mark.parametrize("text", ["", "%", "_", "x", "\0", "\udcff", "'; drop table runs"])
def test_unknown_ids_are_no_error(store: ResultStore, make_record: MakeRecord, text: str) -> None:
    store.add(make_record("abc1"))
    assert store.get(text) is None
    assert store.remove(text) is False
    assert store.ids()
    assert store.find(model=text or "x") == []
    assert store.find(ids=[text, "abc1"]) == [make_record("abc1")]
    assert list(store.cells(text or "x")) == []
    assert list(store.benchmarks(text or "x")) == []


def test_find_combines_its_filters(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("r1", model="rotate", dataset="atlas"))
    store.add(make_record("r2", model="rotate", dataset="mkg-w"))
    store.add(make_record("r3", model="transe", dataset="atlas"))
    store.add(make_record("r4", model="rotate", dataset="atlas", status="failed"))

    def ids(**filters: object) -> list[str]:
        return [r.run_id for r in store.find(**filters)]  # type: ignore[arg-type]

    assert ids() == ["r1", "r2", "r3", "r4"]
    assert ids(model="rotate") == ["r1", "r2", "r4"]
    assert ids(model="rotate", dataset="atlas") == ["r1", "r4"]
    assert ids(status="failed") == ["r4"]
    assert ids(ids=["r4", "r1", "r1", "nowhere"]) == ["r1", "r4"]
    assert ids(ids=["r1", "r4"], status="ok") == ["r1"]
    assert ids(ids=[]) == []
    assert ids(model="Rotate") == []


def test_statuses_are_in_order_of_storing(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("r2"))
    store.add(make_record("r1", status="failed"))
    assert list(store.statuses().items()) == [("r2", "ok"), ("r1", "failed")]


def test_removed_is_gone_and_can_come_back(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("r1"))
    assert store.remove("r1") is True
    assert store.get("r1") is None
    assert store.statuses() == {}
    store.add(make_record("r1"))
    assert store.get("r1") == make_record("r1")


def test_remove_takes_whole_ids_only(store: ResultStore, make_record: MakeRecord) -> None:
    store.add(make_record("abc1"))
    assert store.remove("abc") is False
    assert list(store.ids()) == ["abc1"]


def test_ids_by_prefix(store: ResultStore, make_record: MakeRecord) -> None:
    for run_id in ("b1", "a2", "a1", "A3"):
        store.add(make_record(run_id))
    assert list(store.ids("a")) == ["a2", "a1"]


def test_what_a_person_types_becomes_an_id(store: ResultStore, make_record: MakeRecord) -> None:
    for run_id in ("abc1", "abd2", "abd"):
        store.add(make_record(run_id))
    assert resolve_id(store, "abc") == "abc1"
    assert resolve_id(store, "abd") == "abd"
    with pytest.raises(ConfigError, match="run 'ab': 3 run ids begin with it: abc1, abd2, abd"):
        resolve_id(store, "ab")
    for text in ("x", ""):
        with pytest.raises(ConfigError, match="harness runs list"):
            resolve_id(store, text)


# --- plans --------------------------------------------------------------------------------


def test_a_plan_replaces_its_suite_and_variant_alone(store: ResultStore) -> None:
    store.plan("main", "", [cell("r1"), cell("r2", label="TransE", position=1)])
    store.plan("main", "v1", [cell("r3", variant="v1")])
    store.plan("other", "", [cell("r4", suite="other")])
    store.plan("main", "", [cell("r5")])
    assert [c.run_id for c in store.cells("main")] == ["r5"]
    assert [c.run_id for c in store.cells("main", "v1")] == ["r3"]
    assert [c.run_id for c in store.cells()] == ["r5", "r3", "r4"]
    store.plan("main", "", [])
    assert list(store.cells("main")) == []


def test_cells_come_back_equal_and_in_table_order(store: ResultStore) -> None:
    planned = [
        cell(f"r{i}", label=label, position=position, dataset=dataset, seed=seed)
        for i, (position, label, dataset, seed) in enumerate(
            (position, label, dataset, seed)
            for position, label in enumerate(["TransE", "RotatE"])
            for dataset in ("atlas", "mkg-w")
            for seed in (0, 1, 10)
        )
    ]
    store.plan("main", "", planned[::-1])
    assert list(store.cells("main")) == planned


def test_blocks_are_what_the_cells_are_of(store: ResultStore) -> None:
    store.plan("main", "", [cell("a1"), cell("a2", seed=1), cell("a3", dataset="tiva")])
    store.plan("main", "beef", [cell("b1", variant="beef")])
    assert list(store.blocks()) == [
        ("main", "", "atlas"),
        ("main", "", "tiva"),
        ("main", "beef", "atlas"),
    ]


def test_a_cell_may_point_to_a_run_that_does_not_exist(
    store: ResultStore, make_record: MakeRecord
) -> None:
    store.plan("main", "", [cell("r1")])
    store.add(make_record("r1"))
    store.remove("r1")
    assert [c.run_id for c in store.cells("main")] == ["r1"]


def test_added_cells_leave_the_others_in_place(store: ResultStore) -> None:
    mine = [cell("r1"), cell("r2", seed=1)]
    store.plan("main", "", mine)
    same, other, new = mine[0], cell("r9", seed=1), cell("r3", seed=2)
    assert list(store.add_cells([same, other, new])) == [other]
    assert list(store.cells("main")) == [*mine, new]


def test_a_row_that_moved_in_the_suite_is_the_same_row(store: ResultStore) -> None:
    store.plan("main", "", [cell("r1", position=3)])
    assert list(store.add_cells([cell("r1", position=0)])) == []
    assert list(store.cells()) == [cell("r1", position=3)]


def test_a_place_without_a_run_keeps_its_reason(store: ResultStore) -> None:
    planned = [cell("r1"), cell("", seed=1, reason="needs image"), cell("", seed=2, reason="gone")]
    store.plan("main", "", planned)
    assert list(store.cells("main")) == planned


def test_an_added_run_takes_the_place_of_a_reason(store: ResultStore) -> None:
    store.plan("main", "", [cell("", reason="needs image"), cell("r1", seed=1)])
    assert list(store.add_cells([cell("r2"), cell("", seed=1, reason="not here")])) == []
    assert list(store.cells("main")) == [cell("r2"), cell("r1", seed=1)]


def test_of_two_reasons_the_first_stays(store: ResultStore) -> None:
    store.plan("main", "", [cell("", reason="needs image")])
    assert list(store.add_cells([cell("", reason="not here")])) == []
    assert [c.reason for c in store.cells("main")] == ["needs image"]


@pytest.mark.parametrize(("run_id", "reason"), [("", ""), ("r1", "needs image")])
def test_a_cell_has_a_run_or_a_reason(run_id: str, reason: str) -> None:
    with pytest.raises(ValueError, match="either a run or the reason"):
        cell(run_id, reason=reason)


def test_a_suite_keeps_its_title_and_the_settings_of_each_variant(store: ResultStore) -> None:
    plain = StoredSuite(suite="main", title="Größen")
    with_set = StoredSuite(
        suite="main", variant="beef", title="Größen", settings={"training.epochs": 2, "a.b": ["x"]}
    )
    for suite in (plain.model_copy(update={"title": "earlier"}), plain, with_set):
        store.add_suite(suite)
    assert store.suites() == {("main", ""): plain, ("main", "beef"): with_set}
    assert suite_of(store, "main", "beef") == with_set
    assert suite_of(store, "other") == StoredSuite(suite="other")


@pytest.mark.usefixtures("readable_ids")
def test_titles_travel_as_files_and_between_stores(
    store: ResultStore, make_record: MakeRecord, tmp_path: Path
) -> None:
    store.add(make_record("r1"))
    store.plan("main", "beef", [cell("r1", variant="beef", features="names")])
    stored = StoredSuite(suite="main", variant="beef", title="Sizes", settings={"a.b": 1})
    store.add_suite(stored)
    store.add_suite(StoredSuite(suite="main", title="a suite without an exported run"))
    export(store, ["r1"], tmp_path / "records", runs=tmp_path)
    files, merged = MemoryStore(), MemoryStore()
    import_records(files, tmp_path / "records", runs=tmp_path)
    assert files.suites() == {("main", "beef"): stored}
    own = stored.model_copy(update={"title": "my own"})
    merged.add_suite(own)
    merge(merged, store)
    assert merged.suites()["main", "beef"] == own


def test_a_wrong_plan_changes_nothing(store: ResultStore) -> None:
    store.plan("main", "", [cell("r1")])
    with pytest.raises(ValueError, match="is of suite 'other'"):
        store.plan("main", "", [cell("r2", suite="other")])
    with pytest.raises(ValueError, match="same place"):
        store.plan("main", "", [cell("r2"), cell("r3")])
    assert list(store.cells()) == [cell("r1")]


# --- measurements -------------------------------------------------------------------------


def measurement(suite: str, seconds: float) -> BenchmarkRecord:
    sample = BenchmarkSample(
        stage="fusion",
        name="mean",
        sizes={"d": 2, "N": 2**40},
        seconds=(seconds, 1 / 3),
        peak=2**40,
    )
    bare = sample.model_copy(update={"name": "gate", "peak": None})
    return identified(
        BenchmarkRecord(
            benchmark_id="none",
            suite=suite,
            settings={"rounds": 2},
            samples=(sample, bare),
            provenance={"threads": 2},
        )
    )


def test_measurements_are_returned_equal_and_in_order(store: ResultStore) -> None:
    first, second, other = measurement("a", 0.1), measurement("a", 0.2), measurement("b", 0.1)
    for record in (first, other, second, first):
        store.add_benchmark(record)
    assert store.benchmarks("a") == [first, second]
    assert store.benchmarks() == [first, other, second]
    assert store.benchmarks("c") == []


def test_the_id_of_a_measurement_says_what_it_holds() -> None:
    assert measurement("a", 0.1) == measurement("a", 0.1)
    assert measurement("a", 0.1).benchmark_id != measurement("a", 0.2).benchmark_id


def test_measurements_travel_as_files_and_between_stores(
    store: ResultStore, make_record: MakeRecord, tmp_path: Path
) -> None:
    record = measurement("a", 0.1)
    store.add_benchmark(record)
    folder = tmp_path / "records"
    export(store, [], folder, runs=tmp_path, benchmarks=store.benchmarks())
    files, merged = MemoryStore(), MemoryStore()
    assert import_records(files, folder, runs=tmp_path).added == [record.benchmark_id]
    assert import_records(files, folder, runs=tmp_path).already_stored == 1
    assert merge(merged, store).added == [record.benchmark_id]
    assert files.benchmarks() == merged.benchmarks() == [record]


# --- selected numbers ---------------------------------------------------------------------


EVERY_KIND = Numbers(
    metrics=frozenset({MetricKey("mrr"), MetricKey("mrr", split="valid")}),
    diagnostics=frozenset({"parameters"}),
    timings=frozenset({"train.epoch", "memory.peak"}),
    epochs="all",
    provenance=True,
)


def eventful(make_record: MakeRecord) -> RunRecord:
    """Return a record with numbers of every kind, more than are selected."""
    number = {"side": "both", "metric": "mrr", "queries": 2}
    found = make_record("a1").model_dump() | {
        "metrics": [
            {**number, "split": "test", "value": 0.5},
            {**number, "split": "valid", "value": 0.25},
            {**number, "split": "test", "value": 0.1, "side": "head"},
            {**number, "split": "test", "value": 0.2, "bucket": "cold"},
        ],
        "history": [{"epoch": 1.0, "easy": 0.5}, {"epoch": 2.0, "easy": 0.75}],
        "diagnostics": {"parameters": 12.0, "omega": 0.5},
        "timings": [
            {"name": "train.epoch", "value": 2.0},
            {"name": "train.epoch", "value": 4.0},
            {"name": "test", "value": 9.0},
        ],
        "notes": ["second to none", "a remark"],
        "modalities": ["text", "image"],
    }
    return RunRecord.model_validate(found)


def test_records_hold_the_selected_numbers_alone(
    store: ResultStore, make_record: MakeRecord
) -> None:
    record = eventful(make_record)
    store.add(record)
    (selected,) = store.find(ids=["a1", "unknown"], numbers=EVERY_KIND)
    assert selected == record.only(EVERY_KIND)
    assert [(m.key, m.value) for m in selected.metrics] == [
        (MetricKey("mrr"), 0.5),
        (MetricKey("mrr", split="valid"), 0.25),
    ]
    assert selected.diagnostics == {"parameters": 12.0}
    assert selected.history == record.history
    assert selected.provenance == record.provenance
    assert selected.timing("train.epoch") == 3.0, "the mean of its samples"
    assert selected.timing("memory.peak") is None, "no peak was measured"
    assert selected.notes == ("second to none", "a remark")
    assert selected.modalities == ("text", "image")
    assert selected.spec == record.spec


def test_the_last_epoch_can_be_read_alone(store: ResultStore, make_record: MakeRecord) -> None:
    for run_id in ("a1", "a2"):
        store.add(eventful(make_record).model_copy(update={"run_id": run_id}))
    store.add(make_record("a3", history=()))
    records = store.find(numbers=Numbers(epochs="last"))
    last = {"epoch": 2.0, "easy": 0.75}
    assert [record.history for record in records] == [(last,), (last,), ()]


def test_without_selected_numbers_none_are_read(
    store: ResultStore, make_record: MakeRecord
) -> None:
    record = eventful(make_record)
    store.add(record)
    (bare,) = store.find(numbers=Numbers())
    assert bare == record.only(Numbers())
    assert (bare.metrics, bare.diagnostics, bare.timings) == ((), {}, ())
    assert (bare.history, bare.provenance) == ((), {})
