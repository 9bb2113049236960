"""Executes jobs and shows how they go, for ``harness run`` and ``harness study``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.fitting import divide
from harness.cli.paths import home
from harness.errors import RunError, StoreError

if TYPE_CHECKING:
    from harness.cli.progress import Bars, Lines
    from harness.execution.base import Executor, Job, Outcome
    from harness.execution.scheduler import Summary
    from harness.store.base import ResultStore

__all__ = ["execute", "raise_failed"]


def execute(
    jobs: Sequence[Job],
    store: ResultStore,
    executor: Executor,
    screen: Lines | Bars,
    *,
    workers: int,
    should_stop: Callable[[], bool],
) -> Summary:
    """Run jobs and show how they go; those that cannot fit the memory fail, the others run.

    Args:
        jobs: whose results the store does not hold.
        store: gets their records.
        executor: runs them, ``workers`` at the same time.
        screen: what is shown.
        workers: see there.
        should_stop: whether a signal came.
    """
    from harness.execution.scheduler import Summary, run_jobs

    if not jobs:
        return Summary()

    def tell(job: Job, outcome: Outcome) -> None:
        record = store.get(job.run_id) if outcome.status == "ok" else None
        screen.outcome(job, outcome, record.metric("mrr", "valid") if record else None)

    able, unable = divide(jobs, workers)
    by_id = {job.run_id: job for job in jobs}
    for outcome in unable:
        tell(by_id[outcome.run_id], outcome)
    summary = run_jobs(
        able,
        store,
        executor,
        on_event=screen.event,
        on_outcome=tell,
        on_wait=lambda jobs: screen.say(_elsewhere(jobs)),
        should_stop=should_stop,
    )
    summary.failed[:0] = unable
    return summary


def _elsewhere(jobs: Sequence[Job]) -> str:
    """Return the line that says which runs another process is executing."""
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f"being run elsewhere: {jobs[0].title} ({jobs[0].run_id}){more}; waiting for it"


def raise_failed(
    failed: Sequence[Outcome], place: Path, again: str = "the same command tries again"
) -> None:
    """Say how many runs failed, and what can be done about the first.

    Args:
        failed: any number of outcomes.
        place: results folder.
        again: how a run that left no record is tried again.

    Raises:
        RunError: some run failed.
    """
    if failed:
        first, count = failed[0], len(failed)
        hint = _hint(place, first.run_id, again)
        raise RunError(
            f"{count} {'run' if count == 1 else 'runs'} failed; the first: {first.run_id}: "
            f"{first.message}{f' ({hint})' * bool(hint)}"
        )


def _hint(place: Path, run_id: str, again: str) -> str:
    """Return what helps with a failure; "" where its message says so, of an unreadable record."""
    from harness.store.files import read_own_record

    try:
        record = read_own_record(place / "runs" / run_id)
    except StoreError:
        return ""
    where = "" if place == home() else f" --home {shlex.quote(str(place))}"
    return f"harness runs show {run_id}{where}" if record else again
