"""Before the first run starts: runs that cannot fit the memory are refused, slow ones named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.catalog import load_models
from harness.cli.main import app
from harness.errors import RunError
from harness.events import Event
from harness.plan import memory
from harness.plan.memory import data_size, least_memory
from harness.plan.spec import RunSpec
from harness.run.jobs import Job
from harness.run.memory import divide

load_models()

SUITE = """\
name: small
datasets: [synthetic]
base: {training.epochs: 1, model.dim: 4, negatives.count: 2}
seeds: [0]
rows: [transe]
"""
ALSO_LARGE = SUITE.replace(
    "rows: [transe]",
    "rows:\n  - transe\n  - {model: transe, label: large, set: {negatives.count: 100000}}",
)

SPEC = RunSpec.model_validate(
    {
        "model": {"name": "transe", "dim": 4},
        "data": {"dataset": "synthetic"},
        "training": {"epochs": 1},
        "negatives": {"count": 2},
    }
)
"""The run of ``SUITE``."""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


def start(suite: Path) -> Result:
    return CliRunner().invoke(app, ["run", str(suite)])


def have(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda device: size)


def needed() -> float:
    """Return the least memory of the suite's run."""
    return least_memory(SPEC, data_size(SPEC.data)).size


def test_a_run_that_cannot_fit_fails_before_it_starts_and_stops_no_other(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write_text(ALSO_LARGE)
    have(monkeypatch, needed() * 1.1)
    result = start(suite)
    assert isinstance(result.exception, RunError)
    message = str(result.exception)
    assert message.startswith("1 run failed")
    assert "needs at least " in message
    assert "of memory, more than there is (" in message
    assert "lower training.batch_size or negatives.count (the same command tries again)" in message
    assert "failed: large on synthetic, seed 0" in result.stderr
    assert "done: TransE on synthetic, seed 0" in result.stderr
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 1


def test_a_trial_that_cannot_fit_fails_and_the_study_goes_on(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = "study: {sampler: grid, space: {negatives.count: [2, 100000]}}\n"
    suite.write_text(SUITE + study)
    have(monkeypatch, needed() * 1.1)
    result = CliRunner().invoke(app, ["study", "run", str(suite)])
    assert isinstance(result.exception, RunError)
    assert "trial 1 of TransE on synthetic" in result.stderr
    assert "complete" in result.stderr
    assert "(--retry-failed tries again)" in str(result.exception)
    assert "of memory" in result.stdout, "the list of trials says why"

    again = CliRunner().invoke(app, ["study", "run", str(suite)])
    assert isinstance(again.exception, RunError), "it fails until its trials are complete"
    assert str(again.exception).startswith("1 run failed earlier; the first: ")


def test_runs_that_fit_alone_but_not_together_are_started_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(run_id=name, label="TransE", spec=SPEC, home=tmp_path) for name in ("a", "b")]
    have(monkeypatch, needed() * 1.5)
    events: list[Event] = []
    assert divide(jobs, 2, events.append) == (jobs, [])
    message = " ".join(map(str, events))
    assert "2 runs at a time need" in message
    assert "use fewer --workers" in message
    divide(jobs, 1, events.append)
    assert len(events) == 2


def test_a_run_that_fits_is_started_without_a_word(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, needed())
    assert "memory" not in start(suite).stderr
    have(monkeypatch, 1.0)
    assert start(suite).exit_code == 0, "a finished run needs none"
