"""A run to execute, its outcome, and the interface of what executes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from harness.config.base import Config
from harness.plan.spec import RunSpec
from harness.store.base import STAGE
from harness.store.records import Status

__all__ = ["Attempt", "Executor", "Job", "Needs", "OnProgress", "Outcome"]


class Needs(Config):
    """Resources that a cluster gives a run."""

    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    memory: Annotated[int, Field(ge=0)] = 0
    """MiB; 0 for the cluster's default."""
    minutes: Annotated[int, Field(ge=0)] = 0
    """Time limit; 0 for the cluster's default."""

    def __str__(self) -> str:
        texts = [f"{self.cpus} CPU{'s' * (self.cpus > 1)}"]
        texts += [f"{self.gpus} GPU{'s' * (self.gpus > 1)}"] * bool(self.gpus)
        texts += [f"{self.memory / 1024:g} GiB"] * bool(self.memory)
        texts += [f"{self.minutes} min"] * bool(self.minutes)
        return ", ".join(texts)


class Attempt(Config):
    """One execution of a run by a cluster."""

    engine: str
    """Name of the executor."""
    node: str
    number: int
    """Counts the attempts at the run, from 1."""
    task: str = ""
    """The engine's id of it."""


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
    needs: Needs = Needs()
    """Resources; only clusters look at them."""
    names_features: bool = False
    """Whether the title names the feature set: of a suite where the row runs with several on this
    dataset, of a study where there are features."""
    attempt: Attempt | None = None
    """Execution that this is, on a cluster."""

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
        """Label, dataset, seed and, where it tells runs apart, feature set, for people."""
        data = self.spec.data
        features = f" [{data.features}]" if self.names_features else ""
        return f"{self.label} on {data.dataset}{features}, seed {self.spec.seed}"

    def is_complete_at(self, status: Status) -> bool:
        """Return True if a run of this status has ranked the last split of the job."""
        return STAGE[status] >= STAGE["ok" if self.stage == "test" else "validated"]


class Outcome(Config):
    """Outcome of a job; the record itself is the file ``record.json`` in the run's folder."""

    run_id: str
    status: Literal["ok", "pruned", "failed", "interrupted", "busy", "lost"]
    """"busy": another process is executing the run; "lost": the cluster lost it, nothing is
    recorded and the same command tries again."""
    message: str = ""
    """First line of the error."""
    node: str = ""
    """Node of a cluster that executed the run, "" on this machine."""
    attempt: int = 0
    """Number of the attempt on a cluster."""


OnProgress = Callable[[Job, str, dict[str, Any]], None]
"""Called with a job, a kind of progress (``harness.run.events.RunProgress``), and its values."""


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
