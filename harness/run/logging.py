"""Events of runs passed on to loggers, in the process that drives the suite."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.config.override import dotted
from harness.errors import ConfigError
from harness.events import Event, Message, OnEvent, doing, reporting
from harness.loggers import LoggedRun, Logger, epoch_values, make_logger
from harness.loggers.base import EndStatus
from harness.run.events import RunEnded, RunProgress
from harness.run.jobs import Job
from harness.store.base import ResultStore
from harness.store.files import LOG
from harness.store.records import RunRecord

__all__ = ["RunLogging", "run_logging"]

LOGS = "logs"
"""Folder of the results folder with a folder per logger."""
_LOGGED = "logged.tsv"
"""File of a logger's folder: suite, run id and status of each run that was logged to its end."""


class RunLogging:
    """Passes events on and logs them; a logger that fails is dropped after one warning.

    Args:
        loggers: name -> logger.
        home: results folder.
        suite: name of the suite or study, "" for runs without one.
        on_event: receives every event, and the warnings.
    """

    def __init__(
        self, loggers: Mapping[str, Logger], home: Path, suite: str, on_event: OnEvent
    ) -> None:
        self.home, self.suite = home, suite or "runs"
        self._pass_on = on_event
        self._loggers = dict(loggers)
        self._runs: dict[str, LoggedRun] = {}
        self._epochs: dict[str, set[int]] = {}

    def on_event(self, event: Event) -> None:
        """Pass an event on, then log it."""
        self._pass_on(event)
        if not self._loggers:
            return
        if isinstance(event, RunProgress) and event.kind == "epoch":
            self._epoch(event.job, event.values)
        elif isinstance(event, RunEnded):
            status = event.outcome.status
            if event.record is not None:
                self._end(event.job, event.record.status, event.record)
            elif event.job.run_id in self._runs:
                self._end(event.job, "failed" if status == "failed" else "interrupted", None)

    def log_stored(self, jobs: Sequence[Job], store: ResultStore) -> None:
        """Log stored runs, from their records, to the loggers that do not have them yet.

        Args:
            jobs: runs that the store has.
            store: the store.
        """
        if not (self._loggers and jobs):
            return
        statuses = store.statuses()
        logged = {name: self._logged(name) for name in self._loggers}
        for job in jobs:
            key = self.suite, job.run_id, str(statuses[job.run_id])
            lacking = [name for name in self._loggers if key not in logged[name]]
            if lacking and (record := store.get(job.run_id)) is not None:
                self._start(job, lacking)
                self._end(job, record.status, record, lacking)

    def close(self) -> None:
        """End the runs that were interrupted, and close the loggers."""
        for run in list(self._runs.values()):
            self._call(partial(_interrupt, run))
        self._call(lambda logger: logger.close())

    def _epoch(self, job: Job, row: Mapping[str, Any]) -> None:
        epoch = round(row["epoch"])
        if epoch in self._epochs.get(job.run_id, {epoch}):  # new, or a cluster repeats epochs
            self._start(job)
            if epoch > 1:  # the run is resumed: its folder has the earlier epochs
                for earlier in _rows_before(job.folder / LOG, epoch):
                    self._log(job, earlier)
        self._log(job, row)

    def _log(self, job: Job, row: Mapping[str, Any], names: Sequence[str] | None = None) -> None:
        run, epoch = self._runs[job.run_id], round(row["epoch"])
        self._epochs[job.run_id].add(epoch)
        self._call(lambda logger: logger.epoch(run, epoch, epoch_values(row)), names)

    def _start(self, job: Job, names: Sequence[str] | None = None) -> None:
        run = LoggedRun(
            run_id=job.run_id,
            suite=self.suite,
            label=job.label,
            dataset=job.spec.data.dataset,
            seed=job.spec.seed,
            settings=dotted(job.spec.model_dump(mode="json")),
        )
        self._runs[job.run_id], self._epochs[job.run_id] = run, set()
        self._call(lambda logger: logger.start(run), names)

    def _end(
        self,
        job: Job,
        status: EndStatus,
        record: RunRecord | None,
        names: Sequence[str] | None = None,
    ) -> None:
        if job.run_id not in self._runs:  # reused another run's training, or was run elsewhere
            self._start(job, names)
        if record is not None:
            for row in record.history:
                if round(row["epoch"]) not in self._epochs[job.run_id]:
                    self._log(job, row, names)
        run = self._runs.pop(job.run_id)
        del self._epochs[job.run_id]
        for name in self._call(lambda logger: logger.end(run, status, record), names):
            if record is not None:
                self._note(name, f"{self.suite}\t{run.run_id}\t{record.status}\n")

    def _call(
        self, call: Callable[[Logger], None], names: Sequence[str] | None = None
    ) -> Sequence[str]:
        """Call each logger, or those of ``names``; return the names of those that did not fail."""
        done = []
        for name, logger in list(self._loggers.items()):
            if names is not None and name not in names:
                continue
            try:
                call(logger)
            except (Exception, SystemExit) as error:
                del self._loggers[name]
                self._pass_on(_failed(name, error))
            else:
                done.append(name)
        return done

    def _logged(self, name: str) -> set[tuple[str, ...]]:
        path = self.home / LOGS / name / _LOGGED
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        return {tuple(line.split("\t")) for line in lines}

    def _note(self, name: str, line: str) -> None:
        path = self.home / LOGS / name / _LOGGED
        with contextlib.suppress(OSError):  # the run is logged again next time
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(line)


@contextlib.contextmanager
def run_logging(
    names: Sequence[str], home: Path, suite: str, on_event: OnEvent
) -> Iterator[RunLogging]:
    """Open loggers for the block.

    Args:
        names: names of loggers.
        home: results folder; a logger's own is ``home/logs/NAME``.
        suite: name of the suite or study.
        on_event: receives every event and the warnings.

    Raises:
        ConfigError: a logger is unknown, or its package is missing.
    """
    loggers: dict[str, Logger] = {}
    for name in names:
        try:
            with reporting(on_event), doing(f"opening logger {name}"):
                loggers[name] = make_logger(name, home / LOGS / name)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            on_event(_failed(name, error))
        else:
            if command := getattr(loggers[name], "opened_by", ""):
                on_event(Message(f"{name}: open the log with: {command}"))
    logging = RunLogging(loggers, home, suite, on_event)
    try:
        yield logging
    finally:
        logging.close()


def _interrupt(run: LoggedRun, logger: Logger) -> None:
    logger.end(run, "interrupted", None)


def _failed(name: str, error: BaseException) -> Message:
    text = (str(error).strip() or "no message").splitlines()[0]
    return Message(
        f"warning: logger '{name}' failed and logs no more: {type(error).__name__}: {text}; "
        "runs and results are not affected"
    )


def _rows_before(path: Path, epoch: int) -> Iterator[Mapping[str, float]]:
    """Yield the rows of a run's log before an epoch; lines that cannot be read are skipped."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            row = json.loads(line)
            if row["epoch"] < epoch:
                yield row
