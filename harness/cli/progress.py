"""What a person sees of a running suite: bars on a terminal, plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.execution.base import Job, Outcome
from harness.screen import SafeConsole

__all__ = ["Bars", "Lines", "reporter"]

STAGES = {"train": "training", "valid": "ranking valid", "test": "ranking test"}


class Lines:
    """One line when a run ends, and at most every ``interval`` seconds one on its progress."""

    def __init__(self, total: int, interval: float = 10.0) -> None:
        self.total, self.interval, self.done = total, interval, 0
        self._said = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def event(self, job: Job, kind: str, values: dict[str, Any]) -> None:
        """Take an event of ``harness.execution.base.Event``."""
        if kind == "epoch" and time.monotonic() - self._said > self.interval:
            self._said = time.monotonic()
            self.say(f"{job.title}: {_epoch_text(job, values)}")

    def outcome(self, job: Job, outcome: Outcome, value: float | None) -> None:
        """Take the outcome of a job; ``value`` is its validation MRR (a fraction)."""
        self.done += 1
        self.say(f"[{self.done}/{self.total}] {_outcome_text(job, outcome, value)}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


class Bars:
    """A bar for the suite and one for every run in progress."""

    def __init__(self, total: int, console: SafeConsole) -> None:
        self.progress = Progress(
            # No markup anywhere: labels and messages may hold square brackets.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        self._suite = self.progress.add_task("suite", total=total, note="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def event(self, job: Job, kind: str, values: dict[str, Any]) -> None:
        """Take an event of ``harness.execution.base.Event``."""
        task = self._tasks.get(job.run_id)
        if task is None:
            task = self.progress.add_task(job.title, total=0, note="starting")
            self._tasks[job.run_id] = task
        if kind == "stage":
            note = STAGES.get(values["stage"], values["stage"])
            self.progress.reset(task, total=values["total"], note=note)
        elif kind == "epoch":
            completed = values["epoch"]
            self.progress.update(task, completed=completed, note=_epoch_text(job, values))
        else:
            self.progress.advance(task, values["done"])

    def outcome(self, job: Job, outcome: Outcome, value: float | None) -> None:
        """Take the outcome of a job; ``value`` is its validation MRR (a fraction)."""
        task = self._tasks.pop(job.run_id, None)
        if task is not None:
            self.progress.remove_task(task)
        self.progress.advance(self._suite)
        self.say(_outcome_text(job, outcome, value))

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(text)


def reporter(total: int) -> Lines | Bars:
    """Return bars when stderr is a terminal, lines otherwise."""
    console = SafeConsole(stderr=True)
    return Bars(total, console) if console.is_terminal else Lines(total)


def _epoch_text(job: Job, values: dict[str, Any]) -> str:
    text = f"epoch {values['epoch']:.0f}/{job.spec.training.epochs}, loss {values['loss']:.4f}"
    if "valid_mrr" in values:
        text += f", valid MRR {100 * values['valid_mrr']:.2f}"
    return text


def _outcome_text(job: Job, outcome: Outcome, value: float | None) -> str:
    if outcome.status == "ok":
        found = "" if value is None else f", valid MRR {100 * value:.2f}"
        return f"done: {job.title}{found} ({job.run_id})"
    if outcome.status == "pruned":
        return f"pruned: {job.title} ({job.run_id})"
    return f"{outcome.status}: {job.title} ({job.run_id}): {outcome.message}"
