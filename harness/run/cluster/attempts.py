"""Attempts at a run on a cluster: ``attempts.jsonl`` in its folder, a line for each.

A run that is interrupted again and again before its checkpoint has a further epoch is given up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.config.base import Config
from harness.run.jobs import Attempt, Job
from harness.training.state_file import STATE

__all__ = ["ATTEMPTS", "AttemptEntry", "begin", "checkpoint_epoch", "read"]

ATTEMPTS = "attempts.jsonl"


class AttemptEntry(Config):
    """One attempt."""

    attempt: Attempt
    submission: str
    """Command that submitted the run; a new command may try as often again."""
    epoch: int
    """Epochs in the checkpoint when it began."""
    began: str
    """UTC, ISO 8601."""


def checkpoint_epoch(folder: Path) -> int:
    """Return the number of epochs in the checkpoint of a run folder, 0 without one."""
    try:
        return int(json.loads((folder / STATE).read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):  # the worker reports damage
        return 0


def read(folder: Path) -> Sequence[AttemptEntry]:
    """Return the attempts of a run folder, oldest first; a line that was cut off is left out."""
    path = folder / ATTEMPTS
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entries.append(AttemptEntry.model_validate_json(line))
        except ValidationError:
            continue
    return entries


def begin(job: Job, attempt: Attempt, submission: str) -> tuple[Attempt, int]:
    """Note the beginning of an attempt.

    Args:
        job: the run.
        attempt: engine, node and task; its number is set here.
        submission: command that submitted the run.

    Returns:
        The attempt, and how many attempts of this submission before it ended where it begins.
    """
    earlier, epoch = read(job.folder), checkpoint_epoch(job.folder)
    attempt = attempt.model_copy(update={"number": len(earlier) + 1})
    fruitless = 0
    for entry in reversed(earlier):
        if (entry.submission, entry.epoch) != (submission, epoch):
            break
        fruitless += 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = AttemptEntry(attempt=attempt, submission=submission, epoch=epoch, began=now)
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / ATTEMPTS).open("a") as file:
        file.write(entry.model_dump_json() + "\n")
    return attempt, fruitless
