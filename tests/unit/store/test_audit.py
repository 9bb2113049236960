"""What cannot be true of a record: among its own numbers, and beside its ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.ranks import Ranks
from harness.store.archive import audit
from harness.store.archive.rank_files import rank_files
from harness.store.records import MetricValue, RunRecord

pytestmark = pytest.mark.usefixtures("readable_ids")

MakeRecord = Callable[..., RunRecord]


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    return tmp_path / "ranks.npz"


@pytest.fixture
def record(make_measured: MakeRecord, ranks: Path) -> RunRecord:
    return make_measured("aaaa", ranks)


def problems(record: RunRecord, ranks: Path) -> list[str]:
    return audit.problems(record, rank_files(ranks))


def changed(record: RunRecord, place: str, **values: Any) -> RunRecord:
    """Change one number, named by split, side, bucket and metric."""
    key = tuple(place.split())
    metrics = tuple(
        m.model_copy(update=values) if (m.split, m.side, m.bucket, m.metric) == key else m
        for m in record.metrics
    )
    assert metrics != record.metrics
    return record.model_copy(update={"metrics": metrics})


def test_what_was_measured_is_true(record: RunRecord, ranks: Path) -> None:
    assert problems(record, ranks) == []


def test_a_record_without_ranks_is_looked_at_alone(record: RunRecord, tmp_path: Path) -> None:
    assert problems(record, tmp_path / "none.npz") == []


@pytest.mark.parametrize("ties", ["optimistic", "pessimistic"])
def test_ranks_are_read_by_the_tie_rule_of_the_run(
    record: RunRecord, ranks: Path, ties: str
) -> None:
    protocol = record.spec.protocol.model_copy(update={"ties": ties})
    spec = record.spec.model_copy(update={"protocol": protocol})
    other = record.model_copy(
        update={"spec": spec, "protocol": record.protocol.replace("realistic", ties)}
    )
    (problem,) = problems(other, ranks)
    assert "other numbers follow from the ranks" in problem


@pytest.mark.parametrize("metric", ["mrr", "mr", "hits@1", "hits@3", "hits@10", "amri"])
@pytest.mark.parametrize("side", ["both", "head", "tail"])
def test_every_test_metric_follows_from_the_ranks(
    record: RunRecord, ranks: Path, side: str, metric: str
) -> None:
    value = record.metric(metric, side=side)
    assert value is not None
    found = problems(changed(record, f"test {side} all {metric}", value=value + 1e-6), ranks)
    expected = (
        f"run aaaa: {ranks}: other numbers follow from the ranks: test {side} all {metric} is "
    )
    assert any(problem.startswith(expected) for problem in found), found


def test_equal_numbers_may_differ_in_the_last_bits(record: RunRecord, ranks: Path) -> None:
    value = record.metric("mrr")
    assert value is not None
    assert problems(changed(record, "test both all mrr", value=value * (1 + 1e-13)), ranks) == []


def test_a_test_metric_that_is_left_out_is_missed(record: RunRecord, ranks: Path) -> None:
    metrics = tuple(m for m in record.metrics if (m.split, m.metric) != ("test", "mr"))
    found = problems(record.model_copy(update={"metrics": metrics}), ranks)
    assert len(found) == 1
    assert "test both all mr is " in found[0]
    assert "in the record not there (and 2 more)" in found[0]


@pytest.mark.parametrize(
    ("place", "values", "problem"),
    [
        ("valid head all mrr", {"value": 0.9}, "valid both all mrr: head and tail together make"),
        ("valid both warm mr", {"value": 2.0}, "valid both all mr: warm and cold together make"),
        ("test both cold hits@10", {"value": 0.0}, "test both all hits@10: warm and cold together"),
        ("valid both cold mrr", {"queries": 5}, "warm and cold together have 13 queries, not 12"),
    ],
)
def test_a_number_is_the_mean_of_its_parts(
    record: RunRecord, ranks: Path, place: str, values: dict[str, Any], problem: str
) -> None:
    found = problems(changed(record, place, **values), ranks)
    assert any(problem in line for line in found), found


def test_ranks_of_one_side_are_not_those_of_both(record: RunRecord, ranks: Path) -> None:
    whole = Ranks.load(ranks)
    Ranks(whole.triples, {"tail": whole.sides["tail"]}).save(ranks)
    assert problems(record, ranks) == [f"run aaaa: {ranks}: ranks of tail, not head, tail"]


def test_damaged_ranks_are_named_with_the_run(record: RunRecord, ranks: Path) -> None:
    ranks.write_bytes(ranks.read_bytes()[:-30])
    (problem,) = problems(record, ranks)
    assert problem.startswith(f"run aaaa: {ranks}: not a complete rank file (")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seed": 3}, "seed is '3', in its settings '0'"),
        ({"model": "transe"}, "model is 'transe', in its settings 'rotate'"),
        ({"dataset": "mkg-w"}, "dataset is 'mkg-w', in its settings 'atlas'"),
    ],
)
def test_a_record_says_what_its_settings_say(
    record: RunRecord, ranks: Path, change: dict[str, Any], problem: str
) -> None:
    (found,) = problems(record.model_copy(update=change), ranks)
    assert found.startswith("run aaaa: ")
    assert problem in found


def test_a_failed_run_has_settings_alone(make_record: MakeRecord, ranks: Path) -> None:
    failed = make_record("aaaa", status="failed", metrics=(), error="NaN")
    assert problems(failed, ranks) == []


@pytest.mark.parametrize(
    ("metric", "value"),
    [("mrr", 1.01), ("mrr", -0.1), ("hits@10", 1.5), ("hits@1", -0.5), ("mr", 0.5), ("amri", -1.2)],
)
def test_a_value_that_no_ranking_has_is_refused(metric: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{metric} is .* to .*, never {value}"):
        MetricValue(split="test", side="both", metric=metric, value=value, queries=1)


def test_a_number_averages_a_query_at_least() -> None:
    with pytest.raises(ValueError, match="queries"):
        MetricValue(split="test", side="both", metric="mrr", value=0.5, queries=0)
