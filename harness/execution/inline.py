"""Runs jobs one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.execution.base import Event, Job, Outcome
from harness.execution.worker import execute_job

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """The simplest executor: no processes, no waiting."""

    def run(
        self, jobs: Sequence[Job], on_event: Event, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.execution.base.Executor.run``."""
        for job in jobs:
            if should_stop():
                return
            yield execute_job(job, on_event, should_stop)
