"""``harness runs show`` prints a command that makes the same run again, wherever it came from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

SUITE = """\
name: own
base:
  training: {epochs: 2, evaluate_every: 1}
  optimiser.lr: 0.01
datasets: [{dataset: "synthetic:entities=40,train=120,seed=1", features: all}]
rows:
  - {model: transe, label: "small, it's", set: {model.dim: 4}}
  - popularity
ablation:
  base: {model: mocme, label: full, set: {model.dim: 4}}
  variants:
    - {label: w/o, drop: image}
seeds: [3]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(SUITE)
    return path


def listed(harness: Run, **environment: str) -> dict[str, float]:
    """Return the runs of a results folder with their test MRR."""
    found = json.loads(harness("runs", "list", "--json", **environment).out)
    return {run["run_id"]: run["mrr_test"] for run in found}


def command(harness: Run, run_id: str, **environment: str) -> list[str]:
    """Return the words of the command that repeats a run, without the name of the program."""
    shown = harness("runs", "show", run_id, **environment)
    assert shown.code == 0, shown.err
    _, _, repeat = shown.out.partition("\nrepeat it with\n")
    _, removed, run = repeat.partition(f"  harness runs rm {run_id}\n")
    assert removed
    words = shlex.split(run)
    assert words[:2] == ["harness", "run"]
    return words[1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [(), ("--set", "training.epochs=1", "--set", "negatives.count=3")], ids=["", "set"]
)
def test_every_run_of_a_suite(
    harness: Run, suite: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    ended = harness("run", suite, *options)
    assert ended.code == 0, ended.err
    runs = listed(harness)
    assert len(runs) == 4
    for run_id, mrr in runs.items():
        fresh = {"HARNESS_HOME": str(tmp_path / "fresh" / run_id)}
        again = harness(*command(harness, run_id), **fresh)
        assert again.code == 0, again.err
        assert run_id in again.out
        assert listed(harness, **fresh) == {run_id: mrr}


@pytest.mark.slow
def test_a_run_that_was_imported_from_its_record(harness: Run, suite: Path, tmp_path: Path) -> None:
    only = ("--only", "model=transe", "--set", "model.dim=3")
    assert harness("run", suite, *only).code == 0
    (run_id,) = listed(harness)
    assert harness("db", "export", "--out", tmp_path / "records").code == 0
    imported, fresh = ({"HARNESS_HOME": str(tmp_path / name)} for name in ("imported", "fresh"))
    assert harness("db", "import", tmp_path / "records", **imported).code == 0
    suite.unlink()
    words = command(harness, run_id, **imported)
    assert harness(*words, **fresh).code == 0
    assert listed(harness, **fresh) == listed(harness)


@pytest.mark.slow
def test_a_run_of_a_model_of_ones_own(harness: Run, suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "own.py").write_text(
        "from harness.model import MODELS, register_model\n\n\n"
        "@register_model('mine')\nclass Mine(MODELS.get('transe')):\n    '''TransE again.'''\n"
    )
    suite.write_text(SUITE.replace("popularity", "{model: mine, label: mine}"))
    only = ("--only", "model=mine", "--only", "model=transe")
    assert harness("run", suite, "--models", folder, *only).code == 0
    own, shipped = (
        command(harness, run["run_id"])
        for model in ("mine", "transe")
        for run in json.loads(harness("runs", "list", "--model", model, "--json").out)
    )
    assert own[:3] == ["run", "--models", str(folder)]
    assert "--models" not in shipped
    fresh = {"HARNESS_HOME": str(tmp_path / "fresh")}
    assert harness(*own, **fresh).code == 0
    assert set(listed(harness, **fresh)) < set(listed(harness))


@pytest.mark.slow
def test_a_run_that_failed_is_run_again_once_it_is_removed(
    harness: Run, suite: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "own.py").write_text(
        "from harness.model import MODELS, register_model\n\n\n"
        "@register_model('mine')\nclass Mine(MODELS.get('transe')):\n"
        "    def encode(self, *arguments, **named):\n        raise RuntimeError('not today')\n"
    )
    suite.write_text(SUITE.replace("popularity", "{model: mine, label: mine}"))
    ended = harness("run", suite, "--models", folder, "--only", "model=mine")
    assert ended.code == 1
    assert "not today" in ended.err
    (run_id,) = listed(harness)
    words = command(harness, run_id)
    again = harness(*words)
    assert again.code == 1
    assert "1 failed earlier and is skipped (--retry-failed)" in again.err
    assert f"error: 1 run failed earlier; the first: {run_id}: RuntimeError: not today" in again.err
    assert harness("runs", "rm", run_id, "--yes").code == 0
    assert harness(*words).code == 1
    assert list(listed(harness)) == [run_id]


def test_what_the_command_is_told_beside_the_settings(harness: Run, suite: Path) -> None:
    spec = "{model: {name: popularity}, data: {dataset: atlas}}"
    for words, message in (
        ((), "give a suite, or --model and --dataset, or the settings of one run with --spec"),
        ((suite, "--spec", spec), "one of the three"),
        (("--spec", spec, "--set", "seed=1"), "--set and --only are for suites"),
        (("--spec", spec, "--only", "seed=1"), "--set and --only are for suites"),
        (("--spec", "{model: {name: populatiry}, data: {dataset: atlas}}"), "mean 'popularity'"),
    ):
        ended = harness("run", *words)
        assert ended.code == 2
        assert message in ended.err
        assert ended.out == ""


@pytest.mark.slow
def test_a_dry_run_of_one_run(harness: Run) -> None:
    told = harness(
        "run", "--spec", "{model: {name: popularity}, data: {dataset: atlas}}", "--dry-run"
    )
    assert told.code == 0, told.err
    assert "one run: Popularity on atlas, seed 0" in told.out
    assert "all: 1 run" in told.out
