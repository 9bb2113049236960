"""The relay: executes one job on a node of a cluster, in the process that the engine started.

It checks that the node sees what the submitting machine sees, starts the worker process and
forwards its messages. The worker ends with the relay, whichever way that ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import harness
from harness.config.base import Config
from harness.errors import HarnessError, StoreError
from harness.run.cluster import attempts, folder
from harness.run.jobs import Attempt, Job, Outcome
from harness.run.processes import ProcessExecutor
from harness.store.files import check_run_folder

__all__ = ["Assignment", "Forward", "assignment_of", "given_up", "relay"]

BUSY_SECONDS = 120.0
"""How long a run is waited for whose folder a process that may be ending has locked."""
BUSY_PAUSE_S = 2.0
Forward = Callable[[dict[str, Any]], None]


class Assignment(Config):
    """A job and what the node must agree with."""

    job: Job
    command: str
    """Id of the command that submitted it."""
    submission: str
    """Folder below ``cluster`` in the results folder that holds the nonce."""
    nonce: str
    version: str
    """Version of the harness on the submitting machine."""
    attempts: int
    """Attempts without a further epoch after which the run is given up."""


def assignment_of(job: Job, command: str, submission: folder.Submission, limit: int) -> Assignment:
    """Return the assignment of a job."""
    return Assignment(
        job=job.portable(),
        command=command,
        submission=submission.name,
        nonce=submission.nonce,
        version=harness.__version__,
        attempts=limit,
    )


def relay(
    assignment: Assignment,
    attempt: Attempt,
    make_forward: Callable[[dict[str, Any]], Forward],
    should_stop: Callable[[], bool],
) -> Outcome:
    """Execute a job on this node.

    Args:
        assignment: the job.
        attempt: engine, node and task.
        make_forward: called with the first message once the results folder is known to be the
            right one; returns what forwards the others.
        should_stop: asked several times a second.

    Returns:
        As ``harness.run.worker.execute_job``; lost where the run is given up or this node cannot
        execute it.
    """
    job, node = assignment.job, attempt.node
    if problem := _disagreement(assignment, node):
        return _outcome(job, attempt, "lost", problem)
    try:
        check_run_folder(job.folder)
    except StoreError as error:  # nothing may be written through a link, not even this message
        raise SystemExit(str(error)) from None
    attempt, fruitless = attempts.begin(job, attempt, assignment.command)
    forward = make_forward({"kind": "attempt", **attempt.model_dump()})
    if fruitless >= assignment.attempts:
        epoch = attempts.checkpoint_epoch(job.folder)
        return _outcome(job, attempt, "lost", given_up(job.run_id, fruitless, epoch))
    _rotate_log(job, attempt.number)
    executor = ProcessExecutor(1, job.threads or job.needs.cpus)
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            outcomes = list(
                executor.run(
                    [job.model_copy(update={"attempt": attempt})],
                    lambda _, kind, values: forward({"kind": kind, **values}),
                    should_stop,
                )
            )
        except HarnessError as error:  # the disk, or a device that this node lacks
            return _outcome(job, attempt, "lost", str(error))
        if not outcomes:
            return _outcome(job, attempt, "interrupted", "stopped before it began")
        if outcomes[0].status != "busy" or time.monotonic() > until or should_stop():
            return _outcome(job, attempt, outcomes[0].status, outcomes[0].message)
        time.sleep(BUSY_PAUSE_S)


def given_up(run_id: str, fruitless: int, epoch: int) -> str:
    """Return the message on a run that is given up.

    Args:
        run_id: id of the run.
        fruitless: attempts that ended where they began.
        epoch: epochs in the checkpoint.
    """
    return (
        f"given up: {fruitless} attempts ended without a checkpoint after epoch {epoch}; an epoch, "
        "or the ranking after the last one, takes longer than an attempt: raise needs.minutes, or "
        f"signal_seconds, in the engine file; logs: `harness runs log {run_id}`"
    )


def _disagreement(assignment: Assignment, node: str) -> str:
    """Return the reason why this node must not execute a job, "" without any."""
    if harness.__version__ != assignment.version:
        return (
            f"node {node} has version {harness.__version__} of the harness, the submitting "
            f"machine {assignment.version}: install the same on both"
        )
    home = assignment.job.home
    if not folder.sees(home, assignment.submission, assignment.nonce):
        return (
            f"node {node} does not see the results folder {home} of the submitting machine: runs "
            "on a cluster need a folder that all nodes share (--home, HARNESS_HOME)"
        )
    return ""


def _outcome(job: Job, attempt: Attempt, status: Any, message: str) -> Outcome:
    return Outcome(
        run_id=job.run_id,
        status=status,
        message=message,
        node=attempt.node,
        attempt=attempt.number,
    )


def _rotate_log(job: Job, number: int) -> None:
    """Keep the worker's log of the attempt before."""
    log = job.folder / "stderr.log"
    if log.is_file() and number > 1:
        log.replace(job.folder / f"stderr-{number - 1}.log")
