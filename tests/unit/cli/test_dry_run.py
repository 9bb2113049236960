"""The text of ``harness run --dry-run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.catalog import load_models
from harness.cli.dry import State, describe, lines_of
from harness.cli.main import app
from harness.plan import machine
from harness.plan.budget import START_UP, Budget
from harness.plan.expand import Excluded, Plan, PlannedRun
from harness.plan.spec import RunSpec
from harness.store import open_store

load_models()

SUITE = """\
name: small
title: A small suite
datasets: [synthetic]
base: {training.epochs: 2, model.dim: 8, negatives.count: 2}
seeds: [0, 1]
rows: [lookup, transe]
"""
HOUR = Budget(seconds=3600.0, bytes=600 * 2**20)


def planned(model: str, seed: int, position: int) -> PlannedRun:
    spec = {"model": {"name": model}, "data": {"dataset": "atlas"}, "seed": seed}
    return PlannedRun(RunSpec.model_validate(spec), model, position)


PLAN = Plan(
    suite="small",
    title="A small suite",
    variant="",
    runs=tuple(planned(m, s, i) for i, m in enumerate(("lookup", "transe")) for s in (0, 1)),
    excluded=(Excluded("PairRE", 2, "tiva", "none", "harness data fetch tiva gets it"),),
)


def text(state: State | None = None, workers: int = 1, seconds: float = 3600.0) -> str:
    lines = lines_of(PLAN, lambda run: Budget(seconds, HOUR.bytes))
    return describe(PLAN, lines, state or State(), workers=workers)


def json_of(*places: int) -> frozenset[str]:
    return frozenset(PLAN.runs[i].spec.model_dump_json() for i in places)


def test_one_line_for_the_seeds_of_a_row() -> None:
    lines = text().splitlines()
    assert lines[0] == "small: A small suite"
    words = [" ".join(line.split()) for line in lines[1:4]]
    assert words == [
        "row dataset features seeds epochs time/run memory",
        "lookup atlas none 0 1 - 60.0 min 600 MiB",
        "transe atlas none 0 1 100 60.0 min 600 MiB",
    ]


def test_the_total_is_that_of_all_runs_and_of_one_start() -> None:
    assert "all: 4 runs, at most 4.0 h one at a time, 600 MiB of memory" in text()
    assert f"at most {4 * 10 + START_UP:.0f} s one at a time" in text(seconds=10.0)


def test_workers_divide_the_time_and_add_up_memory() -> None:
    assert "all: 4 runs, at most 2.0 h 2 at a time, 1.2 GiB of memory" in text(workers=2)


def test_early_stopping_makes_it_an_upper_bound() -> None:
    assert "upper bounds: early stopping" in text()


def test_an_estimate_of_a_busy_machine_says_so() -> None:
    lines = lines_of(PLAN, lambda run: HOUR)
    assert "idle when measured" not in describe(PLAN, lines, State(), busy=0.1)
    shown = describe(PLAN, lines, State(), busy=0.634)
    assert "(others used 63% of its processors)" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_what_is_finished_is_not_left() -> None:
    shown = text(State(finished=json_of(0, 1), failed=json_of(2)))
    assert "finished already: 2 runs" in shown
    assert "failed earlier: 1 run, skipped without --retry-failed" in shown
    assert "left: 1 run, at most 60.1 min" in shown


def test_nothing_is_said_of_what_is_left_when_it_is_all() -> None:
    assert "left:" not in text()


def test_runs_whose_features_are_not_encoded_are_not_known_to_be_finished() -> None:
    assert "not known to be finished: 3 runs" in text(State(unknown=json_of(0, 1, 2)))


def test_excluded_cells_stand_below_with_their_reason() -> None:
    assert text().endswith("not run:\n  PairRE on tiva:\n    harness data fetch tiva gets it")


def test_a_row_without_an_estimate_says_why() -> None:
    lines = lines_of(PLAN, lambda run: HOUR if run.label == "lookup" else "ValueError: odd")
    shown = describe(PLAN, lines, State())
    assert "not known" in shown
    assert "no estimate, and not in the totals:\n  transe on atlas: ValueError: odd" in shown
    assert "all: 4 runs, at most 2.0 h" in shown


def test_runs_that_need_more_memory_than_there_is_are_named_with_a_remedy() -> None:
    large = Budget(1.0, 40 * 2**30, "lower training.batch_size or negatives.count")
    lines = lines_of(PLAN, lambda run: large if run.label == "transe" else HOUR)
    shown = describe(PLAN, lines, State(), limit=16 * 2**30)
    assert (
        "more memory than there is (16.0 GiB):\n  transe on atlas: 40.0 GiB\n"
        "    lower training.batch_size or negatives.count\n"
    ) in shown
    assert "lookup on atlas:" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    finished = describe(PLAN, lines, State(finished=json_of(2, 3)), limit=16 * 2**30)
    assert "more memory" not in finished, "what is finished needs none"
    assert "more memory" not in describe(PLAN, lines, State(), limit=40 * 2**30)


def test_workers_that_need_more_memory_together_are_named() -> None:
    lines = lines_of(PLAN, lambda run: HOUR)
    shown = describe(PLAN, lines, State(), workers=2, limit=2**30)
    assert "(1.0 GiB): 2 runs at a time need 1.2 GiB\n  use fewer --workers" in shown
    assert "more memory" not in describe(PLAN, lines, State(), limit=2**30)


def test_the_table_is_at_most_80_columns_wide() -> None:
    assert max(map(len, text().splitlines())) <= 80


@pytest.fixture
def dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return a function that runs the command; the machine is measured on a small table."""
    monkeypatch.setattr(machine, "ROWS", 256)
    monkeypatch.setattr(machine, "WIDTH", 32)
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    suite = tmp_path / "small.yaml"
    suite.write_text(SUITE)

    def invoke() -> str:
        home = str(tmp_path / "results")
        result = CliRunner().invoke(app, ["run", str(suite), "--dry-run", "--home", home])
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def test_the_command_needs_no_database_and_makes_none(
    dry_run: Callable[[], str], tmp_path: Path
) -> None:
    assert "all: 4 runs" in dry_run()
    assert not (tmp_path / "results").exists()


def test_the_command_knows_how_much_memory_there_is(
    dry_run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "more memory than there is" not in dry_run()
    monkeypatch.setattr(machine, "memory_limit", lambda device: 2**20)
    assert "more memory than there is (1 MiB):\n  Lookup on synthetic:" in dry_run()


def test_the_command_sees_what_the_store_holds(
    dry_run: Callable[[], str], tmp_path: Path, make_record: Callable[..., object]
) -> None:
    from harness.data.load import load
    from harness.plan.expand import expand, identify
    from harness.plan.suite import load_suite

    digest = load("synthetic").graph.digest
    plan = expand(load_suite(tmp_path / "small.yaml"))
    (run_id, _), *_ = identify(plan, lambda data: (digest, ""))
    (tmp_path / "results").mkdir()
    store = open_store(tmp_path / "results" / "harness.db")
    store.add(make_record(run_id))  # type: ignore[arg-type]
    store.close()
    assert "left: 3 runs" in dry_run()


@pytest.mark.data
def test_names_are_not_encoded_for_a_dry_run(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli import dry
    from harness.data.encoders.hashed import HashedNgrams
    from harness.plan.spec import DataSpec

    def refuse(self: object, inputs: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(HashedNgrams, "compute", refuse)
    data = DataSpec(dataset="mkg-w", features="hashed-names")
    assert dry._at_hand(data)[1] == "?"
