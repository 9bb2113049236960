"""``harness bench``, every command at a size that takes seconds; the numbers mean nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.bench import ceilings, core
from harness.bench.contenders import EVERY_QUERY, ONCE
from harness.bench.kernel_times import OPS, PARTS
from harness.bench.roofline import RESOURCES
from harness.cli.main import app
from harness.errors import ConfigError, MachineError, MissingDataError


@pytest.fixture
def found(tmp_path: Path) -> Path:
    return tmp_path / "found.json"


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-benchmarks of microseconds."""
    sizes = {"READ_ONCE": 2**16, "MATRIX": 64, "GATHERED": 256, "PASSES": 2}
    for name, value in sizes.items():
        monkeypatch.setattr(ceilings, name, value)
    monkeypatch.setattr(core, "STEPS", 100_000)
    monkeypatch.setattr(core, "PASSES", 20)


def bench(*words: str, json_: Path) -> tuple[str, dict[str, Any]]:
    """Run a command; return what it printed and what it wrote.

    That tables fit 80 columns is tested with numbers that are possible.
    """
    result = CliRunner().invoke(app, ["bench", *words, "--json", str(json_)])
    if result.exception is not None:
        raise result.exception
    written = json.loads(json_.read_text())
    assert written["machine"]["versions"]["torch"]
    return result.stdout, written


@pytest.mark.usefixtures("small_probes")
def test_ceilings(found: Path) -> None:
    text, written = bench("ceilings", "--entities", "2048", "--rounds", "1", json_=found)
    assert "square roots per cycle" in text.replace("\n", " ")
    rates = written["ceilings"]["rates"]
    assert set(rates) == {*RESOURCES, "bf16"}
    assert all(rate["median"] > 0 for rate in rates.values())
    assert written["ceilings"]["core"]["clock"] > 1e8


@pytest.mark.usefixtures("small_probes")
def test_kernels(found: Path) -> None:
    words = [
        "kernels",
        "--entities",
        "2048",
        "--positives",
        "8",
        "--negatives",
        "2",
        "--rounds",
        "1",
    ]
    text, written = bench(*words, json_=found)
    assert "table gradient  modulus" in text
    measured = [(one["part"], one["op"]) for one in written["kernels"]]
    assert measured == [(part, op) for part in PARTS for op in OPS]
    assert all(one["seconds"]["median"] > 0 < one["least"][0] for one in written["kernels"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_probes")
def test_peers(found: Path) -> None:
    """Those that are installed take part; of the others it is said how to get them."""
    what = ["--dataset", "synthetic,atlas", "--models", "transe"]
    _, written = bench("peers", *what, "--seconds", "0.01", "--rounds", "1", json_=found)
    whats = [(one["what"], one["dataset"]) for one in written["ratios"]]
    assert set(whats) == {
        ("training", "synthetic"),
        ("training", "atlas"),
        (EVERY_QUERY, "synthetic"),
        (ONCE, "synthetic"),
    }
    first, second = written["comparisons"]
    assert first["training"]["ours"][0] > 0 < first["peaks"]["ours"]
    assert not second["ranking"]


def test_growth(found: Path) -> None:
    words = ["growth", "--only", "entities,candidates", "--largest", "640", "--minutes", "0"]
    text, written = bench(*words, json_=found)
    assert "95 % interval" in text
    step, ranking = written["growth"]
    assert list(step["seconds"]) == ["40", "80", "160", "320", "640"]
    assert all(len(times) == 2 for times in ranking["seconds"].values())
    assert step["exponent"]["low"] <= step["exponent"]["value"] <= step["exponent"]["high"]


def test_growth_with_every_modality(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.growth_cases.OWNERS", 200)
    monkeypatch.setattr("harness.bench.growth_cases.FUSED_DIM", 8)
    _, written = bench("growth", "--only", "modalities", "--minutes", "0", json_=found)
    assert list(written["growth"][0]["seconds"]) == ["2", "3", "4", "5", "6"]


def test_models(found: Path) -> None:
    narrow = ["--set", "model.dim=8", "--only", "model=transe,model=lookup"]
    text, written = bench("models", "quickstart", *narrow, "--rounds", "1", json_=found)
    (one,) = written["epochs"]
    assert (one["label"], one["dataset"]) == ("TransE", "atlas")
    assert one["seconds"]["median"] > 0 < one["comparisons"]["median"]
    assert one["epoch"] == pytest.approx(one["seconds"]["median"] * one["steps"])
    assert one["ratio"] == pytest.approx(one["seconds"]["median"] / one["least"])
    assert "they are bound by memory" in " ".join(text.split())


@pytest.mark.slow
def test_quality(found: Path) -> None:
    """On a graph this small and in one epoch, rounding cannot move a rank far."""
    words = ["quality", "--models", "transe,mocme", "--dataset", "synthetic", "--epochs", "1"]
    _, written = bench(*words, json_=found)
    for one in written["quality"]:
        assert one["fused"] == pytest.approx(one["reference"], abs=1e-3)
        assert one["other_seed"] != one["fused"]


@pytest.mark.parametrize(
    "words",
    [
        ["peers", "--models", "rotat"],
        ["growth", "--only", "bach"],
        ["quality", "--models", "rotat"],
        ["quality", "--dataset", "atlsa"],
    ],
)
def test_a_wrong_name_is_an_error_with_the_nearest(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", *words])
    assert isinstance(result.exception, ConfigError)
    assert "did you mean" in str(result.exception)


def test_rows_that_only_count_have_no_epoch() -> None:
    words = ["bench", "models", "quickstart", "--only", "model=lookup"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    assert "no row that is meant is trained" in str(result.exception)


def test_a_dataset_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    result = CliRunner().invoke(app, ["bench", "quality", "--dataset", "mkg-w"])
    assert isinstance(result.exception, MissingDataError)
    assert "harness data fetch mkg-w" in str(result.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["fusion", "--features", "99999999999"],
        ["fusion", "--features", f"4096,{10**30}"],
        ["fusion", "--entities", "99999999999"],
        ["kernels", "--entities", "99999999999"],
        ["kernels", "--negatives", "9999999999"],
        ["ceilings", "--entities", "99999999999"],
        ["growth", "--largest", "99999999999"],
    ],
)
def test_what_no_memory_holds_is_refused_before_it_is_tried(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", *words])
    assert isinstance(result.exception, MachineError)
    assert re.search(r" take [\d,]+ GiB at least, this machine has \d+$", str(result.exception))


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
    written = tmp_path / "found.json"
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
    assert "min on" in dry.stderr
    assert not (tmp_path / "home").exists()
    run = CliRunner().invoke(app, ["run", str(tiny), *home], catch_exceptions=False)
    assert "Exponent of time" in run.stdout
    refused = CliRunner().invoke(app, ["run", str(tiny), "--only", "seed=0", *home])
    assert "--only: for suites of runs" in str(refused.exception)
