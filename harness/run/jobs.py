"""A run to execute, its outcome, and the interface of what executes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from harness.config.base import Config
from harness.plan.spec import RunSpec
from harness.store.base import STAGE
from harness.store.records import Status

__all__ = ["Executor", "Job", "OnProgress", "Outcome"]


class Job(Config):
    """One run and where to execute it: plain values that can cross a process border."""

    run_id: str
    label: str
    spec: RunSpec
    home: Path
    """Results folder; the run's own is ``home/runs/<run_id>``."""
    device: str = "auto"
    threads: int = 0
    model_folders: tuple[Path, ...] = ()
    stage: Literal["valid", "test"] = "test"
    """The last split that is ranked."""
    limits: dict[int, float] = Field(default_factory=dict)
    """Epoch -> validation MRR that must have been reached by then, or the run is pruned."""

    def portable(self) -> Job:
        """Return the job with absolute paths, for a process that may start in another folder."""
        folders = tuple(folder.absolute() for folder in self.model_folders)
        return self.model_copy(update={"home": self.home.absolute(), "model_folders": folders})

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.home / "runs" / self.run_id

    @property
    def title(self) -> str:
        """What a person calls the run."""
        return f"{self.label} on {self.spec.data.dataset}, seed {self.spec.seed}"

    def has_in(self, status: Status) -> bool:
        """Tell whether a run of this status has come as far as this job would take it."""
        return STAGE[status] >= STAGE["ok" if self.stage == "test" else "validated"]


class Outcome(Config):
    """What became of a job; the record itself is the file ``record.json`` in the run's folder."""

    run_id: str
    status: Literal["ok", "pruned", "failed", "interrupted", "elsewhere"]
    """"elsewhere": another process is executing the run."""
    message: str = ""
    """First line of the error."""


OnProgress = Callable[[Job, str, dict[str, Any]], None]
"""Called with a job, "stage" | "epoch" | "queries", and its values."""


class Executor(Protocol):
    """Runs jobs; one failing job never stops the others."""

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Yield an outcome per job as they end.

        When ``should_stop`` turns true, running jobs write a checkpoint and end as "interrupted",
        and no further job is started.
        """
        ...
