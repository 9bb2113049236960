"""Jobs minus what the store holds: executes the rest and adds every record to the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from harness.errors import StoreError
from harness.events import Message, OnEvent, ShouldStop
from harness.run.events import RunEnded, RunProgress
from harness.run.executors import Execution, make_executor
from harness.run.jobs import Executor, Job, OnProgress, Outcome
from harness.run.memory import divide
from harness.run.worker import is_executed
from harness.store.archive.audit import read_audited
from harness.store.base import ResultStore
from harness.store.failures import TransientError
from harness.store.files import RECORD, check_run_folder
from harness.store.records import RunRecord

__all__ = ["Pending", "Summary", "execute", "failures", "patiently", "pending", "run_jobs"]

SECONDS_BETWEEN_LOOKS = 0.2
"""Between two looks at the locks of other processes."""
SECONDS_BETWEEN_TRIES = 2.0
"""Between two tries to reach the store."""
PATIENCE_S = 900.0
"""How long a store is waited for that cannot be reached."""

STOPPED_ELSEWHERE = "stopped, and not by this command; it continues from its checkpoint"
"""Message on a run that ended as interrupted while nothing asked this command to stop."""

Result = TypeVar("Result")


@dataclass
class Summary:
    """Outcome of a plan."""

    finished: list[str] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    failed_earlier: list[Outcome] = field(default_factory=list)
    """Runs of the plan that an earlier call stored as failed, and that were not tried again."""
    interrupted: bool = False
    """Asked to stop before everything had ended."""

    @property
    def ended(self) -> int:
        """Number of jobs that have ended."""
        return len(self.finished) + len(self.pruned) + len(self.failed)

    def add(self, outcome: Outcome) -> None:
        """Add what became of a job."""
        if outcome.status == "ok":
            self.finished.append(outcome.run_id)
        elif outcome.status == "pruned":
            self.pruned.append(outcome.run_id)
        elif outcome.status in ("failed", "lost"):
            self.failed.append(outcome)


class Pending(NamedTuple):
    """A plan compared with the store."""

    to_run: list[Job]
    finished: list[Job]
    failed: list[Job]
    unreadable: list[Outcome]
    """Runs whose folder holds a record that cannot be read, as failures; nothing is stored."""


def pending(jobs: Sequence[Job], store: ResultStore, *, retry_failed: bool = False) -> Pending:
    """Divide jobs by what is stored of them.

    Records that a worker left but nobody added yet (the parent was killed) are added first. A run
    that failed earlier, or whose record cannot be read, is run again only with ``retry_failed``.
    """
    statuses = store.statuses()
    unreadable: dict[str, Outcome] = {}
    for job in jobs:
        stored = job.run_id in statuses and job.is_complete_at(statuses[job.run_id])
        problem = None if stored else _add_record(job, store)
        if problem and not (retry_failed and _forgotten(job)):
            unreadable[job.run_id] = problem
    statuses = store.statuses()  # again, with the records that were just added
    state = Pending([], [], [], list(unreadable.values()))
    for job in jobs:
        status = statuses.get(job.run_id)
        if status is not None and job.is_complete_at(status):
            state.finished.append(job)
        elif job.run_id in unreadable:
            continue
        elif status == "failed" and not retry_failed:
            state.failed.append(job)
        else:
            state.to_run.append(job)
    return state


def _forgotten(job: Job) -> bool:
    """Remove a record that cannot be read; return False where the run folder leads elsewhere."""
    try:
        check_run_folder(job.folder)
    except StoreError:
        return False
    (job.folder / RECORD).unlink(missing_ok=True)
    return True


def failures(run_ids: Collection[str], store: ResultStore) -> list[Outcome]:
    """Return the failures that the store holds of some runs, with the first line of the error."""
    return [
        Outcome(
            run_id=record.run_id, status="failed", message=(record.error or "").partition("\n")[0]
        )
        for record in store.find(ids=run_ids)
        if record.status == "failed"
    ]


def _add_record(job: Job, store: ResultStore) -> Outcome | None:
    """Add the record in a run's folder, if any; return a failure when it cannot be read."""
    try:
        record = read_audited(job.folder)
    except StoreError as error:
        return Outcome(run_id=job.run_id, status="failed", message=str(error))
    if record is not None:
        store.add(record)
    return None


def execute(
    jobs: Sequence[Job],
    store: ResultStore,
    settings: Execution,
    *,
    on_event: OnEvent,
    should_stop: ShouldStop,
) -> Summary:
    """Execute jobs whose results the store lacks; those that cannot fit the memory fail.

    Args:
        jobs: what to run.
        store: gets the records.
        settings: how they are executed.
        on_event: receives RunProgress, RunEnded and Message.
        should_stop: asked between jobs, and while waiting.
    """
    if not jobs:
        return Summary()

    def on_message(text: str) -> None:
        on_event(Message(text))

    def on_outcome(job: Job, outcome: Outcome) -> None:
        records: Sequence[RunRecord] = ()
        if outcome.status in ("ok", "pruned", "failed"):
            records = patiently(lambda: store.find(ids=[job.run_id]), on_message, should_stop)
        on_event(RunEnded(job, outcome, next(iter(records), None)))

    executor = make_executor(settings.executor, settings, on_message)
    able, refused = _prepared(jobs, settings, on_event)
    by_id = {job.run_id: job for job in jobs}
    for outcome in refused:
        on_outcome(by_id[outcome.run_id], outcome)
    summary = run_jobs(
        able,
        store,
        executor,
        on_event=lambda job, kind, values: on_event(RunProgress(job, kind, values)),
        on_outcome=on_outcome,
        on_wait=lambda waiting: on_message(_elsewhere(waiting)),
        on_message=on_message,
        should_stop=should_stop,
    )
    summary.failed[:0] = refused
    return summary


