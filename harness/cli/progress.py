"""Progress of a command on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean

from rich.live import Live
from rich.text import Text

from harness.cli.console import duration, percent, plural
from harness.cli.stopping import STOPPING, showing_stops
from harness.events import Event, OnEvent, Step, reporting
from harness.run.events import RunEnded, RunProgress, RunsEnded, RunsSkipped, RunsStarted
from harness.run.jobs import Job
from harness.screen import SafeConsole

__all__ = ["Bars", "Lines", "show_events"]

LINES_S = 10.0
"""Seconds between two lines on the progress of runs where stderr is no terminal."""
REDRAW_S = 0.2
"""Seconds between two pictures on a terminal."""
QUIET_S = 0.5
"""Seconds before a step that shows no runs appears on a terminal."""
WIDEST = 100
"""Columns of the bars on a wide terminal."""
_STAGES = {
    "start": "starting",
    "load": "loading data and model",
    "train": "training",
    "valid": "ranking valid",
    "test": "ranking test",
}
_STARTING = "starting"
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DONE = ("ok", "pruned", "failed")
"""Outcomes after which a run counts as done; others are run again by the same command."""


class Lines:
    """Events as lines on stderr: one when a run ends, one on progress every ``interval`` seconds.

    Args:
        interval: seconds between two lines on progress.
    """

    def __init__(self, interval: float = LINES_S) -> None:
        self.interval, self.total, self.completed = interval, 0, 0
        self._printed = time.monotonic()
        self._nodes: dict[str, str] = {}

    def on_event(self, event: Event) -> None:
        """Print what there is to say of an event."""
        if isinstance(event, RunsStarted):
            self.total, self.completed = event.total, 0
        elif isinstance(event, RunsSkipped):
            self.completed += event.count
            self._print(f"[{self.completed}/{self.total}] {event}")
        elif isinstance(event, RunEnded):
            self.completed += event.outcome.status in _DONE
            self._print(f"[{self.completed}/{self.total}] {event}")
        elif isinstance(event, RunProgress):
            self._progress(event)
        elif text := str(event):
            self._print(text)

    def _progress(self, event: RunProgress) -> None:
        if event.kind == "attempt":
            self._nodes[event.job.run_id] = _node(event)
            self._print(f"{event.job.title}: on {_node(event)}")
        elif (text := _line(event)) and time.monotonic() - self._printed > self.interval:
            node = self._nodes.get(event.job.run_id, "")
            self._print(f"{event.job.title}{f' on {node}' * bool(node)}: {text}")

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing: lines stay."""


@dataclass
class _Run:
    """State of a run in progress; times are those of a monotonic clock, in seconds."""

    job: Job
    started: float
    stage: str = "start"
    stage_started: float = 0.0
    completed: float = 0.0
    total: float = 0.0
    activity: tuple[str, int, int] | None = None
    activity_started: float = 0.0
    node: str = ""
    epoch: int = 0
    loss: float | None = None
    best: float | None = None
    first: tuple[float, int] | None = None
    """Time and number of the epoch before the first one that was seen."""
    last: float = 0.0
    """Time of the last epoch."""

    @property
    def epochs(self) -> int:
        return self.job.spec.training.epochs

    def left(self, now: float) -> float | None:
        """Seconds of the remaining epochs at the speed so far; None before the first epoch."""
        if self.first is None or self.epoch <= self.first[1]:
            return None
        speed = (self.last - self.first[0]) / (self.epoch - self.first[1])
        return max(0.0, speed * (self.epochs - self.epoch) - (now - self.last))


@dataclass
class _Runs:
    """State of all runs: how many there are, and how long those that ended took."""

    title: str
    total: int
    at_once: int
    jobs: dict[str, Job]
    started: float
    completed: int = 0
    failed: int = 0
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def learn(self, job: Job, seconds: float) -> None:
        """Remember the time of a run that ended, by its row and dataset."""
        self.jobs.pop(job.run_id, None)
        self.seconds.setdefault(_row(job), []).append(seconds)

    def left(self, running: Sequence[_Run], now: float) -> float | None:
        """Seconds until all runs have ended, by the ended runs of the same rows, else of all; None
        where nothing is known."""
        remaining = [(run, run.left(now)) for run in running]
        run_seconds = [x for xs in self.seconds.values() for x in xs]
        run_seconds += [now - run.started + left for run, left in remaining if left is not None]
        if not run_seconds:
            return None
        seconds = 0.0
        for run, left in remaining:
            usual = self.seconds.get(_row(run.job), run_seconds)
            seconds += max(0.0, mean(usual) - (now - run.started)) if left is None else left
        ids = {run.job.run_id for run in running}
        waiting = [job for run_id, job in self.jobs.items() if run_id not in ids]
        seconds += sum(mean(self.seconds.get(_row(job), run_seconds)) for job in waiting)
        unnamed = self.total - self.completed - len(running) - len(waiting)
        seconds += max(0, unnamed) * mean(run_seconds)
        longest = max((left for _, left in remaining if left is not None), default=0.0)
        return max(longest, seconds / max(1, self.at_once))


