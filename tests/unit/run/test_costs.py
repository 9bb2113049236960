"""Costs of runs: looked up among measurements of the same work, or measured by a probe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.plan.cell import Cell
from harness.plan.spec import RunSpec
from harness.run.costs import CostTable, Platform, cost_of
from harness.run.inline import InlineExecutor
from harness.store import open_store
from harness.store.records import RunRecord, TimingSample
from tests.toys import SMALL, toy_spec

load_models()

HERE = {"processor": "P", "cores": 2, "system": "Linux"}
MakeRecord = Callable[..., RunRecord]


def spec(dim: int = 8, **parts: Any) -> RunSpec:
    training = {"epochs": 10, "evaluate_every": 5, **parts.pop("training", {})}
    return toy_spec(dataset="atlas", dim=dim, **{"negatives": {}, "training": training} | parts)


def timings(*epochs: float, memory: float = 2.0**30) -> tuple[TimingSample, ...]:
    return (
        *(TimingSample(name="train.epoch", value=seconds) for seconds in epochs),
        TimingSample(name="evaluate.valid", value=0.5),
        TimingSample(name="evaluate.test", value=0.7),
        TimingSample(name="memory.peak", value=memory, unit="bytes"),
    )


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.provenance.machine", lambda: HERE)


@pytest.fixture
def stored(tmp_path: Path, make_record: MakeRecord) -> Callable[..., None]:
    """Return a function that stores the record of a run with epochs of the given seconds."""

    def store_run(run: RunSpec, *epochs: float, **changes: Any) -> None:
        values = {
            "model": run.model.name,
            "spec": run.model_dump(mode="json"),
            "timings": timings(*epochs),
            "history": (),
            "provenance": {"machine": HERE, "device": "cpu", "threads": 2},
            **changes,
        }
        tmp_path.joinpath("home").mkdir(exist_ok=True)
        store = open_store(tmp_path / "home" / "harness.db")
        store.add(make_record(f"run{len(store.ids())}", **values))
        store.close()

    return store_run


def table(tmp_path: Path) -> CostTable:
    return CostTable(tmp_path / "home", "cpu", 2)


def test_without_a_measurement_the_cost_is_unknown(tmp_path: Path) -> None:
    assert table(tmp_path).cost(spec()) is None
    assert not (tmp_path / "home").exists()


def test_a_run_takes_its_epochs_its_validations_and_two_rankings(
    tmp_path: Path, stored: Callable[..., None]
) -> None:
    history = ({"epoch": 1.0, "valid_seconds": 9.0}, {"epoch": 2.0, "valid_seconds": 0.25})
    stored(spec(), 30.0, 2.0, 2.0, history=history)
    cost = table(tmp_path).cost(spec())
    assert cost is not None
    assert cost.epoch == 2.0, "the first epoch and validation load the kernels"
    assert cost.seconds(spec().training) == pytest.approx(10 * 2.0 + 2 * 0.25 + 1.2)
    assert cost.memory == 2.0**30
    assert cost.platform == "", "measured on this machine"


@pytest.mark.parametrize(
    "parts",
    [
        {"seed": 7},
        {"training": {"epochs": 90, "evaluate_every": 3, "patience": 1}},
        {"optimiser": {"lr": 0.1}},
        {"objective": {"margin": 9.0, "temperature": 0.5}},
        {"protocol": {"valid_filter": ["train"]}},
    ],
)
def test_settings_that_leave_the_work_alone_share_a_measurement(
    tmp_path: Path, stored: Callable[..., None], parts: dict[str, Any]
) -> None:
    stored(spec(), 1.0)
    assert table(tmp_path).cost(spec(**parts)) is not None


@pytest.mark.parametrize(
    "parts",
    [
        {"dim": 16},
        {"training": {"batch_size": 99}},
        {"negatives": {"count": 3}},
        {"optimiser": {"name": "adagrad"}},
        {"protocol": {"sides": ["tail"]}},
        {"data": {"dataset": "synthetic"}},
        {"data": {"dataset": "atlas", "features": "all"}},
    ],
)
def test_settings_that_change_the_work_do_not(
    tmp_path: Path, stored: Callable[..., None], parts: dict[str, Any]
) -> None:
    stored(spec(), 1.0)
    assert table(tmp_path).cost(spec(**parts)) is None


def test_the_nearest_measurement_counts(tmp_path: Path, stored: Callable[..., None]) -> None:
    stored(spec(optimiser={"lr": 0.1}, objective={"margin": 9.0}), 3.0)
    stored(spec(optimiser={"lr": 0.1}), 2.0)
    cost = table(tmp_path).cost(spec())
    assert cost is not None
    assert cost.epoch == 2.0


def test_this_machine_goes_before_another_and_the_other_is_named(
    tmp_path: Path, stored: Callable[..., None]
) -> None:
    other = {"machine": {"processor": "Q", "cores": 64}, "device": "cpu", "threads": 2}
    stored(spec(), 3.0, provenance=other)
    away = table(tmp_path).cost(spec())
    assert away is not None
    assert away.platform == "Q, 64 cores"
    stored(spec(optimiser={"lr": 0.5}), 2.0)
    home = table(tmp_path).cost(spec())
    assert home is not None
    assert (home.epoch, home.platform) == (2.0, "")


def test_a_measurement_with_as_many_threads_goes_first(
    tmp_path: Path, stored: Callable[..., None]
) -> None:
    stored(spec(), 3.0, provenance={"machine": HERE, "device": "cpu", "threads": 1})
    stored(spec(optimiser={"lr": 0.5}), 2.0)
    cost = table(tmp_path).cost(spec())
    assert cost is not None
    assert cost.epoch == 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "failed"},
        {"timings": ()},
        {"provenance": {"machine": HERE, "device": "NVIDIA A100", "threads": 2}},
    ],
)
def test_records_that_say_nothing_of_the_cost_are_passed_over(
    tmp_path: Path, stored: Callable[..., None], changes: dict[str, Any]
) -> None:
    stored(spec(), 1.0, **changes)
    assert table(tmp_path).cost(spec()) is None


def test_a_model_that_is_not_trained_costs_its_ranking(make_record: MakeRecord) -> None:
    cost = cost_of(make_record("aaaa", model="lookup", timings=timings(), history=()))
    assert cost is not None
    assert cost.seconds(spec().training) == pytest.approx(1.2)


def test_a_run_of_another_code_base_has_no_cost(make_record: MakeRecord) -> None:
    assert cost_of(make_record("aaaa", model="external", timings=timings(1.0))) is None


def test_the_platform_names_processor_cores_and_gpu() -> None:
    assert str(Platform("P", 2, "cpu", 1)) == "P, 2 cores"
    assert str(Platform("P", 2, "NVIDIA A100", 1)) == "P, 2 cores, NVIDIA A100"
    assert str(Platform.of({})) == "processor not recorded, 0 cores"


def probe(costs: CostTable, run: RunSpec) -> list[str]:
    return [outcome.status for _, outcome in costs.probe([Cell.of(run, "row")])]


def test_a_probe_measures_an_epoch_and_its_result_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the probe is a process of its own, on the real machine
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    run = spec(data={"dataset": SMALL}, negatives={"count": 2}, audit={"shadow_test": True})
    costs = CostTable(tmp_path / "home", "cpu", 1)
    assert probe(costs, run) == ["ok"]
    for known in (costs, CostTable(tmp_path / "home", "cpu", 1)):
        cost = known.cost(run)
        assert cost is not None
        assert 0 < cost.epoch < 5
        assert cost.memory > 2**27
        assert cost.platform == ""
    assert not (tmp_path / "home").exists(), "results are left alone"
    (damaged,) = (tmp_path / "cache" / "probes").iterdir()
    damaged.write_text("{")
    assert CostTable(tmp_path / "home", "cpu", 1).cost(run) is None


def test_a_probe_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harness.run.executors.ProcessExecutor", lambda *arguments: InlineExecutor()
    )
    costs = table(tmp_path)
    ((_, outcome),) = costs.probe([Cell.of(spec(optimiser={"lr": 1e38}), "row")])
    assert outcome.status == "failed"
    assert "optimiser.lr" in outcome.message
    assert not (tmp_path / "cache" / "probes").exists()