def _prepared(
    jobs: Sequence[Job], settings: Execution, on_event: OnEvent
) -> tuple[list[Job], list[Outcome]]:
    """Return the jobs to start, with their needs on a cluster, and those refused on this machine
    for lack of memory."""
    if not settings.on_cluster:
        return divide(jobs, settings.per_device, on_event)
    from harness.run.cluster.needs import with_needs
    from harness.run.cluster.settings import engine_settings

    engine = engine_settings(settings.executor, settings.engine)
    return with_needs(jobs, engine.needs, settings.threads), []


def _elsewhere(jobs: Sequence[Job]) -> str:
    """Return the line that says which runs another process is executing."""
    remainder = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f"being run elsewhere: {jobs[0].title} ({jobs[0].run_id}){remainder}; waiting for it"


def run_jobs(
    jobs: Sequence[Job],
    store: ResultStore,
    executor: Executor,
    *,
    on_event: OnProgress,
    on_outcome: Callable[[Job, Outcome], None],
    on_wait: Callable[[Sequence[Job]], None],
    should_stop: Callable[[], bool],
    on_message: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Execute jobs and keep their records; a failure is kept and the rest goes on.

    Runs that another process is executing are waited for after the others. One that it leaves
    unfinished is executed here.

    Args:
        jobs: what to run.
        store: gets the records.
        executor: runs the jobs.
        on_event: called with the progress of a job.
        on_outcome: called when a job has ended.
        on_wait: called with the jobs of other processes before they are waited for.
        should_stop: asked between jobs, and while waiting.
        on_message: callback for the message that the store cannot be reached.
    """
    summary = Summary()

    def end(job: Job, outcome: Outcome) -> None:
        if outcome.status == "interrupted" and not should_stop():
            # By another command that follows the same run, or by a signal to the worker alone.
            outcome = outcome.model_copy(update={"status": "lost", "message": STOPPED_ELSEWHERE})
        summary.add(outcome)
        on_outcome(job, outcome)

    def add(job: Job) -> Outcome | None:
        return patiently(lambda: _add_record(job, store), on_message, should_stop)

    elsewhere = _execute(jobs, add, executor, on_event, end, should_stop)
    if elsewhere:
        on_wait(elsewhere)
    while elsewhere and (released := _wait_for_some(elsewhere, should_stop)):
        elsewhere = [job for job in elsewhere if job not in released]
        to_run = _take_over(released, store, end)
        elsewhere += _execute(to_run, add, executor, on_event, end, should_stop)
    summary.interrupted = summary.ended < len(jobs) and should_stop()
    return summary


def _execute(
    jobs: Sequence[Job],
    add: Callable[[Job], Outcome | None],
    executor: Executor,
    on_event: OnProgress,
    end: Callable[[Job, Outcome], None],
    should_stop: Callable[[], bool],
) -> list[Job]:
    """Execute jobs; return those that another process is executing."""
    by_id = {job.run_id: job for job in jobs}
    elsewhere = []
    for outcome in executor.run(jobs, on_event, should_stop) if jobs else ():
        job = by_id[outcome.run_id]
        if outcome.status == "busy":
            elsewhere.append(job)
        else:
            end(job, add(job) or outcome)
    return elsewhere


def patiently(
    call: Callable[[], Result],
    on_message: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Result:
    """Call a function, and call it again while the store cannot be reached.

    Runs go on in the meantime; their records are in their folders.

    Args:
        call: reads or writes the store.
        on_message: callback for one message while the call waits.
        should_stop: asked between two tries.

    Raises:
        TransientError: it could not be reached for ``PATIENCE_S`` seconds, or a stop came.
    """
    until = 0.0
    while True:
        try:
            return call()
        except TransientError as error:
            if not until:
                until = time.monotonic() + PATIENCE_S
                on_message(f"{error}; waiting for it")
            if time.monotonic() > until or should_stop():
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)


def _wait_for_some(jobs: Sequence[Job], should_stop: Callable[[], bool]) -> list[Job]:
    """Wait until other processes have ended some jobs and return these; [] after a stop."""
    while not should_stop():
        if released := [job for job in jobs if not is_executed(job.folder)]:
            return released
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return []


def _take_over(
    jobs: Sequence[Job], store: ResultStore, end: Callable[[Job, Outcome], None]
) -> list[Job]:
    """End the jobs that another process has finished; return those that it has not."""
    state = pending(jobs, store)
    for job in state.finished:
        end(job, Outcome(run_id=job.run_id, status="ok"))
    failed = failures([job.run_id for job in state.failed], store)
    for outcome in (*failed, *state.unreadable):
        end(next(job for job in jobs if job.run_id == outcome.run_id), outcome)
    return state.to_run
