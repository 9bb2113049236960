"""``python -m tests.benchmarks``, every command at a size of seconds; the numbers mean nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.errors import ConfigError, MachineError, MissingDataError
from tests.benchmarks import ceilings
from tests.benchmarks.__main__ import app
from tests.benchmarks.contenders import EVERY_QUERY, ONCE
from tests.benchmarks.kernels import OPS, PARTS, RESOURCES

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "written.json"


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-benchmarks of microseconds."""
    sizes = {"STREAMED": 2**16, "SIDE": 64, "GATHERED": 256, "PASSES": 20, "STEPS": 100_000}
    for name, value in sizes.items():
        monkeypatch.setattr(ceilings, name, value)


def bench(*words: str, json_: Path) -> tuple[str, dict[str, Any]]:
    """Run a command; return its output and the file it wrote.

    Possible numbers, which must fit into 80 columns, are tests of the texts.
    """
    result = CliRunner().invoke(app, [*words, "--json", str(json_)])
    if result.exception is not None:
        raise result.exception
    content = json.loads(json_.read_text())
    assert content["machine"]["versions"]["torch"]
    return result.stdout, content


def test_the_commands_are_listed_in_a_checkout() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--help"],
        cwd=REPOSITORY,
        env={**os.environ, "TERM": "dumb"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for command in ("ceilings", "kernels", "peers", "fusion", "growth", "quality"):
        assert command in done.stdout


@pytest.mark.usefixtures("small_probes")
def test_ceilings(written: Path) -> None:
    text, content = bench("ceilings", "--entities", "2048", "--rounds", "1", json_=written)
    assert "square roots per cycle" in text.replace("\n", " ")
    rates = content["ceilings"]["rates"]
    assert set(rates) == {*RESOURCES, "bf16"}
    assert all(rate["median"] > 0 for rate in rates.values())
    assert content["ceilings"]["core"]["clock"] > 1e8


@pytest.mark.usefixtures("small_probes")
def test_kernels(written: Path) -> None:
    sizes = ["--entities", "2048", "--positives", "8", "--negatives", "2", "--rounds", "1"]
    text, content = bench("kernels", *sizes, json_=written)
    assert "table gradient  modulus" in text
    measured = [(one["part"], one["op"]) for one in content["kernels"]]
    assert measured == [(part, op) for part in PARTS for op in OPS]
    assert all(one["seconds"]["median"] > 0 < one["least"][0] for one in content["kernels"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_probes")
def test_peers(written: Path) -> None:
    """Installed libraries take part; for the others the command prints how to install them."""
    options = ["--dataset", "synthetic,atlas", "--models", "transe"]
    _, content = bench("peers", *options, "--seconds", "0.01", "--rounds", "1", json_=written)
    kinds = [(one["what"], one["dataset"]) for one in content["ratios"]]
    assert set(kinds) == {
        ("training", "synthetic"),
        ("training", "atlas"),
        (EVERY_QUERY, "synthetic"),
        (ONCE, "synthetic"),
    }
    first, second = content["comparisons"]
    assert first["training"]["ours"][0] > 0 < first["peaks"]["ours"]
    assert not second["ranking"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_probes")
def test_peers_against_all_entities(written: Path) -> None:
    options = ["--loss", "one_vs_all", "--dataset", "synthetic", "--seconds", "0.01"]
    text, content = bench("peers", *options, "--rounds", "1", json_=written)
    contenders = [one["contender"] for one in content["ratios"]]
    assert contenders[:2] == ["ours-all", "ours-all-bf16"]
    assert {"kbc", "products", "products-bf16"} < set(contenders)
    assert content["ratios"][0]["by_ours"]["median"] == 1
    assert "as kbc" in text


def test_growth(written: Path) -> None:
    options = ["--only", "entities,candidates", "--largest", "640", "--minutes", "0"]
    text, content = bench("growth", *options, json_=written)
    assert "95 % interval" in text
    step, ranking = content["growth"]
    assert list(step["seconds"]) == ["40", "80", "160", "320", "640"]
    assert all(len(times) == 2 for times in ranking["seconds"].values())
    assert step["exponent"]["low"] <= step["exponent"]["value"] <= step["exponent"]["high"]


def test_growth_with_every_modality(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.growth.FUSED_ENTITIES", 200)
    monkeypatch.setattr("tests.benchmarks.growth.FUSED_DIM", 8)
    _, content = bench("growth", "--only", "modalities", "--minutes", "0", json_=written)
    assert list(content["growth"][0]["seconds"]) == ["2", "3", "4", "5", "6"]


@pytest.mark.usefixtures("postgresql")
def test_stores(written: Path) -> None:
    text, content = bench("stores", "--writers", "2", "--records", "2", json_=written)
    assert "PostgreSQL, records/s" in text
    assert [(one["store"], one["records"]) for one in content["stores"]] == [
        ("SQLite", 4),
        ("PostgreSQL", 4),
    ]


@pytest.mark.slow
def test_quality(written: Path) -> None:
    """On a graph this small and in one epoch, rounding cannot move a rank far."""
    options = ["--models", "transe,mocme", "--dataset", "synthetic", "--epochs", "1"]
    _, content = bench("quality", *options, json_=written)
    for one in content["quality"]:
        assert one["fused"] == pytest.approx(one["reference"], abs=1e-3)
        assert one["other_seed"] != one["fused"]


@pytest.mark.parametrize(
    "words",
    [
        ["peers", "--models", "rotat"],
        ["peers", "--loss", "one_vs_all", "--models", "complx"],
        ["growth", "--only", "bach"],
        ["quality", "--models", "rotat"],
        ["quality", "--dataset", "atlsa"],
    ],
)
def test_a_wrong_name_is_an_error_with_the_nearest(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    assert "did you mean" in str(result.exception)


def test_a_wrong_loss_is_an_error_with_the_choices() -> None:
    result = CliRunner().invoke(app, ["peers", "--loss", "k_vs_all"])
    assert isinstance(result.exception, ConfigError)
    assert "--loss k_vs_all: is not compared; choose sampled or one_vs_all" in str(result.exception)


def test_a_missing_dataset_is_an_error_with_the_command_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    result = CliRunner().invoke(app, ["quality", "--dataset", "mkg-w"])
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
def test_sizes_that_no_memory_holds_are_refused(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, MachineError)
    assert re.search(r" take [\d,]+ GiB at least, this machine has \d+$", str(result.exception))
