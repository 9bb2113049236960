"""Progress of a command on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.cli.console import percent
from harness.events import Event, OnEvent, Step
from harness.run.events import RunEnded, RunProgress, RunsEnded, RunsStarted
from harness.screen import SafeConsole

__all__ = ["Bars", "Lines", "show_events"]

LINES_S = 10.0
"""Seconds between two lines on the progress of runs where stderr is no terminal."""
_STAGES = {"train": "training", "valid": "ranking valid", "test": "ranking test"}


class Lines:
    """Events as lines on stderr: one when a run ends, one on progress every ``interval`` seconds.

    Args:
        interval: seconds between two lines on progress.
    """

    def __init__(self, interval: float = LINES_S) -> None:
        self.interval, self.total, self.done = interval, 0, 0
        self._printed = 0.0
        self._nodes: dict[str, str] = {}

    def on_event(self, event: Event) -> None:
        """Print what there is to say of an event."""
        if isinstance(event, RunsStarted):
            self.total, self.done = event.total, 0
        elif isinstance(event, RunEnded):
            self.done += 1
            self._print(f"[{self.done}/{self.total}] {event}")
        elif isinstance(event, RunProgress):
            if event.kind == "attempt":
                self._nodes[event.job.run_id] = _node(event)
                self._print(f"{event.job.title}: on {_node(event)}")
            elif event.kind == "epoch" and time.monotonic() - self._printed > self.interval:
                self._printed = time.monotonic()
                node = self._nodes.get(event.job.run_id, "")
                self._print(f"{event.job.title}{f' on {node}' * bool(node)}: {_epoch(event)}")
        elif text := str(event):
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing: lines stay."""


class Bars:
    """Events as bars on a terminal: one for all runs, one for each run in progress.

    Args:
        console: a console on stderr.
    """

    def __init__(self, console: SafeConsole) -> None:
        self.console = console
        self.progress = self._bars(transient=True)
        self._total = self.progress.add_task("", visible=False)
        self._tasks: dict[str, TaskID] = {}

    def on_event(self, event: Event) -> None:
        """Move the bars; print what there is to say of an event above them."""
        if isinstance(event, RunsStarted):
            self._start("suite", event.total, transient=False)
        elif isinstance(event, RunsEnded):
            self.close()
        elif isinstance(event, RunProgress):
            self._move(event)
        elif isinstance(event, Step):
            if not self.progress.live.is_started:
                self._start(event.task, event.total, transient=True)
            self.progress.update(
                self._total, description=event.task, completed=event.done, total=event.total
            )
        elif isinstance(event, RunEnded):
            if (task := self._tasks.pop(event.job.run_id, None)) is not None:
                self.progress.remove_task(task)
            self.progress.advance(self._total)
        if text := str(event):
            self.console.print(text)

    def close(self) -> None:
        """Stop the bars; those of steps disappear."""
        self.progress.stop()

    def _start(self, title: str, total: int, *, transient: bool) -> None:
        self.close()
        self.progress, self._tasks = self._bars(transient=transient), {}
        self._total = self.progress.add_task(title, total=total, note="")
        self.progress.start()

    def _bars(self, *, transient: bool) -> Progress:
        return Progress(
            # No markup anywhere: labels and messages may hold square brackets.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            *([] if transient else [TimeRemainingColumn()]),
            console=self.console,
            transient=transient,
        )

    def _move(self, event: RunProgress) -> None:
        task = self._tasks.get(event.job.run_id)
        if task is None:
            task = self.progress.add_task(event.job.title, total=0, note="starting")
            self._tasks[event.job.run_id] = task
        values = event.values
        if event.kind == "attempt":
            title = f"{event.job.title} on {_node(event)}"
            self.progress.update(task, description=title)
        elif event.kind == "stage":
            note = _STAGES.get(values["stage"], values["stage"])
            self.progress.reset(task, total=values["total"], note=note)
        elif event.kind == "epoch":
            self.progress.update(task, completed=values["epoch"], note=_epoch(event))
        else:
            self.progress.advance(task, values["done"])


def _node(event: RunProgress) -> str:
    """Return the node of an attempt, and its number from the second on."""
    number = event.values["number"]
    return str(event.values["node"]) + (f" (attempt {number})" if number > 1 else "")


def _epoch(event: RunProgress) -> str:
    values, epochs = event.values, event.job.spec.training.epochs
    text = f"epoch {values['epoch']:.0f}/{epochs}, loss {values['loss']:.4f}"
    if "valid_mrr" in values:
        text += f", valid MRR {percent(values['valid_mrr'])}"
    return text


@contextmanager
def show_events() -> Iterator[OnEvent]:
    """Yield a callback that shows events on stderr: bars on a terminal, lines elsewhere."""
    console = SafeConsole(stderr=True)
    display = Bars(console) if console.is_terminal else Lines()
    try:
        yield display.on_event
    finally:
        display.close()
