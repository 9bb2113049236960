"""Estimates against real runs: time within a factor of two, memory within a quarter.

To be run on an idle machine: the estimate is for one, and the runs take what is left of it.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.files import read_record

MOCME = "{model: mocme, set: {model.dim: 64}}"
MMRNS = "{model: rotate, set: {negatives.strategy.name: mmrns}}"
NATIVE = "{model: native, set: {model.dim: 64, adversary.kind: wasserstein}}"
CASES = {
    "lookup": ("mkg-w", "none", "lookup", "{}"),
    "popularity": ("mkg-w", "none", "popularity", "{}"),
    "transe": ("synthetic", "none", "transe", "{epochs: 40, evaluate_every: 10}"),
    "mocme": ("atlas", "all", MOCME, "{epochs: 6, evaluate_every: 3, batch_size: 512}"),
    "mmrns": ("atlas", "all", MMRNS, "{epochs: 4, evaluate_every: 2}"),
    "native": ("atlas", "all", NATIVE, "{epochs: 6, evaluate_every: 3, batch_size: 512}"),
    "rotate": ("mkg-w", "none", "rotate", "{epochs: 4, evaluate_every: 2}"),
}
UNITS = {"s": 1, "min": 60, "h": 3600, "MiB": 2**20, "GiB": 2**30}


def harness(*words: str) -> str:
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def estimated(text: str) -> tuple[float, float]:
    """Return seconds and bytes of the only run."""
    row = text.splitlines()[2]
    found = re.search(r"([\d.]+) (s|min|h) +([\d.]+) ([MG]iB)$", row)
    assert found is not None, row
    time, unit, memory, size = found.groups()
    return float(time) * UNITS[unit], float(memory) * UNITS[size]


def measured(record: Path) -> tuple[float, float]:
    """Return seconds and bytes; the first epoch, which loads the kernels, counts as the others."""
    run = read_record(record)
    values: dict[str, list[float]] = {}
    for sample in run.timings:
        values.setdefault(sample.name, []).append(sample.value)
    epochs = values.get("train.epoch", [])  # none of a model that counts
    seconds = statistics.median(epochs) * len(epochs) if epochs else 0.0
    seconds += sum(row.get("valid_seconds", 0.0) for row in run.history)
    seconds += sum(values["evaluate.valid"] + values["evaluate.test"])
    return seconds, values["memory.peak"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "transe",
        "mocme",
        "mmrns",
        "native",
        *(pytest.param(n, marks=pytest.mark.data) for n in ("rotate", "lookup", "popularity")),
    ],
)
def test_a_run_takes_what_the_dry_run_says(
    case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset, features, row, training = CASES[case]
    if dataset == "mkg-w":
        request.getfixturevalue("published")
    suite = tmp_path / "one.yaml"
    suite.write_text(
        f"name: one\ndatasets: [{{dataset: {dataset}, features: {features}}}]\n"
        f"base: {{training: {training}}}\nseeds: [0]\nrows: [{row}]\n"
    )
    home = Path(os.environ["HARNESS_HOME"])
    seconds, memory = estimated(harness("run", str(suite), "--dry-run"))
    harness("run", str(suite))
    (record,) = home.glob("runs/*/record.json")
    actual_seconds, actual_memory = measured(record)
    assert seconds / 2 < actual_seconds < seconds * 2
    assert 0.75 * actual_memory < memory < 1.25 * actual_memory
