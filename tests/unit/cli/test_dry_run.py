"""The text of ``harness run --dry-run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.catalog import load_models
from harness.cli.dry import describe
from harness.cli.main import app
from harness.errors import ConfigError, MachineError
from harness.plan import memory
from harness.plan.cell import Cell
from harness.plan.expand import Plan
from harness.plan.memory import MemoryBound
from harness.plan.spec import RunSpec
from harness.run.costs import Cost
from harness.run.forecast import Forecast, ForecastRow, PlanProgress
from harness.run.inline import InlineExecutor
from harness.store import open_store

load_models()

SUITE = """\
name: small
title: A small suite
datasets: ["synthetic:entities=40,relations=4,train=200,valid=20,test=20"]
base: {training.epochs: 2, model.dim: 8, negatives.count: 2}
seeds: [0, 1]
rows: [lookup, transe]
"""
MIB = 2**20
HOUR = Cost(epoch=0.0, validation=0.0, ranking=3600.0, memory=600 * MIB)
BOUND = MemoryBound(300 * MIB, "lower training.batch_size or negatives.count")


def planned(model: str, seed: int, position: int) -> Cell:
    spec = {"model": {"name": model}, "data": {"dataset": "atlas"}, "seed": seed}
    return Cell.of(RunSpec.model_validate(spec), model, position)


def excluded(label: str, dataset: str, reason: str) -> Cell:
    spec = {"model": {"name": "pairre"}, "data": {"dataset": dataset}}
    return Cell.of(RunSpec.model_validate(spec), label, 2, reason=reason)


PLAN = Plan(
    suite="small",
    title="A small suite",
    variant="",
    cells=(
        *(planned(m, s, i) for i, m in enumerate(("lookup", "transe")) for s in (0, 1)),
        excluded("PairRE", "tiva", "harness data fetch tiva gets it"),
    ),
)


def row(label: str, cost: Cost | None = HOUR, bound: MemoryBound | str = BOUND) -> ForecastRow:
    runs = tuple(run.spec.model_dump_json() for run in PLAN.runs if run.label == label)
    seconds = cost.ranking if cost else None
    epochs = None if label == "lookup" else 100
    return ForecastRow(label, "atlas", "none", (0, 1), runs, epochs, seconds, cost, bound)


def text(
    *rows: ForecastRow,
    progress: PlanProgress | None = None,
    workers: int = 1,
    limit: float = 2.0**40,
) -> str:
    rows = rows or (row("lookup"), row("transe"))
    shown = describe(Forecast(PLAN, rows, progress or PlanProgress(), workers, limit))
    assert max(map(len, shown.splitlines())) <= 80
    return shown


def json_of(*positions: int) -> frozenset[str]:
    return frozenset(PLAN.runs[i].spec.model_dump_json() for i in positions)


def test_one_line_for_the_seeds_of_a_row() -> None:
    lines = text().splitlines()
    assert lines[0] == "small: A small suite"
    words = [" ".join(line.split()) for line in lines[1:4]]
    assert words == [
        "row dataset features seeds epochs time/run memory",
        "lookup atlas none 0 1 - 60.0 min 600 MiB",
        "transe atlas none 0 1 100 60.0 min 600 MiB",
    ]


def test_the_total_is_that_of_all_runs() -> None:
    assert "all: 4 runs, at most 4.0 h one at a time, 600 MiB of memory" in text()


def test_workers_divide_the_time_and_add_up_memory() -> None:
    assert "all: 4 runs, at most 2.0 h 2 at a time, 1.2 GiB of memory" in text(workers=2)


def test_no_number_of_workers_is_faster_than_the_longest_run() -> None:
    assert "all: 4 runs, at most 60.0 min 9 at a time" in text(workers=9)


def test_early_stopping_makes_it_an_upper_bound() -> None:
    assert "early stopping\n  (training.patience) may end runs sooner." in text()


def test_unknown_costs_say_how_to_measure_them_and_show_the_least_memory() -> None:
    shown = text(row("lookup"), row("transe", None))
    assert " ".join(shown.splitlines()[3].split()) == "transe atlas none 0 1 100 unknown ≥ 300 MiB"
    assert "all: 4 runs, 2 of unknown time, the others at most 2.0 h" in shown
    assert "\nunknown: --probe trains these rows for two epochs" in shown
    assert "unknown" not in text()


def test_a_plan_without_any_measurement_has_no_total() -> None:
    shown = text(row("lookup", None), row("transe", None))
    assert "all: 4 runs, 4 of unknown time\n" in shown
    assert "upper bounds" not in shown


def test_costs_of_another_machine_are_marked_and_the_machine_is_named() -> None:
    shown = text(row("lookup"), row("transe", HOUR._replace(platform="Q, 64 cores")))
    assert "60.0 min*" in shown
    assert "* measured on another machine: Q, 64 cores" in shown


def test_finished_and_failed_runs_are_not_left() -> None:
    shown = text(progress=PlanProgress(finished=json_of(0, 1), failed=json_of(2)))
    assert "finished already: 2 runs" in shown
    assert "failed earlier: 1 run, skipped without --retry-failed" in shown
    assert "left: 1 run, at most 60.0 min" in shown


def test_the_left_runs_are_counted_only_where_some_are_not() -> None:
    assert "left:" not in text()


def test_runs_whose_features_are_not_encoded_are_not_known_to_be_finished() -> None:
    shown = text(progress=PlanProgress(unknown=json_of(0, 1, 2)))
    assert "not known to be finished: 3 runs" in shown


def test_excluded_cells_stand_below_with_their_reason() -> None:
    assert text().endswith("not run:\n  PairRE on tiva:\n    harness data fetch tiva gets it")


def test_a_model_that_cannot_be_built_says_why() -> None:
    shown = text(row("lookup"), row("transe", None, "ValueError: odd"))
    assert "cannot be built:\n  transe on atlas: ValueError: odd\n" in shown
    assert shown.splitlines()[3].split()[-1] == "unknown"


def test_runs_that_need_more_memory_than_there_is_are_named_with_a_remedy() -> None:
    large = row("transe", None, MemoryBound(40 * 2.0**30, BOUND.remedy))
    shown = text(row("lookup"), large, limit=16 * 2**30)
    assert (
        "more memory than there is (16.0 GiB):\n  transe on atlas: 40.0 GiB\n"
        "    lower training.batch_size or negatives.count\n"
    ) in shown
    assert "lookup on atlas:" not in shown
    finished = PlanProgress(finished=json_of(2, 3))
    assert "more memory" not in text(row("lookup"), large, progress=finished, limit=16 * 2**30)
    assert "more memory" not in text(row("lookup"), large, limit=40 * 2**30)


def test_a_measured_peak_counts_when_it_is_above_the_least() -> None:
    assert "transe on atlas: 600 MiB" in text(limit=500 * MIB)


def test_workers_that_need_more_memory_together_are_named() -> None:
    shown = text(workers=2, limit=2**30)
    assert "(1.0 GiB): 2 runs at a time need 1.2 GiB\n  use fewer --workers" in shown
    assert "more memory" not in text(limit=2**30)


@pytest.fixture
def dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs the command with further options; probes run in this process."""
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    monkeypatch.setattr(
        "harness.run.executors.ProcessExecutor", lambda *arguments: InlineExecutor()
    )
    suite = tmp_path / "small.yaml"
    suite.write_text(SUITE)

    def invoke(*options: str) -> str:
        words = ["run", str(suite), "--home", str(tmp_path / "results"), *options]
        result = CliRunner().invoke(app, words if "--probe" in options else [*words, "--dry-run"])
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def test_the_command_needs_no_database_and_makes_none(
    dry_run: Callable[..., str], tmp_path: Path
) -> None:
    assert "all: 4 runs, 4 of unknown time" in dry_run()
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache" / "probes").exists()


