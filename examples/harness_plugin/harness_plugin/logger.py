"""A logger that appends lines of JSON to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.loggers.base import LoggedRun, record_values
from harness.store.records import RunRecord


class LineLogger:
    """Lines with a run id, an event and its values, in ``lines.jsonl``.

    Args:
        folder: folder of the logger; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "lines.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, run: LoggedRun) -> None:
        """Begin a run."""
        self._write(run, "start", {"title": run.title})

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values of an epoch."""
        self._write(run, "epoch", {"epoch": epoch, **values})

    def end(self, run: LoggedRun, status: str, record: RunRecord | None) -> None:
        """End a run."""
        self._write(run, status, record_values(record) if record else {})

    def close(self) -> None:
        """Do nothing: every line is written at once."""

    def _write(self, run: LoggedRun, event: str, values: Mapping[str, Any]) -> None:
        line = {"run": run.run_id, "event": event, **values}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
