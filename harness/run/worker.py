"""The one function that executes a job, wherever it runs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import shlex
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import (
    ChangedDataError,
    DataError,
    HarnessError,
    Interrupted,
    MachineError,
    StoreError,
    lacks_descriptors,
    raised_at,
)
from harness.events import Event, Step, reporting
from harness.plan.spec import RunSpec
from harness.run.jobs import Job, OnProgress, Outcome
from harness.store.failures import ELSEWHERE, disk_error
from harness.store.files import (
    LOG,
    RECORD,
    check_run_folder,
    write_record,
    write_whole,
)
from harness.store.records import RunRecord
from harness.visible import unstyled
from harness.writing import remove_abandoned

__all__ = ["execute_job", "is_executed"]

LOCK = "lock"
"""File of a run folder that the process that executes the run has locked."""
SECONDS_BETWEEN_STEPS = 0.5
"""Between two reports on a step of a stage."""
_TEMPORARY = r"\..+"
"""Names of temporary files in a run folder, whichever library made them."""

NO_LOCKS = (
    "its file system cannot lock files, so two commands could train one run at the same time; "
    "mount it with locks (NFS: without nolock; Lustre: with flock), or set HARNESS_HOME"
)
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors that no run can be blamed for, and after which nothing can be recorded."""


def execute_job(job: Job, on_event: OnProgress, should_stop: Callable[[], bool]) -> Outcome:
    """Execute a job and leave ``record.json`` in its folder, also when it fails.

    A result that another process left there in the meantime is returned as it is; a record of an
    earlier stage is resumed from. Temporary files of a killed process are removed first.

    Returns:
        ok, pruned, failed (the record holds the traceback; a validated run whose dataset has
        nothing to test it on keeps its record), interrupted (no new record; it can be resumed) or
        busy (another process is executing the run).

    Raises:
        MachineError: the folder cannot be written; nothing can be recorded then.
    """
    try:
        with _run_folder(job), reporting(_Activities(job, on_event).on_event):
            return _execute(job, on_event, should_stop)
    except _BusyError:
        return Outcome(run_id=job.run_id, status="busy")
    except StoreError as error:  # unusable files in the folder stay as they are
        return Outcome(run_id=job.run_id, status="failed", message=str(error))


def is_executed(folder: Path) -> bool:
    """Return True if a process is executing the run of a folder.

    Raises:
        MachineError: its lock cannot be tried.
    """
    try:
        with (folder / LOCK).open("r+") as lock:  # network disks lock no file that is only read
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise disk_error(folder, error) from error
    return False


class _Activities:
    """Passes steps of encoders, kernels and rankings on as progress of a job.

    Args:
        job: the run.
        on_event: receives "activity".
    """

    def __init__(self, job: Job, on_event: OnProgress) -> None:
        self._job, self._pass_on = job, on_event
        self._last: tuple[str, float] = "", 0.0

    def on_event(self, event: Event) -> None:
        """Pass a step on, those in the middle of a task every ``SECONDS_BETWEEN_STEPS``."""
        if isinstance(event, Step):
            now, ended = time.monotonic(), 0 < event.total <= event.done
            task, passed_on = self._last
            if ended or event.task != task or now - passed_on > SECONDS_BETWEEN_STEPS:
                self._last = event.task, now
                values = {"task": event.task, "done": event.done, "total": event.total}
                self._pass_on(self._job, "activity", values)


