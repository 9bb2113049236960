"""Before the first run starts: does every run fit the memory?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.catalog import load_models
from harness.cli.main import app
from harness.errors import RunError
from harness.plan import estimator, machine
from harness.plan.estimator import Estimator
from harness.plan.spec import RunSpec
from harness.training.beside import look

load_models()

SUITE = """\
name: small
datasets: [synthetic]
base: {training.epochs: 1, model.dim: 4, negatives.count: 2}
seeds: [0]
rows: [transe]
"""


def spec(name: str = "transe", *, options: Mapping[str, Any] = {}, **parts: Any) -> RunSpec:
    model = {"name": name, **options}
    return RunSpec.model_validate({"model": model, "data": {"dataset": "synthetic"}, **parts})


def memory(run: RunSpec) -> float:
    return Estimator("cpu", look).memory(run, "a row")[0]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


def start(suite: Path) -> Result:
    return CliRunner().invoke(app, ["run", str(suite)])


def have(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda device: size)


def needed() -> float:
    """Return the bytes that the suite's run takes, as they are estimated."""
    return memory(spec(options={"dim": 4}, training={"epochs": 1}, negatives={"count": 2}))


LARGE_TOO = SUITE + "  - {model: transe, label: large, set: {negatives.count: 100000}}\n"


def test_a_run_that_cannot_fit_fails_before_it_starts_and_stops_no_other(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write_text(LARGE_TOO.replace("rows: [transe]", "rows:\n  - transe"))
    have(monkeypatch, needed() * 1.1)
    result = start(suite)
    assert isinstance(result.exception, RunError)
    said = str(result.exception)
    assert said.startswith("1 run failed")
    assert "GiB of memory, more than there is (" in said
    assert "lower training.batch_size or negatives.count (the same command tries again)" in said
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
    assert "GiB of memory" in result.stdout, "the list of trials says why"


def test_a_run_that_may_fit_is_warned_of_and_started(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, needed() / 1.1)
    result = start(suite)
    assert result.exit_code == 0, result.output
    assert "more memory than there is (" in result.stderr
    assert "TransE" in result.stdout


def test_a_run_that_fits_is_started_without_a_word(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, needed() * 1.01)
    assert "memory" not in start(suite).stderr
    have(monkeypatch, 1.0)
    assert start(suite).exit_code == 0, "what is finished needs none"


@pytest.mark.parametrize(
    ("parts", "remedy"),
    [
        ({"negatives": {"count": 10**6}}, "lower training.batch_size or negatives.count"),
        (
            {"negatives": {"count": 1}, "options": {"dim": 2000}},
            "make the model smaller (model.dim)",
        ),
    ],
)
def test_the_remedy_is_for_the_largest_part(parts: dict[str, Any], remedy: str) -> None:
    assert Estimator("cpu", look).memory(spec(**parts), "a row")[1] == remedy


def test_sizes_are_told_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock(work: object) -> float:
        raise AssertionError("timed")

    monkeypatch.setattr("harness.plan.profile.best_time", clock)
    for model in ("transe", "lookup", "mocme"):
        assert memory(spec(model)) > estimator.PROCESS[0]


def test_the_limit_of_a_container_is_below_that_of_the_machine(tmp_path: Path) -> None:
    import torch

    cpu = torch.device("cpu")
    whole = machine.memory_limit(cpu, tmp_path)
    assert whole > 2**28
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_limit(cpu, tmp_path) == whole
    (tmp_path / "memory.max").write_text("4096\n")
    assert machine.memory_limit(cpu, tmp_path) == 4096
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("8192\n")
    assert machine.memory_limit(cpu, tmp_path) == 8192
