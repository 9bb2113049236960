"""What is printed while a suite runs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from harness.cli import progress
from harness.cli.progress import Bars, Lines
from harness.events import Message, Step, doing, reporting
from harness.plan.spec import DataSpec, ModelSpec, RunSpec, TrainingSpec
from harness.run.events import RunEnded, RunProgress, RunsEnded, RunsSkipped, RunsStarted
from harness.run.jobs import Job, Outcome
from harness.run.suite import several_features
from harness.screen import SafeConsole

WIDTH = 80


def job(number: int, label: str = "RotatE", epochs: int = 10) -> Job:
    spec = RunSpec(
        model=ModelSpec(name="rotate"),
        data=DataSpec(dataset="atlas"),
        training=TrainingSpec(epochs=epochs),
        seed=number,
    )
    return Job(run_id=f"{number:012d}", label=label, spec=spec, home=Path("results"))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def stream() -> StringIO:
    return StringIO()


@pytest.fixture
def bars(clock: Clock, stream: StringIO) -> Iterator[Bars]:
    bars = Bars(SafeConsole(file=stream, width=WIDTH, height=24, force_terminal=True))
    yield bars
    bars.close()


def lines(bars: Bars) -> list[str]:
    shown = str(bars.render()).splitlines()
    assert all(len(line) <= WIDTH for line in shown)
    return shown


def epoch(run: Job, number: int, loss: float = 0.5, **valid: float) -> RunProgress:
    return RunProgress(run, "epoch", {"epoch": float(number), "loss": loss, **valid})


def start(bars: Bars, total: int, **values: Any) -> None:
    bars.on_event(RunsStarted(total, "quick", **values))


def train(bars: Bars, run: Job) -> None:
    bars.on_event(RunProgress(run, "stage", {"stage": "load", "total": 0}))
    bars.on_event(RunProgress(run, "stage", {"stage": "train", "total": 10}))


def end(bars: Bars, run: Job, status: Any = "ok") -> None:
    bars.on_event(RunEnded(run, Outcome(run_id=run.run_id, status=status)))


def test_a_run_names_its_features_where_the_row_has_several() -> None:
    cells = [("MoCME", "my", "files"), ("MoCME", "my", "all"), ("TransE", "my", "none")]
    assert several_features([*cells, cells[0]]) == {("MoCME", "my")}
    run = job(0)
    assert run.title == "RotatE on atlas, seed 0"
    named = run.model_copy(update={"names_features": True})
    assert named.title == "RotatE on atlas [none], seed 0"


# --- lines that move ------------------------------------------------------------------------


def test_a_run_shows_a_bar_epoch_loss_best_validation_and_time_left(
    bars: Bars, clock: Clock
) -> None:
    run = job(0)
    start(bars, 2)
    train(bars, run)
    clock.now += 2
    bars.on_event(epoch(run, 1))
    clock.now += 2
    bars.on_event(epoch(run, 2, loss=0.1234, valid_mrr=0.3456))
    bars.on_event(epoch(run, 2, loss=0.1234, valid_mrr=0.3))
    total, title, state = lines(bars)
    assert total.startswith("quick  ━")
    assert total.endswith("0 of 2 runs  36 s left")  # 16 s of this run, 20 s of the other
    assert title == "  RotatE on atlas, seed 0"
    assert state == "  ━━━━" + "─" * 16 + "  epoch 2/10  loss 0.1234  best 34.56  16 s left"


def test_time_left_is_learned_from_runs_of_the_same_row(bars: Bars, clock: Clock) -> None:
    slow, quick = [job(i, "slow") for i in range(2)], [job(i + 2, "quick") for i in range(2)]
    start(bars, 4, jobs=[*slow, *quick])
    for run, seconds in ((slow[0], 100), (quick[0], 10)):
        train(bars, run)
        clock.now += seconds
        end(bars, run)
    assert lines(bars)[0].endswith("2 of 4 runs  1.8 min left")  # 100 s + 10 s
    train(bars, slow[1])
    clock.now += 30
    assert lines(bars)[0].endswith("2 of 4 runs  80 s left")


def test_runs_at_the_same_time_share_the_time_left(bars: Bars, clock: Clock) -> None:
    start(bars, 5, at_once=2)
    train(bars, job(0))
    clock.now += 10
    end(bars, job(0))
    assert lines(bars)[0].endswith("1 of 5 runs  20 s left")


def test_interrupted_and_lost_runs_are_not_done(bars: Bars, stream: StringIO) -> None:
    start(bars, 5)
    for number, status in enumerate(("ok", "failed", "pruned", "interrupted", "lost")):
        end(bars, job(number), status)
    assert "3 of 5 runs  1 failed" in lines(bars)[0]
    bars.on_event(RunsEnded())
    assert lines(bars) == []
    assert "3 of 5 runs done, 1 failed in" in stream.getvalue()


def test_a_stop_is_shown_below_the_runs(bars: Bars) -> None:
    start(bars, 1)
    train(bars, job(0))
    bars.show_stop()
    assert lines(bars)[-1] == "stopping after this epoch; a second Ctrl-C stops at once"
    bars.on_event(RunsEnded())
    assert lines(bars) == []


def test_runs_that_a_study_skips_count_as_done(
    bars: Bars, capsys: pytest.CaptureFixture[str]
) -> None:
    start(bars, 8)
    bars.on_event(RunsSkipped(3, "stored already"))
    assert "3 of 8 runs" in lines(bars)[0]

    printed = Lines()
    printed.on_event(RunsStarted(4))
    for number, status in enumerate(("ok", "pruned")):
        printed.on_event(RunEnded(job(number), Outcome(run_id=str(number), status=status)))
    printed.on_event(RunsSkipped(2, "of a pruned trial"))
    counts = [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert counts == ["[1/4]", "[2/4]", "[4/4]"]


def test_what_a_run_does_before_and_after_its_epochs_is_shown(bars: Bars, clock: Clock) -> None:
    run = job(0)
    start(bars, 1)
    shown = []
    for kind, values in (
        ("stage", {"stage": "start", "total": 0}),
        ("stage", {"stage": "load", "total": 0}),
        ("activity", {"task": "encoding with 'use'", "done": 1200, "total": 4000}),
        ("activity", {"task": "encoding with 'use'", "done": 4000, "total": 4000}),
        ("stage", {"stage": "train", "total": 10}),
        ("activity", {"task": "compiling kernels", "done": 0, "total": 1}),
        ("activity", {"task": "compiling kernels", "done": 1, "total": 1}),
        ("stage", {"stage": "test", "total": 200}),
        ("queries", {"done": 50}),
    ):
        bars.on_event(RunProgress(run, kind, values))
        clock.now += 3
        shown.append(lines(bars)[2].strip())
    assert [text[2:].strip() for text in shown[:3]] == [
        "3.0 s  starting",
        "3.0 s  loading data and model",
        "3.0 s  encoding with 'use': 1,200 of 4,000",
    ]
    assert shown[4].startswith("─" * 20 + "  epoch 0/10")
    assert "compiling kernels" in shown[5]
    assert "compiling kernels" not in shown[6]
    assert "ranking test  0%" in shown[7]
    assert "ranking test  25%" in shown[8]


def test_more_runs_than_the_terminal_has_lines_for_are_counted(bars: Bars) -> None:
    start(bars, 30)
    for number in range(30):
        train(bars, job(number))
    shown = lines(bars)
    assert len(shown) < 24
    assert shown[-1] == "  and 20 more"


def test_steps_without_runs_appear_when_they_take_time(bars: Bars, clock: Clock) -> None:
    assert lines(bars) == []
    clock.now += 1
    assert lines(bars) == [f"{lines(bars)[0][0]} 1.0 s  starting"]
    with reporting(bars.on_event), doing("reading the datasets"):
        assert lines(bars) == []
        clock.now += 1
        assert lines(bars)[0].endswith("1.0 s  reading the datasets")
    assert lines(bars) == []
    with reporting(bars.on_event), doing("outer"):
        clock.now += 1
        with doing("inner"):
            clock.now += 1
            assert lines(bars)[0].endswith("1.0 s  inner")
        assert lines(bars)[0].endswith("2.0 s  outer")
    bars.on_event(Step("comparing rows", 3, 12))
    clock.now += 1
    assert lines(bars)[0].endswith("comparing rows: 3 of 12")


def test_the_innermost_callback_has_the_steps() -> None:
    outer: list[Any] = []
    inner: list[Any] = []
    with reporting(outer.append):
        with reporting(inner.append), doing("one"):
            pass
        with doing("two"):
            pass
    assert [step.task for step in inner] == ["one", "one"]
    assert [step.task for step in outer] == ["two", "two"]


# --- text -----------------------------------------------------------------------------------


def test_square_brackets_in_labels_and_messages_are_printed_as_they_are(
    bars: Bars, stream: StringIO
) -> None:
    run = job(0, "wide [/d=512]")
    failed = Outcome(run_id=run.run_id, status="failed", message="KeyError: [/image] :boom:")
    start(bars, 1)
    train(bars, run)
    assert lines(bars)[1] == "  wide [/d=512] on atlas, seed 0"
    bars.on_event(RunEnded(run, failed))
    assert "KeyError: [/image] :boom:" in stream.getvalue()


def test_a_command_in_a_message_is_not_broken(bars: Bars, stream: StringIO) -> None:
    command = "harness study run my_study.yaml --retry-failed --executor slurm --engine slurm.yaml"
    bars.on_event(Message(f"not shown: the study my_study; `{command}` makes its trials"))
    assert command in stream.getvalue()


def test_lines_do_not_count_interrupted_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Lines(interval=0.0)
    shown.on_event(RunsStarted(3))
    for number, status in enumerate(("ok", "interrupted")):
        outcome = Outcome(run_id=f"run{number}", status=status, message="stopped after epoch 2")
        shown.on_event(RunEnded(job(number), outcome))
    assert [line[:6] for line in capsys.readouterr().err.splitlines()] == ["[1/3] ", "[1/3] "]


def test_lines_name_what_a_run_does(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Lines(interval=-1.0)
    for kind, values in (
        ("stage", {"stage": "load", "total": 0}),
        ("activity", {"task": "encoding with 'use'", "done": 12, "total": 4000}),
        ("activity", {"task": "encoding with 'use'", "done": 4000, "total": 4000}),
        ("queries", {"done": 7}),
    ):
        shown.on_event(RunProgress(job(0), kind, values))
    assert capsys.readouterr().err.splitlines() == [
        "RotatE on atlas, seed 0: loading data and model",
        "RotatE on atlas, seed 0: encoding with 'use': 12 of 4,000",
    ]


# --- a terminal -----------------------------------------------------------------------------

SUITE = """
name: small
title: A table of one row
datasets: ["synthetic:entities=60,train=300,seed=1"]
base: {data.features: none, model.dim: 8, training.epochs: 3}
seeds: [0]
rows: [transe]
"""


def test_a_terminal_gets_bars_that_disappear(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE.replace("epochs: 3", "epochs: 1000"))
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    environment["HARNESS_KERNELS"] = "reference"  # nothing needs compiling
    environment.pop("NO_COLOR", None)
    chunks: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(parent, 65536):
                chunks.append(chunk)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-m", "harness", "run", "small.yaml", "--device", "cpu"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    reader.join(timeout=10)
    os.close(parent)
    assert done.returncode == 0
    text = b"".join(chunks).decode()
    assert "\\u001b" not in text  # the codes of the bars themselves are not escaped
    assert "\x1b[2K" in text
    assert "epoch" in text
    assert "A table of one row" in text
    assert "━" not in text[text.rindex("\x1b[2K") :]  # nothing is left after the last erased line
