"""A plan minus what the store holds: runs the rest and adds every record to the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.execution.base import Event, Executor, Job, Outcome
from harness.store.base import ResultStore
from harness.store.files import RECORD, read_record

__all__ = ["Summary", "pending", "run_jobs"]


@dataclass
class Summary:
    """What became of a plan."""

    finished: list[str] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    interrupted: bool = False
    """Asked to stop before everything had ended."""


def pending(
    jobs: Sequence[Job], store: ResultStore, *, retry_failed: bool = False
) -> tuple[list[Job], list[Job], list[Job]]:
    """Divide jobs into (to run, finished earlier, failed earlier).

    Records that a worker left but nobody added yet (the parent was killed) are added first. A run
    that failed earlier is run again only with ``retry_failed``.
    """
    held = store.statuses()
    for job in jobs:
        known = job.run_id in held and job.has_in(held[job.run_id])
        if not known and (job.folder / RECORD).is_file():
            store.add(read_record(job.folder / RECORD))
    held = store.statuses()
    to_run, finished, failed = [], [], []
    for job in jobs:
        status = held.get(job.run_id)
        if status is not None and job.has_in(status):
            finished.append(job)
        elif status == "failed" and not retry_failed:
            failed.append(job)
        else:
            to_run.append(job)
    return to_run, finished, failed


def run_jobs(
    jobs: Sequence[Job],
    store: ResultStore,
    executor: Executor,
    *,
    on_event: Event,
    on_outcome: Callable[[Job, Outcome], None],
    should_stop: Callable[[], bool],
) -> Summary:
    """Execute jobs and keep their records; a failure is kept and the rest goes on."""
    by_id = {job.run_id: job for job in jobs}
    summary = Summary()
    for outcome in executor.run(jobs, on_event, should_stop):
        job = by_id[outcome.run_id]
        record = job.folder / RECORD
        if record.is_file():
            store.add(read_record(record))
        if outcome.status == "ok":
            summary.finished.append(outcome.run_id)
        elif outcome.status == "pruned":
            summary.pruned.append(outcome.run_id)
        elif outcome.status == "failed":
            summary.failed.append(outcome)
        on_outcome(job, outcome)
    ended = len(summary.finished) + len(summary.pruned) + len(summary.failed)
    summary.interrupted = ended < len(jobs) and should_stop()
    return summary