def test_probes_are_kept_for_the_next_dry_run(dry_run: Callable[..., str], tmp_path: Path) -> None:
    probed = dry_run("--probe", "--only", "model=transe")
    assert "all: 2 runs, at most " in probed
    assert not (tmp_path / "results").exists()
    assert "all: 4 runs, 2 of unknown time" in dry_run()


def test_rows_that_cannot_fit_the_memory_are_not_probed(
    dry_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda device: MIB)
    shown = dry_run("--probe")
    assert "more memory than there is (1 MiB):\n  Lookup on synthetic:" in shown
    assert "all: 4 runs, 4 of unknown time" in shown


def test_the_command_sees_the_stored_runs(
    dry_run: Callable[..., str], tmp_path: Path, make_record: Callable[..., object]
) -> None:
    from harness.data.load import load_dataset
    from harness.plan.expand import expand, identify
    from harness.plan.suite import read_suite

    plan = expand(read_suite(tmp_path / "small.yaml"))
    digest = load_dataset(plan.runs[0].spec.data.dataset).graph.digest
    run_id = identify(plan.runs, lambda data: (digest, ""))[0].run_id
    (tmp_path / "results").mkdir()
    store = open_store(tmp_path / "results" / "harness.db")
    store.add(make_record(run_id))  # type: ignore[arg-type]
    store.close()
    assert "left: 3 runs" in dry_run()


@pytest.mark.data
def test_names_are_not_encoded_for_a_dry_run(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data.encoders.hashed import HashedNgrams
    from harness.plan.spec import DataSpec
    from harness.run.digests import known_digests

    def refuse(self: object, inputs: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(HashedNgrams, "compute", refuse)
    data = DataSpec(dataset="mkg-w", features="hashed-names")
    assert known_digests(data)[1] == "?"
    assert memory.data_size(data).features


def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path: Path) -> None:
    suite, file = tmp_path / "small.yaml", tmp_path / "file"
    suite.write_text(SUITE)
    file.touch()
    for words, error, message in (
        (["--executor", "process"], ConfigError, "unknown executor 'process'; did you mean"),
        (["--executor", "inline", "--workers", "2"], ConfigError, "executor 'inline' runs one"),
        (["--home", str(file)], MachineError, f"{file}: is a file, not a folder"),
        (["--home", "/proc/x"], MachineError, "/proc/x: this folder cannot be made"),
    ):
        for dry in (["--dry-run"], []):
            result = CliRunner().invoke(app, ["run", str(suite), *words, *dry])
            assert isinstance(result.exception, error), result.output
            assert message in str(result.exception)


def test_a_dry_run_leaves_no_results_folder(tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(SUITE)
    words = ["run", str(suite), "--dry-run", "--home", str(tmp_path / "new" / "results")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert not (tmp_path / "new").exists()
