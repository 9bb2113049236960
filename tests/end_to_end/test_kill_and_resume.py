"""A suite that is asked to stop goes on and ends with the same results; its workers end with it.

Kills at any moment are part of the campaign in ``tests/faults``.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.faults.outcomes import results

SUITE = """\
name: small
datasets: ["synthetic:entities=60,relations=4,train={train},valid=40,test=40"]
rows: [{rows}]
base:
  training: {{epochs: {epochs}, batch_size: {batch}, evaluate_every: 1, patience: 0}}
  model: {{dim: 8}}
  negatives: {{count: 4}}
seeds: [{seeds}]
"""


def write_suite(
    folder: Path,
    *,
    rows: str = "transe, distmult",
    seeds: str = "0, 1",
    epochs: int = 8,
    train: int = 400,
    batch: int = 128,
) -> Path:
    path = folder / "small.yaml"
    path.write_text(SUITE.format(rows=rows, seeds=seeds, epochs=epochs, train=train, batch=batch))
    return path


def test_two_commands_on_one_suite_share_its_runs(
    start: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    suite, home = write_suite(tmp_path, epochs=40), tmp_path / "home"
    first = start("run", suite, "--home", home)
    until(lambda: list(home.glob("runs/*/log.jsonl")))
    second = start("run", suite, "--home", home)
    for ended in (first.wait(), second.wait()):
        assert ended.code == 0, ended.err
    assert "being run elsewhere: " in first.err + second.err
    assert start("run", suite, "--home", tmp_path / "straight").wait().code == 0
    assert results(home) == results(tmp_path / "straight")


def test_the_first_ctrl_c_ends_the_epoch_and_the_run_goes_on(
    start: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    suite, home = write_suite(tmp_path, rows="transe", seeds="0", epochs=150), tmp_path / "home"
    command = start("run", suite, "--home", home)
    until(lambda: list(home.glob("runs/*/state.json")))
    command.send(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert "stopping after this epoch" in ended.err
    assert ended.err.endswith("error: stopped; the same command resumes\n")
    assert not list(home.glob("runs/*/record.json"))
    # Text is wrapped at 80 columns; the suite is called what the user calls it.
    assert f"`harness run {suite}`" in " ".join(ended.out.split())

    again = start("run", suite, "--home", home).wait()
    assert again.code == 0
    (log,) = home.glob("runs/*/log.jsonl")
    epochs = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
    assert epochs == list(range(1, 151))  # none was repeated
    assert start("run", suite, "--home", tmp_path / "straight").wait().code == 0
    assert results(home) == results(tmp_path / "straight")


def test_the_second_ctrl_c_stops_within_an_epoch(
    start: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path, rows="transe", seeds="0", train=2400, batch=1, epochs=2)
    home = tmp_path / "home"
    command = start("run", suite, "--home", home)
    until(lambda: list(home.glob("runs/*/lock")))
    command.send(signal.SIGINT)
    until(lambda: "stopping after this epoch" in command.err)
    command.send(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert not list(home.glob("runs/*/state.json"))  # the epoch was not ended


def test_ctrl_c_before_anything_runs_is_quiet(start: Callable[..., Any], tmp_path: Path) -> None:
    command = start("run", write_suite(tmp_path), "--home", tmp_path / "home")
    time.sleep(0.01)
    command.send(signal.SIGINT)
    ended = command.wait()
    assert ended.code in (130, -signal.SIGINT), ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_worker_processes_end_with_their_parent(
    start: Callable[..., Any], until: Any, tmp_path: Path, number: signal.Signals
) -> None:
    suite, home = write_suite(tmp_path, rows="transe", epochs=100_000), tmp_path / "home"
    command = start("run", suite, "--home", home, "--workers", 2)
    until(lambda: len(list(home.glob("runs/*/state.json"))) == 2)
    workers = psutil.Process(command.number).children()
    assert len(workers) == 2
    command.send(number)
    ended = command.wait()
    if number == signal.SIGTERM:
        assert ended.code == 143, ended.err
        assert not any(map(alive, workers))
        assert not list(home.glob("runs/*/record.json"))
    else:
        until(lambda: not any(map(alive, workers)))


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
