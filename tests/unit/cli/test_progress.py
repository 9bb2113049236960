"""What is printed while a suite runs."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from harness.cli.progress import Bars
from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.run.events import RunEnded, RunProgress, RunsEnded, RunsStarted
from harness.run.jobs import Job, Outcome
from harness.screen import SafeConsole


def test_square_brackets_in_labels_and_messages_are_printed_as_they_are() -> None:
    spec = RunSpec(model=ModelSpec(name="rotate"), data=DataSpec(dataset="atlas"))
    job = Job(run_id="0" * 12, label="wide [/d=512]", spec=spec, home=Path("results"))
    failed = Outcome(run_id=job.run_id, status="failed", message="KeyError: [/image] :boom:")
    stream = StringIO()
    bars = Bars(SafeConsole(file=stream, width=120, force_terminal=True, color_system=None))
    bars.on_event(RunsStarted(1))
    bars.on_event(RunProgress(job, "stage", {"stage": "train", "total": 3}))
    bars.progress.refresh()
    bars.on_event(RunEnded(job, failed))
    bars.on_event(RunsEnded())
    shown = stream.getvalue()
    assert "wide [/d=512] on atlas, seed 0" in shown
    assert "KeyError: [/image] :boom:" in shown
