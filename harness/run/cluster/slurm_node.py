"""Entrance of a Slurm job: what submitit calls on the node.

SIGTERM (preemption) and SIGUSR2 (the time limit is near) make the worker write its checkpoint; then
the job requeues itself, unless Slurm is ending it: SIGTERM also comes from scancel, and a requeue
would undo what a person did. SIGUSR1 (the command was stopped) makes it write its checkpoint
and end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import Any

from harness.run.cluster import squeue
from harness.run.cluster.folder import sees
from harness.run.cluster.mailbox import MailboxWriter
from harness.run.cluster.relay import Assignment, Forward, relay
from harness.run.jobs import Attempt, Outcome

__all__ = ["execute"]

SECONDS_TO_BE_REQUEUED = 60
"""Time that Slurm has to end a job which it was asked to requeue."""
TIME_LIMIT = "time limit"


class _Requests:
    """Signals as requests."""

    def __init__(self) -> None:
        self.stop = self.requeue = ""
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            self.stop = "stopped"
        elif number == signal.SIGUSR2:
            self.requeue = TIME_LIMIT
        else:  # also comes at the time limit, when the epoch before it was too long
            self.requeue = self.requeue or "preempted"

    def any(self) -> bool:
        """Return whether a signal came."""
        return bool(self.stop or self.requeue)


def execute(assignment_json: str) -> str:
    """Execute an assignment; its messages and its outcome are in the run folder's mailbox.

    Args:
        assignment_json: an ``Assignment``.

    Returns:
        The outcome as JSON, for the log of submitit.
    """
    requests = _Requests()
    assignment = Assignment.model_validate_json(assignment_json)
    environment = os.environ
    array, job_id = environment.get("SLURM_ARRAY_JOB_ID"), environment["SLURM_JOB_ID"]
    task = f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else job_id
    node = environment.get("SLURMD_NODENAME") or socket.gethostname()
    attempt = Attempt(engine="slurm", node=node, number=1, task=task)
    mailboxes: list[MailboxWriter] = []

    def make_forward(first: dict[str, Any]) -> Forward:
        mailboxes.append(MailboxWriter(assignment.job.folder, first))
        return mailboxes[0].write

    outcome = relay(assignment, attempt, make_forward, requests.any)
    mailbox = mailboxes[0] if mailboxes else _reporting(assignment, attempt, outcome)
    if outcome.status == "interrupted" and not requests.stop:
        _leave(mailbox, task, requests)
    else:
        mailbox.write({**outcome.model_dump(), "kind": "outcome"})
    mailbox.close()
    return outcome.model_dump_json()


def _leave(mailbox: MailboxWriter, task: str, requests: _Requests) -> None:
    """End an interrupted job, which is to run again unless a person or Slurm ends it for good."""
    # After scancel, a requeue by Slurm itself, or the time limit: COMPLETING. A job that is
    # preempted is RUNNING during its grace time. What becomes of it, squeue tells the command.
    if squeue.state_of(task) == "COMPLETING" and requests.requeue != TIME_LIMIT:
        mailbox.write({"kind": "ended", "reason": "ended by Slurm"})
        return
    mailbox.write({"kind": "requeued", "reason": requests.requeue})
    mailbox.write({"kind": "not requeued", "reason": _requeue(task)})


def _reporting(assignment: Assignment, attempt: Attempt, outcome: Outcome) -> MailboxWriter:
    """Return a mailbox for the outcome of a relay that refused to begin."""
    if not sees(assignment.job.home, assignment.submission, assignment.nonce):
        raise SystemExit(outcome.message)  # what is written here, nobody reads
    return MailboxWriter(assignment.job.folder, {"kind": "attempt", **attempt.model_dump()})


def _requeue(task: str) -> str:
    """Ask Slurm to run this job again, and wait to be ended; return the reason why it did not.

    Args:
        task: "41_3" in an array: the last job of an array has the id of the whole one.
    """
    command = ["scontrol", "requeue", task]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
        reason = completed.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    until = time.monotonic() + (0 if reason else SECONDS_TO_BE_REQUEUED)
    while time.monotonic() < until:
        time.sleep(0.5)
    return reason or "nothing happened"
