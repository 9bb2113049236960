"""Logs of a run: what its worker printed, and what a cluster wrote down of its attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.environment import results_folder
from harness.errors import ConfigError
from harness.run.cluster.attempts import ATTEMPTS
from harness.run.cluster.folder import FOLDER, Submission
from harness.run.cluster.mailbox import MAILBOX
from harness.run.runs import opened
from harness.store.base import resolve_id
from harness.store.files import run_ids

__all__ = ["RunLog", "run_logs"]


class RunLog(NamedTuple):
    """A log.

    Attributes:
        title: its contents in a few words.
        path: its file.
    """

    title: str
    path: Path


def run_logs(run_id: str, home: Path | str | None = None) -> Sequence[RunLog]:
    """Return the logs of a run that there are.

    Args:
        run_id: id of the run, or its beginning; the run needs no record.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.

    Raises:
        ConfigError: not exactly one run id begins with it, or it has no log.
    """
    results = results_folder(home)
    run_id, folder = _resolved(run_id, results)
    candidates = [
        RunLog("attempts on a cluster", folder / ATTEMPTS),
        RunLog("messages of the newest attempt", folder / MAILBOX),
        *(RunLog("worker, earlier attempt", path) for path in sorted(folder.glob("stderr-*.log"))),
        RunLog("worker", folder / "stderr.log"),
        *_of_slurm(run_id, results),
    ]
    logs = [log for log in candidates if log.path.is_file()]
    if not logs:
        raise ConfigError(f"run {run_id}: no logs; runs of this process alone leave none")
    return logs


def _resolved(text: str, home: Path) -> tuple[str, Path]:
    """Return the id and the folder of a run that is stored, has a folder or was submitted."""
    runs = home / "runs"
    submitted = [run_id for submission in _submissions(home) for run_id, _ in submission.stages]
    with opened(home) as store:
        run_id = resolve_id(store, text, [*run_ids(runs), *submitted])
    return run_id, runs / run_id


def _submissions(home: Path) -> Sequence[Submission]:
    root = home / FOLDER
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
    return [Submission(home, name) for name in names]


def _of_slurm(run_id: str, home: Path) -> Iterator[RunLog]:
    """Yield the logs of the Slurm jobs that a run was submitted as, oldest first."""
    for submission in _submissions(home):
        for index, (submitted_id, _) in enumerate(submission.stages):
            if submitted_id != run_id:
                continue
            for path in sorted(submission.folder.glob("*_log.*")):
                task = path.name.split("_")
                # "41_3_0_log.err" of an array, "41_0_log.err" of a single job
                if len(task) == 3 or task[1] == str(index):
                    yield RunLog("Slurm", path)
