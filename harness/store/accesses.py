"""Log of the times that a run's test split was scored: ``test_split.jsonl`` in its folder.

A line is written before anything is scored, so an access counts also when the process dies in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from harness.config.base import Config
from harness.errors import StoreError

__all__ = ["ACCESSES", "Access", "Stage", "note", "read", "scoring", "summary"]

ACCESSES = "test_split.jsonl"

Stage = Literal["test", "retest", "shadow"]
"""The test of a run; a repetition because its ranks were lost; the audit of a validation."""


class Access(Config):
    """One time that the test split was scored."""

    stage: Stage
    when: str
    """UTC, ISO 8601."""
    queries: Annotated[int, Field(ge=0)]
    epoch: int | None = None
    """Epoch that an audit scored."""
    weights: str = ""
    """sha256 of the checkpoint; "" of models without weights, and of an audit."""
    why: str = ""
    """Why it was scored again."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Commit, versions, machine: what scored it."""


def note(folder: Path, stage: Stage, queries: int, **further: Any) -> Access:
    """Add an access to the log of a run folder and return it.

    Raises:
        OSError: it cannot be written; nothing may be scored then.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    access = Access(stage=stage, when=now, queries=queries, **further)
    with (folder / ACCESSES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(access.model_dump(mode="json")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return access


def read(folder: Path) -> Sequence[Access]:
    """Return the accesses of a run folder, oldest first; none where there is no log.

    Raises:
        StoreError: a line cannot be read; nobody knows then how often the split was scored.
    """
    path = folder / ACCESSES
    if not path.is_file():
        return ()
    accesses = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            accesses.append(Access.model_validate_json(line))
        except ValidationError:
            raise StoreError(
                f"{path}:{number}: not a line of this log; `harness runs rm {folder.name}` "
                "forgets the run, which is then trained and tested anew"
            ) from None
    return accesses


def scoring(accesses: Sequence[Access]) -> Access | None:
    """Return the last access that a result came from, None when there was none."""
    return next((a for a in reversed(accesses) if a.stage != "shadow"), None)


def summary(accesses: Sequence[Access]) -> dict[str, Any]:
    """Return per stage how often the split was scored, first and last: for the provenance."""
    stages = dict.fromkeys(access.stage for access in accesses)
    return {stage: _of_stage([a for a in accesses if a.stage == stage]) for stage in stages}


def _of_stage(accesses: Sequence[Access]) -> dict[str, Any]:
    reasons = list(dict.fromkeys(a.why for a in accesses if a.why))
    summary: dict[str, Any] = {
        "count": len(accesses),
        "first": accesses[0].when,
        "last": accesses[-1].when,
    }
    return {**summary, "why": reasons} if reasons else summary