class Bars:
    """Events as bars on a terminal: a line for all runs, two for each run in progress.

    A line never stands still: a thread redraws it with the time that has passed.

    Args:
        console: a console on stderr.
    """

    def __init__(self, console: SafeConsole) -> None:
        self.console = console
        self._lock = threading.RLock()
        self._steps: dict[str, tuple[Step, float]] = {}
        """Steps that have begun, by task; the newest is shown."""
        self._steps[_STARTING] = Step(_STARTING, 0, 1), time.monotonic()
        self._runs: _Runs | None = None
        self._running: dict[str, _Run] = {}
        self._closed = threading.Event()
        self._stopping = False
        # Live's own thread may draw while a message is printed, which leaves lines behind; this one
        # and the messages take turns.
        self._live = Live(
            console=console, get_renderable=self.render, auto_refresh=False, transient=True
        )
        self._live.start()
        self._thread = threading.Thread(target=self._redraw, daemon=True)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Take an event; print what there is to say of it above the bars."""
        with self._lock:
            self._take(event, time.monotonic())
            if text := str(event):
                # The terminal wraps, not the console: a command can be copied in one piece.
                self.console.print(text, soft_wrap=True)

    def _take(self, event: Event, now: float) -> None:
        if isinstance(event, RunsStarted):
            jobs = {job.run_id: job for job in event.jobs}
            self._runs = _Runs(event.title, event.total, event.at_once, jobs, now)
            self._running, self._steps = {}, {}
        elif isinstance(event, RunsSkipped) and self._runs:
            self._runs.completed += event.count
        elif isinstance(event, RunProgress):
            self._move(event, now)
        elif isinstance(event, RunEnded):
            self._end(event, now)
        elif isinstance(event, RunsEnded):
            self._finish(now)
        elif isinstance(event, Step):
            self._steps.pop(_STARTING, None)
            _, started = self._steps.pop(event.task, (event, now))
            if not 0 < event.total <= event.done:
                self._steps[event.task] = event, started

    def _end(self, event: RunEnded, now: float) -> None:
        run = self._running.pop(event.job.run_id, None)
        if self._runs is None:
            return
        self._runs.completed += event.outcome.status in _DONE
        self._runs.failed += event.outcome.status == "failed"
        if event.outcome.status == "ok" and run is not None:
            self._runs.learn(event.job, now - run.started)
        else:
            self._runs.jobs.pop(event.job.run_id, None)

    def _finish(self, now: float) -> None:
        runs, self._runs, self._running = self._runs, None, {}
        if runs is not None:
            text = f"{runs.completed} of {plural(runs.total, 'run')} done"
            text += f", {runs.failed} failed" * bool(runs.failed)
            self.console.print(f"{text} in {duration(now - runs.started)}")

    def close(self) -> None:
        """Remove the bars."""
        self._closed.set()
        self._thread.join()
        self._live.stop()

    def _redraw(self) -> None:
        while not self._closed.wait(REDRAW_S):
            with self._lock:
                self._live.refresh()

    def show_stop(self) -> None:
        """Show that a stop was asked for, at the next picture."""
        self._stopping = True

    # --- what is drawn ----------------------------------------------------------------------

    def render(self) -> Text:
        """Return the lines of this moment."""
        with self._lock:
            now = time.monotonic()
            width = min(self.console.width, WIDEST)
            lines = []
            if self._runs is not None:
                lines.append(self._total_line(self._runs, now, width))
                room = max(1, (self.console.height - 4) // 2)
                running = list(self._running.values())
                for run in running[:room]:
                    lines += self._run_lines(run, now, width)
                if len(running) > room:
                    lines.append(Text(f"  and {len(running) - room} more", "dim"))
            for step, started in list(self._steps.values())[-1:]:
                if now - started > QUIET_S:
                    lines.append(_activity((step.task, step.done, step.total), now - started))
            if self._stopping and self._runs is not None:
                lines.append(Text(STOPPING, "yellow"))
            for line in lines:
                line.truncate(width, overflow="ellipsis")
            return Text("\n").join(lines)

    def _total_line(self, runs: _Runs, now: float, width: int) -> Text:
        left = runs.left(list(self._running.values()), now)
        texts = [f"{runs.completed} of {plural(runs.total, 'run')}"]
        texts += [f"{runs.failed} failed"] * bool(runs.failed)
        texts += [f"{duration(left)} left"] if left is not None and left >= 1 else []
        texts += [_clock(now, now - runs.started)] if left is None or left < 1 else []
        end = "  ".join(texts)
        title = runs.title or "runs"
        bar = max(8, min(30, width - len(title) - len(end) - 4))
        title = title[: max(8, width - bar - len(end) - 4)]
        # Runs in progress count by their epochs, so that the bar moves.
        running = sum(run.epoch / max(1, run.epochs) for run in self._running.values())
        line = Text.assemble((title, "bold"), "  ")
        return line.append_text(
            self._bar((runs.completed + running) / max(1, runs.total), bar)
        ).append(f"  {end}")

    def _run_lines(self, run: _Run, now: float, width: int) -> list[Text]:
        title = Text(f"  {run.job.title}{f' on {run.node}' * bool(run.node)}")
        if run.activity is not None:
            return [title, Text("  ") + _activity(run.activity, now - run.activity_started)]
        if run.stage != "train":
            state = _STAGES.get(run.stage, run.stage)
            if not run.total:
                return [title, Text("  ") + _activity((state, 0, 0), now - run.stage_started)]
            line = Text("  ") + self._bar(run.completed / run.total, 20)
            share, seconds = run.completed / run.total, now - run.stage_started
            return [title, line.append(f"  {state}  {100 * share:.0f}%  {_clock(now, seconds)}")]
        texts = [f"epoch {run.epoch}/{run.epochs}"]
        texts += [f"loss {run.loss:.4g}"] if run.loss is not None else []
        texts += [f"best {percent(run.best)}"] if run.best is not None else []
        left = run.left(now)
        texts += [f"{duration(left)} left"] if left is not None and left >= 1 else []
        fields = "  ".join(texts)
        if left is None or left < 1:
            fields += f"  {_clock(now, now - run.stage_started)}"
        bar = max(6, min(20, width - len(fields) - 4))
        return [title, Text("  ") + self._bar(run.epoch / max(1, run.epochs), bar) + f"  {fields}"]

    def _bar(self, share: float, width: int) -> Text:
        full, empty = ("━", "─") if self.console.encoding.startswith("utf") else ("#", ".")
        filled = min(width, max(0, math.floor(share * width + 1e-9)))
        return Text.assemble((full * filled, "green"), (empty * (width - filled), "dim"))

    def _move(self, event: RunProgress, now: float) -> None:
        run = self._running.get(event.job.run_id)
        if run is None:
            run = self._running[event.job.run_id] = _Run(event.job, now, stage_started=now)
        values = event.values
        if event.kind == "attempt":
            run.node = _node(event)
        elif event.kind == "stage":
            run.stage, run.total, run.completed = values["stage"], values["total"], 0
            run.stage_started, run.activity = now, None
        elif event.kind == "activity":
            task, count, total = values["task"], values["done"], values["total"]
            if 0 < total <= count:
                run.activity = None
            else:
                if run.activity is None or run.activity[0] != task:
                    run.activity_started = now
                run.activity = task, count, total
        elif event.kind == "epoch":
            run.epoch, run.loss, run.last = round(values["epoch"]), values["loss"], now
            if run.first is None:
                run.first = run.stage_started, run.epoch - 1
            if "valid_mrr" in values:
                run.best = max(values["valid_mrr"], run.best or 0.0)
        else:
            run.completed += values["done"]


def _row(job: Job) -> tuple[str, str]:
    return job.label, job.spec.data.dataset


def _clock(now: float, seconds: float) -> str:
    """Return a sign that turns, and the seconds that have passed."""
    return f"{_SPINNER[int(8 * now) % len(_SPINNER)]} {duration(seconds)}"


def _activity(activity: tuple[str, int, int], seconds: float) -> Text:
    """Return the line of a step of unknown or known length, with the seconds it has taken."""
    task, completed, total = activity
    count = f": {completed:,} of {total:,}" if total > 1 else ""
    return Text(f"{_clock(time.monotonic(), seconds)}  {task}{count}")


def _node(event: RunProgress) -> str:
    """Return the node of an attempt, and its number from the second on."""
    number = event.values["number"]
    return str(event.values["node"]) + (f" (attempt {number})" if number > 1 else "")


def _line(event: RunProgress) -> str:
    """Return the state of a run in one line, "" for events that only move a bar."""
    values = event.values
    if event.kind == "stage" and values["stage"] != "start":
        return _STAGES.get(str(values["stage"]), "")
    if event.kind == "activity" and values["done"] < values["total"]:
        count = f": {values['done']:,} of {values['total']:,}" if values["total"] > 1 else ""
        return f"{values['task']}{count}"
    if event.kind != "epoch":
        return ""
    epochs = event.job.spec.training.epochs
    text = f"epoch {values['epoch']:.0f}/{epochs}, loss {values['loss']:.4f}"
    if "valid_mrr" in values:
        text += f", valid MRR {percent(values['valid_mrr'])}"
    return text


@contextmanager
def show_events() -> Iterator[OnEvent]:
    """Yield a callback that shows events on stderr: bars on a terminal, lines elsewhere.

    Steps of encoders, kernels and readers inside the block are shown too.
    """
    console = SafeConsole(stderr=True)
    display = Bars(console) if console.is_terminal else Lines()
    try:
        if isinstance(display, Bars):
            with reporting(display.on_event), showing_stops(display.show_stop):
                yield display.on_event
        else:  # main's own display prints the steps
            yield display.on_event
    finally:
        display.close()
