"""Runs jobs in Slurm: arrays of jobs with equal needs, submitted by submitit.

What became of a run stands in its folder, where the relay on the node writes it; squeue tells of
runs that ended without a word. Accounting (sacct) is not needed. Runs that an earlier command
submitted are recognised in the queue and adopted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import ConfigError, MachineError
from harness.run.cluster import squeue
from harness.run.cluster.attempts import checkpoint_epoch
from harness.run.cluster.environment import hidden_from_nodes
from harness.run.cluster.folder import Submission, new_submission, submitting
from harness.run.cluster.locks import LockWatch
from harness.run.cluster.mailbox import MAILBOX, MailboxReader
from harness.run.cluster.needs import groups
from harness.run.cluster.relay import assignment_of, given_up
from harness.run.cluster.settings import SlurmSettings
from harness.run.cluster.squeue import QueueEntry
from harness.run.jobs import Job, Needs, OnProgress, Outcome
from harness.run.processes import stop_signals_blocked

__all__ = ["SlurmExecutor", "sbatch_parameters"]

PREFIX = "harness-"
"""Beginning of the names of our jobs; the name of their submission follows."""
SHARE = 20
"""The command sleeps this many times as long as it looked for news."""
LOOKS_S = 0.2, 5.0
"""Shortest and longest sleep."""
SLOW_S = 60.0
"""Time after which Slurm's silence is worth a message."""
STOP_S = 5.0
"""Time between two requests to stop: a job that was just starting has not received the first."""
PATIENCE_S = 900.0
"""How long the submission of a lost run is tried again."""


@dataclass
class _Task:
    """A job in Slurm.

    Attributes:
        slurm_id: "41" or "41_3".
        stage: last split that the submitted job ranks.
        fruitless: times in a row that it was lost with no further epoch in its checkpoint.
        missing: successful looks at the queue in a row that did not see it.
        refused: when Slurm first refused to take it again; 0.0 if it did not.
    """

    job: Job
    slurm_id: str
    stage: str
    mailbox: MailboxReader = field(init=False)
    node: str = ""
    attempt: int = 0
    fruitless: int = 0
    epoch: int = 0
    missing: int = 0
    refused: float = 0.0

    def __post_init__(self) -> None:
        self.mailbox = MailboxReader(self.job.folder)
        self.epoch = checkpoint_epoch(self.job.folder)


