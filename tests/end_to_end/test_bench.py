"""``harness bench``, every command at a size of seconds; the numbers mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.bench import MOVED
from harness.cli.main import app
from harness.errors import ConfigError


@pytest.mark.parametrize("command", MOVED)
@pytest.mark.parametrize("options", [[], ["--help"], ["--rounds", "3"]])
def test_a_command_that_moved_names_the_new_one(command: str, options: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", command, *options])
    assert isinstance(result.exception, ConfigError)
    assert f"`python -m tests.benchmarks {command}`" in str(result.exception)


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.epochs.SIDE", 64)
    file = tmp_path / "epochs.json"
    narrow = ["--set", "model.dim=8", "--only", "model=transe,model=lookup"]
    words = ["bench", "models", "quickstart", *narrow, "--rounds", "1", "--json", str(file)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    content = json.loads(file.read_text())
    assert content["machine"]["versions"]["torch"]
    (one,) = content["epochs"]
    assert (one["label"], one["dataset"]) == ("TransE", "atlas")
    assert one["seconds"]["median"] > 0 < one["comparisons"]["median"]
    assert one["epoch"] == pytest.approx(one["seconds"]["median"] * one["steps"])
    assert one["ratio"] == pytest.approx(one["seconds"]["median"] / one["least"])
    assert "they are bound by memory" in " ".join(text.split())


def test_rows_that_only_count_have_no_epoch() -> None:
    words = ["bench", "models", "quickstart", "--only", "model=lookup"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    assert "no selected row is trained" in str(result.exception)


TINY = """
name: complexity
measures: complexity
base: {d: 4, K: 2, M: 3, N: 32}
vary: {d: [2, 4, 8], K: [1, 2, 3], M: [2, 3, 4], N: [16, 32, 64]}
fusions: [complementarity, self_attention]
rounds: 1
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_complexity_is_measured_kept_and_shown(tiny: Path, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    written = tmp_path / "written.json"
    words = ["bench", "complexity", "--suite", str(tiny), "--threads", "1", "--json", str(written)]
    shown = CliRunner().invoke(app, [*words, *home], catch_exceptions=False)
    assert "self-attention" in shown.stdout
    report = ["report", "--table", "complexity", *home]
    assert CliRunner().invoke(app, report, catch_exceptions=False).stdout == shown.stdout
    assert CliRunner().invoke(app, ["report", *home]).stdout == shown.stdout
    other = ["--home", str(tmp_path / "other")]
    CliRunner().invoke(app, ["bench", "import", str(written), *other], catch_exceptions=False)
    again = CliRunner().invoke(app, ["report", "--table", "complexity", *other])
    assert again.stdout == shown.stdout


def test_a_suite_of_stages_is_run_as_any_suite(tiny: Path, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    dry = CliRunner().invoke(app, ["run", str(tiny), "--dry-run", *home], catch_exceptions=False)
    assert "min, on" in dry.stderr
    assert not (tmp_path / "home").exists()
    run = CliRunner().invoke(app, ["run", str(tiny), *home], catch_exceptions=False)
    assert "Exponent of time" in run.stdout
    refused = CliRunner().invoke(app, ["run", str(tiny), "--only", "seed=0", *home])
    assert "--only: for suites of runs" in str(refused.exception)
    words = ["--workers", "2", "--executor", "slurm", "--on-interrupt", "cancel", "--detach"]
    refused = CliRunner().invoke(app, ["run", str(tiny), *words, *home])
    expected = "--workers, --executor, --on-interrupt, --detach: for suites of runs"
    assert expected in str(refused.exception)
