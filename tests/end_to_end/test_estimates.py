"""Predicted against real costs: a probe's time within a factor of two, memory from below.

To be run on an idle machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.catalog import load_models
from harness.plan.memory import data_size, least_memory
from harness.run.costs import cost_of
from harness.store.files import read_record

MOCME = "{model: mocme, set: {model.dim: 64}}"
MMRNS = "{model: rotate, set: {negatives.strategy.name: mmrns}}"
NATIVE = "{model: native, set: {model.dim: 64, adversary.kind: wasserstein}}"
CASES = {
    "transe": ("synthetic", "none", "transe", "{epochs: 40, evaluate_every: 10}"),
    "mocme": ("atlas", "all", MOCME, "{epochs: 6, evaluate_every: 3, batch_size: 512}"),
    "mmrns": ("atlas", "all", MMRNS, "{epochs: 4, evaluate_every: 2}"),
    "native": ("atlas", "all", NATIVE, "{epochs: 6, evaluate_every: 3, batch_size: 512}"),
}
UNITS = {"s": 1, "min": 60, "h": 3600, "MiB": 2**20, "GiB": 2**30}


def harness(*words: str) -> str:
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def predicted(text: str) -> tuple[float, float]:
    """Return seconds and bytes of the only run."""
    row = text.splitlines()[2]
    match = re.search(r"([\d.]+) (s|min|h) +([\d.]+) ([MG]iB)$", row)
    assert match is not None, row
    time, unit, memory, size = match.groups()
    return float(time) * UNITS[unit], float(memory) * UNITS[size]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_takes_as_long_as_its_probe_says(case: str, tmp_path: Path) -> None:
    load_models()
    dataset, features, row, training = CASES[case]
    suite = tmp_path / "one.yaml"
    suite.write_text(
        f"name: one\ndatasets: [{{dataset: {dataset}, features: {features}}}]\n"
        f"base: {{training: {training}}}\nseeds: [0]\nrows: [{row}]\n"
    )
    seconds, memory = predicted(harness("run", str(suite), "--probe"))
    harness("run", str(suite))
    (path,) = Path(os.environ["HARNESS_HOME"]).glob("runs/*/record.json")
    record = read_record(path)
    cost = cost_of(record)
    assert cost is not None
    spec = record.spec
    assert seconds / 2 < cost.seconds(spec.training) < seconds * 2
    assert 0.75 * cost.memory < memory < 1.25 * cost.memory
    least = least_memory(spec, data_size(spec.data)).size
    assert cost.memory / 4 < least < cost.memory