class SlurmExecutor:
    """Submits jobs and follows them.

    Args:
        settings: the engine file.
        at_once: most jobs of an array that run at the same time; 0 for no limit.
        detach: submit and leave.
        on_message: receives lines that a person should read.

    Raises:
        ConfigError: submitit is not installed.
        MachineError: this machine has no sbatch.
    """

    def __init__(
        self,
        settings: SlurmSettings,
        *,
        at_once: int = 0,
        detach: bool = False,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise ConfigError(
                "executor 'slurm' needs submitit: pip install -e '.[slurm]'"
            ) from None
        if shutil.which("sbatch") is None:
            raise MachineError(
                "executor 'slurm': no sbatch here; give the command on a login node of the cluster"
            )
        self.settings, self.at_once, self.detach = settings, at_once, detach
        self.on_message = on_message
        self.command = secrets.token_hex(8)
        self._silent_since: float | None = None
        self._reported: set[str] = set()

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.run.jobs.Executor.run``.

        With ``on_interrupt: leave`` a stop leaves all jobs in Slurm and yields nothing of them.

        Raises:
            MachineError: Slurm refuses the jobs, or the results folder cannot be written.
        """
        if not jobs or should_stop():
            return
        jobs = [job.portable() for job in jobs]
        adopted, submitted = self._adopt_or_submit(jobs)
        if adopted:
            count = _runs(len(adopted))
            self.on_message(f"{count} in Slurm already, submitted by an earlier command")
        if submitted:
            ids = ", ".join(dict.fromkeys(_array(task) for task in submitted.values()))
            self.on_message(f"{_runs(len(submitted))} submitted to Slurm: {ids}")
        tasks = adopted | submitted
        if self.detach:
            return
        yield from self._follow(tasks, on_event, should_stop)

    def _follow(
        self, tasks: dict[str, _Task], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        cancels = self.settings.on_interrupt == "cancel"
        locks, stopping = LockWatch(self.on_message), False
        next_look = next_stop = 0.0
        try:
            while tasks:
                began = time.monotonic()
                for task in list(tasks.values()):
                    if outcome := self._news(task, on_event, locks):
                        yield from self._end(tasks, task, outcome)
                if should_stop() and not stopping:
                    if not cancels:
                        self.on_message(_farewell(tasks.values()))
                        return
                    stopping, next_look = True, 0.0
                if stopping and time.monotonic() > next_stop:
                    self._stop(tasks)
                    next_stop = time.monotonic() + STOP_S
                if time.monotonic() > next_look:
                    yield from self._look(tasks, stopping)
                    next_look = time.monotonic() + (1.0 if stopping else self.settings.poll)
                shortest, longest = LOOKS_S
                time.sleep(min(longest, max(shortest, SHARE * (time.monotonic() - began))))
        finally:
            # Reached early by an error or a second Ctrl-C.
            if tasks and cancels:
                with contextlib.suppress(MachineError):
                    squeue.cancel(task.slurm_id for task in tasks.values())

    def _news(self, task: _Task, on_event: OnProgress, locks: LockWatch) -> Outcome | None:
        """Forward the messages of a run; return its outcome if that is among them."""
        messages = task.mailbox.read()
        for message in messages:
            kind = message.pop("kind")
            if kind == "outcome":
                return Outcome.model_validate(message)
            if kind in ("requeued", "ended"):
                node = f" on {task.node}" if task.node else ""
                reason = f"{message['reason']}{node}, checkpoint written"
                reason += ", waits to continue" * (kind == "requeued")
                self.on_message(f"{task.job.title}: {reason}")
                continue
            if kind == "not requeued":  # the job ends, and is submitted again
                text = f"Slurm did not requeue the job: {message['reason']}"
                self.on_message(f"{task.job.title}: {text}")
                continue
            if kind == "attempt":
                task.node, task.attempt = message["node"], message["number"]
            on_event(task.job, kind, message)
        locks.watch(task.job, messages)
        return None

    def _end(self, tasks: dict[str, _Task], task: _Task, outcome: Outcome) -> Iterator[Outcome]:
        """Yield the outcome of a run, unless the job that was adopted ranked fewer splits."""
        if outcome.status == "ok" and (task.stage, task.job.stage) == ("valid", "test"):
            self._submit_again(tasks, task)
        else:
            del tasks[task.job.run_id]
            yield outcome

    def _submit_again(self, tasks: dict[str, _Task], task: _Task) -> str:
        """Put a new task in the place of one whose job has ended.

        Returns:
            The reason why Slurm did not take it now, "" if it did; the old task stays then.
        """
        try:
            adopted, submitted = self._adopt_or_submit([task.job])
        except MachineError as error:
            task.refused = task.refused or time.monotonic()
            return str(error)
        tasks |= adopted | submitted
        return ""

    def _look(self, tasks: dict[str, _Task], stopping: bool) -> Iterator[Outcome]:
        """Look for runs that ended without a word; submit them again, or yield that they are lost.

        Slurm itself runs again what was on a node that died or was preempted.
        """
        entries = self._queue()
        if entries is None:
            return
        lost = []
        for task in tasks.values():
            entry = entries.get(task.slurm_id)
            if entry is not None:
                task.node = entry.node or task.node
            if entry is not None and entry.active:
                task.missing = 0
                self._tell_held(task, entry)
                continue
            task.missing += 1
            with contextlib.suppress(OSError):
                os.listdir(task.job.folder)  # what NFS remembers of the folder may be old
            if task.missing > 1:
                lost.append((task, entry.state if entry else ""))
        for task, state in lost:
            if outcome := self._news(task, lambda *_: None, LockWatch(self.on_message)):
                yield from self._end(tasks, task, outcome)
            elif stopping:
                del tasks[task.job.run_id]
                yield _outcome(task, "interrupted", "ended by Slurm")
            else:
                yield from self._lost(tasks, task, state)

    def _lost(self, tasks: dict[str, _Task], task: _Task, state: str) -> Iterator[Outcome]:
        """Submit a lost run again, or yield that it is lost."""
        run_id, epoch = task.job.run_id, checkpoint_epoch(task.job.folder)
        fruitless = task.fruitless + 1 if epoch == task.epoch else 1
        node = f" on {task.node}" if task.node else ""
        reason = f"ended{node} without a word{f' ({state})' if state else ''}"
        if state == "CANCELLED":
            del tasks[run_id]
            yield _outcome(task, "lost", f"cancelled in Slurm{node}")
        elif fruitless >= self.settings.attempts:
            del tasks[run_id]
            begun = given_up(run_id, fruitless, epoch)
            not_begun = _not_begun(task.job, fruitless)
            yield _outcome(task, "lost", f"{reason}; {begun if task.attempt else not_begun}")
        elif not (refusal := self._submit_again(tasks, task)):
            tasks[run_id].fruitless = fruitless
            self.on_message(f"{task.job.title}: {reason}; submitted again")
        elif time.monotonic() - task.refused > PATIENCE_S:
            del tasks[run_id]
            yield _outcome(task, "lost", f"{reason}; {refusal}")
        elif run_id not in self._reported:
            self._reported.add(run_id)
            self.on_message(f"{task.job.title}: {reason}; {refusal}; trying again")

    def _tell_held(self, task: _Task, entry: QueueEntry) -> None:
        if entry.held:
            array = _array(task)
            if array not in self._reported:
                self._reported.add(array)
                self.on_message(f"Slurm job {array} does not start: {entry.reason}")

    def _stop(self, tasks: dict[str, _Task]) -> None:
        """Take waiting jobs out of the queue and ask running ones to write their checkpoints."""
        ids = [task.slurm_id for task in tasks.values()]
        try:
            squeue.cancel(ids, pending=True)
            squeue.signal(ids, "USR1")
        except MachineError as error:
            self._report_silence(error)

    def _queue(self) -> Any:
        """Return the queue; None, and once a message, while Slurm does not answer."""
        try:
            entries = squeue.queue(PREFIX)
        except MachineError as error:
            self._report_silence(error)
            return None
        self._silent_since = None
        return entries

    def _report_silence(self, error: MachineError) -> None:
        """Say that Slurm does not answer, if it has not for a while."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > SLOW_S:
            self.on_message(f"{error}; runs go on, waiting for Slurm")
            self._silent_since = now

    def _adopt_or_submit(self, jobs: Sequence[Job]) -> tuple[dict[str, _Task], dict[str, _Task]]:
        """Return the tasks of jobs that are in the queue already, and those submitted here."""
        with submitting(jobs[0].home):
            adopted = self._adopted(jobs)
            submitted = self._submit([job for job in jobs if job.run_id not in adopted])
        return adopted, {task.job.run_id: task for task in submitted}

    def _adopted(self, jobs: Sequence[Job]) -> dict[str, _Task]:
        """Return the tasks of jobs that are in the queue already."""
        by_id = {job.run_id: job for job in jobs}
        tasks: dict[str, _Task] = {}
        stages: dict[str, Sequence[tuple[str, str]]] = {}
        for slurm_id, entry in squeue.queue(PREFIX).items():
            if not entry.active:
                continue
            name = entry.name.removeprefix(PREFIX)
            if name not in stages:
                stages[name] = Submission(jobs[0].home, name).stages
            if entry.array_index < len(stages[name]):
                run_id, stage = stages[name][entry.array_index]
                if run_id in by_id and not _has_stopped(by_id[run_id]):
                    tasks[run_id] = _Task(by_id[run_id], slurm_id, stage)
        return tasks

    def _submit(self, jobs: Sequence[Job]) -> list[_Task]:
        """Submit jobs, an array for each group of equal needs."""
        tasks: list[_Task] = []
        for needs, batch in groups(jobs, self.settings.array):
            for job in batch:
                (job.folder / MAILBOX).unlink(missing_ok=True)  # of an earlier submission
            submission = new_submission(batch[0].home, batch)
            try:
                ids = self._sbatch(needs, batch, submission)
            except MachineError:
                if tasks:
                    self.on_message(_farewell(tasks))
                raise
            tasks += [_Task(job, i, job.stage) for job, i in zip(batch, ids, strict=True)]
        return tasks

    def _sbatch(self, needs: Needs, jobs: Sequence[Job], submission: Submission) -> list[str]:
        from submitit import SlurmExecutor as Submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from harness.run.cluster.slurm_node import execute

        parameters = sbatch_parameters(self.settings, needs, PREFIX + submission.name)
        parameters["array_parallelism"] = self.at_once or len(jobs)
        texts = [
            assignment_of(job, self.command, submission, self.settings.attempts).model_dump_json()
            for job in jobs
        ]
        try:
            executor = Submitit(submission.folder)
            executor.update_parameters(**parameters)
            # Ctrl-C is for the harness: sbatch would end without the id of what it submitted.
            with hidden_from_nodes(), stop_signals_blocked():
                return [str(job.job_id) for job in executor.map_array(execute, texts)]
        except (FailedJobError, FailedSubmissionError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise MachineError(f"Slurm refuses the jobs ({needs}): {reason}") from error


def sbatch_parameters(settings: SlurmSettings, needs: Needs, name: str) -> dict[str, Any]:
    """Return the parameters of submitit for jobs of the same needs.

    Args:
        settings: the engine file.
        needs: needs of each job.
        name: name of the jobs.
    """
    options: dict[str, Any] = {"requeue": True}
    for key in ("partition", "account", "qos", "time"):
        if value := getattr(settings, key):
            options[key] = value
    if needs.memory:
        options["mem"] = f"{needs.memory}M"
    if needs.gpus:
        options["gpus-per-node"] = needs.gpus
    for key, value in settings.sbatch.items():
        options[key.replace("_", "-")] = value
    options = {key: value for key, value in options.items() if value is not False}
    parameters: dict[str, Any] = {
        "job_name": name,
        "wckey": None,  # submitit's own; a site may refuse keys that it does not know
        "cpus_per_task": needs.cpus,
        "signal_delay_s": settings.signal_seconds,
        "setup": list(settings.setup),
        # Without it submitit sets a limit of five minutes.
        "time": None if settings.time else needs.minutes or None,
        "additional_parameters": options,
    }
    return parameters


def _outcome(task: _Task, status: Any, message: str) -> Outcome:
    return Outcome(
        run_id=task.job.run_id,
        status=status,
        message=message,
        node=task.node,
        attempt=task.attempt,
    )


def _has_stopped(job: Job) -> bool:
    """Tell whether a run ended without a result, whose job Slurm still shows for a moment."""
    messages = MailboxReader(job.folder).read()
    return any(m["kind"] == "outcome" and m["status"] not in ("ok", "pruned") for m in messages)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _array(task: _Task) -> str:
    """Return the id of a task's array."""
    return task.slurm_id.partition("_")[0]


def _farewell(tasks: Collection[_Task]) -> str:
    ids = " ".join(dict.fromkeys(_array(task) for task in tasks))
    return (
        f"{_runs(len(tasks))} left in Slurm; the same command follows them again, "
        f"`scancel {ids}` ends them"
    )


def _not_begun(job: Job, count: int) -> str:
    """Return the message on a run that is given up because no job of it reached its folder."""
    return (
        f"given up: {count} jobs ended before the run began; all nodes must see {job.home} and "
        f"have {sys.executable}; logs: `harness runs log {job.run_id}`"
    )
