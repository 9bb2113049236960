"""Notices locks of run folders that do not hold between machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.run.cluster.folder import lock_is_free
from harness.run.jobs import Job

__all__ = ["LockWatch"]


CONFIRM_S = 10.0
"""A run that sends epochs this long after its lock was free here holds a lock of its node alone;
messages of a run that had ended by then take no such time."""


class LockWatch:
    """Looks once whether the lock of a run that a node is executing is seen as free here.

    Args:
        on_message: receives the warning.
    """

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self.on_message = on_message
        self._suspect, self._since = "", 0.0
        self._settled = False

    def watch(self, job: Job, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take note of messages of a run that has not ended; their kinds may be gone."""
        if self._settled or not any("loss" in message for message in messages):
            return
        if self._suspect == job.run_id and time.monotonic() - self._since > CONFIRM_S:
            self._settled = True
            self.on_message(
                f"{job.home}: locks of files do not hold between the nodes of this cluster, so two "
                "commands at the same time could train one run twice; mount the folder with locks "
                "(NFS: without nolock; Lustre: with flock)"
            )
        elif not self._suspect and lock_is_free(job.folder):
            self._suspect, self._since = job.run_id, time.monotonic()
        elif not self._suspect:
            self._settled = True