def _execute(job: Job, on_event: OnProgress, should_stop: Callable[[], bool]) -> Outcome:
    from harness import catalog, pipeline, reuse
    from harness.store.archive.audit import read_audited
    from harness.training.checkpoint import CheckpointFolder
    from harness.unchanged import check_before

    log, path = _Log(job.folder / LOG), job.folder / RECORD
    record = read_audited(job.folder)
    if record is not None and job.is_complete_at(record.status):
        return Outcome(run_id=job.run_id, status="ok")
    if record is not None and record.status == "failed":
        path.unlink()
    on_event(job, "stage", {"stage": "load", "total": 0})
    trained = False
    try:
        catalog.load_all(job.model_folders)
        validated = record is not None and record.status == "validated"
        trained = validated and pipeline.has_checkpoint(job.spec, job.folder)
        check_before(job.run_id, job.spec, record, trained=trained)
        if job.stage == "test":
            pipeline.check_testable(job.spec)
        hooks = pipeline.Hooks(
            on_epoch=lambda row: _epoch(log, job, on_event, dict(row)),
            on_stage=lambda stage, total: on_event(job, "stage", {"stage": stage, "total": total}),
            on_queries=lambda done: on_event(job, "queries", {"done": done}),
            should_stop=should_stop,
        )
        workplace = pipeline.Workplace(job.folder, job.device, job.threads)
        CheckpointFolder(job.folder).clean()
        if record is None or not trained:
            record = reuse.take_over(job.run_id, job.spec, workplace) or pipeline.train(
                job.run_id, job.spec, workplace, hooks, job.limits
            )
        if job.stage == "test":
            record = pipeline.test(record, workplace, hooks)
    except ChangedDataError as error:  # not a result of this run, so its record stays
        return Outcome(run_id=job.run_id, status="failed", message=str(error))
    except Interrupted as error:
        return Outcome(run_id=job.run_id, status="interrupted", message=str(error))
    except MachineError:
        raise
    except (Exception, SystemExit) as error:  # a model of the user's own may call sys.exit
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise disk_error(Path(error.filename or job.folder), error, ELSEWHERE) from error
        if lacks_descriptors(error):  # the machine's fault; a failed run would be skipped
            raise MachineError(f"the machine lacks file descriptors ({error})") from error
        if not (trained and isinstance(error, DataError)):  # nothing to test a validated run on
            write_record(path, _failure(job, error))
        return Outcome(run_id=job.run_id, status="failed", message=_reason(job, error))
    provenance = record.provenance | _execution(job)
    write_record(path, record.model_copy(update={"provenance": provenance}))
    return Outcome(run_id=job.run_id, status="pruned" if record.status == "pruned" else "ok")


class _BusyError(Exception):
    """Another process holds the lock of the run folder."""


@contextlib.contextmanager
def _run_folder(job: Job) -> Iterator[None]:
    """Make the folder and hold its lock: two commands never train one run at the same time."""
    try:
        check_run_folder(job.folder)
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _BusyError from None
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    raise MachineError(f"{job.folder}: {NO_LOCKS}") from error
                raise
            remove_abandoned(job.folder, _TEMPORARY)
            yield
    except OSError as error:
        raise disk_error(Path(error.filename or job.folder), error, ELSEWHERE) from error


class _Log:
    """``log.jsonl``, a line per epoch; epochs that are done again replace their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = False

    def add(self, row: dict[str, Any]) -> None:
        """Add the line of an epoch."""
        if not self._begun:
            self._remove_from(row["epoch"])
            self._begun = True
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _remove_from(self, epoch: float) -> None:
        """Remove lines of this epoch and later ones, which a killed process left unsaved."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        earlier_lines = [line for line in lines if _epoch_of(line) < epoch]
        if earlier_lines != lines:
            write_whole(self.path, b"".join(earlier_lines))


def _epoch_of(line: bytes) -> float:
    """Return the epoch of a line of the log, infinity for one that was cut off."""
    try:
        return float(json.loads(line)["epoch"]) if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf


def _epoch(log: _Log, job: Job, on_event: OnProgress, row: dict[str, Any]) -> None:
    log.add(row)
    on_event(job, "epoch", row)


def _execution(job: Job) -> dict[str, Any]:
    """Return the provenance of a run on a cluster: engine, node, attempt."""
    return {} if job.attempt is None else {"execution": job.attempt.model_dump()}


def _reason(job: Job, error: BaseException) -> str:
    """Return the reason of a failure in one line, with the line of the user's own code."""
    text = str(error).strip().splitlines()
    message = text[0] if text else "no message"
    if isinstance(error, HarnessError):
        return message
    return f"{type(error).__name__}: {unstyled(message)}{_own_code(job.spec, error)}"


def _own_code(spec: RunSpec, error: BaseException) -> str:
    """Return the line of the user's own model or strategy that an error came through, and how a
    model is checked; "" for those of the package."""
    from harness.model import MODELS
    from harness.plan.identity import registered
    from harness.source import is_shipped, source_files

    own_classes = [entry for entry in registered(spec) if not is_shipped(entry)]
    location = raised_at(error, *source_files(*own_classes))
    text = f"; raised at {location}" if location else ""
    if any(entry is MODELS.get(spec.model.name) for entry in own_classes):
        file, _, _ = MODELS.origin(spec.model.name).rpartition(":")
        text += f"; check it with: harness models check {shlex.quote(file)}"
    return text


def _failure(job: Job, error: BaseException) -> RunRecord:
    from harness import catalog

    message = _reason(job, error)
    if not isinstance(error, HarnessError):
        message += "\n" + unstyled("".join(traceback.format_exception(error)))
    return RunRecord(
        run_id=job.run_id,
        status="failed",
        spec=job.spec,
        model=job.spec.model.name,
        dataset=job.spec.data.dataset,
        dataset_digest="",
        features=job.spec.data.features,
        seed=job.spec.seed,
        protocol=job.spec.protocol.key,
        provenance=catalog.origin(job.spec) | _execution(job),
        error=message,
    )
