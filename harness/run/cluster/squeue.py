"""Commands of Slurm: squeue, scancel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.errors import MachineError

__all__ = ["FINAL", "QueueEntry", "cancel", "parse_queue", "queue", "signal", "state_of"]

FORMAT = "%i|%T|%N|%r|%j"
FINAL = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
}
"""States of jobs that have ended. Versions of Slurm add states, which are shown while a job has
not: a job of an unknown one is followed, not submitted a second time."""
HELD = {"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
NEVER = {
    *("JobHeldAdmin", "JobHeldUser", "PartitionTimeLimit", "BadConstraints", "InvalidAccount"),
    *("InvalidQOS", "PartitionDown", "AssocGrpCpuLimit", "AssocGrpMemLimit", "PartitionNodeLimit"),
    *("AccountNotAllowed", "DependencyNeverSatisfied", "launch failed requeued held"),
}
"""Reasons of waiting jobs that only a person can remove; so are limits of a single job."""
SECONDS = 60
"""Time that a command has; a busy controller takes its time."""
DEFAULTS = ("SQUEUE_", "SCANCEL_")
"""Beginnings of variables with a user's defaults: a job that they hide would be taken for lost."""
AT_ONCE = 200
"""Ids on one command line."""


class QueueEntry(NamedTuple):
    """A job in the queue.

    Attributes:
        state: "PENDING", "RUNNING", "NODE_FAIL", ...
        node: node that executes it, "" while it waits.
        reason: why it waits.
        name: name of the job.
        array_index: its index in its array, 0 outside of one.
    """

    state: str
    node: str
    reason: str
    name: str
    array_index: int

    @property
    def active(self) -> bool:
        """True until it has ended."""
        return self.state not in FINAL

    @property
    def held(self) -> bool:
        """True if it waits for a person."""
        reason = self.reason.replace("_", " ")  # as some versions write it
        never = reason in NEVER or "PerJob" in reason
        return self.state in HELD or (self.state == "PENDING" and never)


def queue(prefix: str) -> Mapping[str, QueueEntry]:
    """Return this user's jobs of the names that begin with ``prefix``, by id.

    Jobs that ended in the last minutes are among them.

    Raises:
        MachineError: Slurm does not answer.
    """
    words = ["squeue", "--me", "--noheader", "--array", "--states=all", f"--format={FORMAT}"]
    return {i: e for i, e in parse_queue(_output(words)).items() if e.name.startswith(prefix)}


def parse_queue(text: str) -> Mapping[str, QueueEntry]:
    """Return the jobs in the output of squeue by id ("41", "41_3"); other lines are passed over."""
    return dict(_entries(text))


def _entries(text: str) -> Iterator[tuple[str, QueueEntry]]:
    for line in text.splitlines():
        fields = line.strip().split("|", 4)
        if len(fields) != 5:
            continue
        job_id, state, node, reason, name = fields
        index = job_id.partition("_")[2] or "0"
        if index.isdecimal():
            yield job_id, QueueEntry(state, node, reason, name, int(index))


def state_of(job_id: str) -> str:
    """Return the state of a job, "" where Slurm does not answer or does not know it."""
    try:
        return _output(["squeue", "--noheader", f"--jobs={job_id}", "--format=%T"]).strip()
    except MachineError:
        return ""


def cancel(ids: Iterable[str], *, pending: bool = False) -> None:
    """End jobs; with ``pending`` those alone that have not started.

    Raises:
        MachineError: Slurm does not answer.
    """
    _scancel(["--state=PENDING"] if pending else [], ids)


def signal(ids: Iterable[str], name: str) -> None:
    """Send a signal to running jobs; errors as ``cancel``."""
    _scancel([f"--signal={name}"], ids)


def _scancel(options: list[str], ids: Iterable[str]) -> None:
    ids = list(ids)
    for start in range(0, len(ids), AT_ONCE):
        # --quiet: jobs that have ended in the meantime are no error.
        _output(["scancel", "--quiet", *options, *ids[start : start + AT_ONCE]])


def _output(words: list[str]) -> str:
    try:
        completed = subprocess.run(  # noqa: S603 - fixed words and ids of jobs
            words,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if not k.startswith(DEFAULTS)},
            start_new_session=True,  # Ctrl-C is for the harness, which then asks Slurm
        )
    except FileNotFoundError as error:
        raise MachineError(
            f"no {words[0]} here: Slurm's commands are on its login nodes"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{words[0]}: no answer within {SECONDS} s") from error
    *_, reason = "", *completed.stderr.splitlines()
    reason = reason.strip().removeprefix(f"{words[0]}: ")
    # scancel --quiet returns 1 without a word where some of the jobs have ended.
    if completed.returncode and (reason or "--quiet" not in words):
        raise MachineError(f"{words[0]}: {reason or f'exit code {completed.returncode}'}")
    return completed.stdout
