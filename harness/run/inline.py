"""Runs jobs one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.run.jobs import Job, OnProgress, Outcome
from harness.run.worker import execute_job

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """The simplest executor: no processes, no waiting."""

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.run.jobs.Executor.run``."""
        for job in jobs:
            if should_stop():
                return
            yield execute_job(job, on_event, should_stop)
