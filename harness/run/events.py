"""Events of runs and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.events import Event
from harness.run.jobs import Job, Outcome
from harness.store.records import RunRecord

__all__ = ["RunEnded", "RunProgress", "RunsEnded", "RunsSkipped", "RunsStarted", "TrialEnded"]


@dataclass(frozen=True)
class RunsStarted(Event):
    """Runs are about to be executed; RunsEnded follows.

    Attributes:
        total: their number.
        title: name of the suite or study.
        jobs: the runs, as far as they are known; a study makes them as it goes on.
        at_once: greatest number of runs at the same time.
    """

    total: int
    title: str = ""
    jobs: Sequence[Job] = ()
    at_once: int = 1


@dataclass(frozen=True)
class RunsSkipped(Event):
    """Runs of the total are not executed; they count as done.

    Attributes:
        count: their number.
        reason: reason why they are not executed.
    """

    count: int
    reason: str

    def __str__(self) -> str:
        return f"skipped: {self.count} {'run' if self.count == 1 else 'runs'} ({self.reason})"


@dataclass(frozen=True)
class RunsEnded(Event):
    """No further run is executed."""


@dataclass(frozen=True)
class RunProgress(Event):
    """Progress of a run.

    Attributes:
        job: the run.
        kind: "stage" (values "stage": start, load, train, valid or test, and "total"), "epoch" (a
            row of the history), "queries" ("done"), "activity" ("task", "done", "total": a
            step of the stage, as ``harness.events.Step``) or "attempt" ("node", "number": the run
            begins or continues on a cluster).
        values: numbers and names of that kind.
    """

    job: Job
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class RunEnded(Event):
    """A run has ended.

    Attributes:
        job: the run.
        outcome: how it ended.
        record: record of the run; None where there is none.
    """

    job: Job
    outcome: Outcome
    record: RunRecord | None = None

    @property
    def valid_mrr(self) -> float | None:
        """Validation MRR as a fraction; None where there is none."""
        return self.record.metric("mrr", "valid") if self.record else None

    def __str__(self) -> str:
        title, outcome = self.job.title, self.outcome
        title += f" on {outcome.node}" if outcome.node else ""
        if outcome.status == "ok":
            value = "" if self.valid_mrr is None else f", valid MRR {100 * self.valid_mrr:.2f}"
            return f"done: {title}{value} ({self.job.run_id})"
        message = "" if outcome.status == "pruned" else f": {outcome.message}"
        return f"{outcome.status}: {title} ({self.job.run_id}){message}"


@dataclass(frozen=True)
class TrialEnded(Event):
    """A trial of a study has ended.

    Attributes:
        search: row and dataset.
        number: number of the trial.
        state: "complete", "pruned" or "failed".
        value: mean validation MRR of a complete trial, a fraction.
        best, best_number: best trial so far; None when no trial is complete.
    """

    search: str
    number: int
    state: str
    value: float | None
    best: float | None
    best_number: int | None

    def __str__(self) -> str:
        text = f"trial {self.number} of {self.search}: {self.state}"
        if self.value is not None:
            text += f", mean valid MRR {100 * self.value:.2f}"
        if self.best is not None and self.best_number != self.number:
            text += f" (best: {100 * self.best:.2f}, trial {self.best_number})"
        return text
