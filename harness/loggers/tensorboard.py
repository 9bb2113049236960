"""Event files for TensorBoard: a folder per run, scalars, settings as hyperparameters."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from harness.loggers.base import EndStatus, LoggedRun, record_texts, record_values
from harness.store.records import RunRecord

__all__ = ["TensorBoardLogger"]

_SHOWN = ("test/mrr", "test/hits@1", "test/hits@3", "test/hits@10", "best/mrr")
"""Metrics in the table of hyperparameters."""


class TensorBoardLogger:
    """Writes ``FOLDER/SUITE/LABEL-DATASET-seedN-ID/events.out.tfevents...``.

    Args:
        folder: folder for ``tensorboard --logdir``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened_by = f"tensorboard --logdir {shlex.quote(str(folder))}"
        self._writers: dict[str, SummaryWriter] = {}
        self._last: dict[str, int] = {}

    def start(self, run: LoggedRun) -> None:
        """See ``Logger.start``."""
        if (unfinished := self._writers.pop(run.run_id, None)) is not None:
            unfinished.close()
        suite = self.folder / run.suite
        for earlier in suite.glob(f"*-{run.run_id}"):
            shutil.rmtree(earlier)
        name = re.sub(r"[^\w.=+@-]+", "-", f"{run.label}-{run.dataset}-seed{run.seed}")[:100]
        writer = SummaryWriter(str(suite / f"{name}-{run.run_id}"))
        writer.add_text("settings", _table(run.settings))
        self._writers[run.run_id], self._last[run.run_id] = writer, 0

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        """See ``Logger.epoch``."""
        writer = self._writers[run.run_id]
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        self._last[run.run_id] = epoch
        writer.flush()

    def end(self, run: LoggedRun, status: EndStatus, record: RunRecord | None) -> None:
        """See ``Logger.end``."""
        writer, last = self._writers.pop(run.run_id), self._last.pop(run.run_id)
        if record is not None:
            values = record_values(record)
            for name, value in values.items():
                writer.add_scalar(name, value, last)
            writer.add_text("record", _table(record_texts(record)))
            self._add_hyperparameters(writer, run.settings, values)
        writer.add_text("status", status)
        writer.close()

    @staticmethod
    def _add_hyperparameters(
        writer: SummaryWriter, settings: Mapping[str, Any], values: Mapping[str, float]
    ) -> None:
        # SummaryWriter.add_hparams would write a second folder, which the page shows as a run.
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in settings.items()
        }
        shown = {name: values[name] for name in _SHOWN if name in values}
        events = writer._get_file_writer()
        for summary in hparams(plain, shown):
            events.add_summary(summary)

    def close(self) -> None:
        """See ``Logger.close``."""
        for writer in self._writers.values():
            writer.close()


def _table(values: Mapping[str, Any]) -> str:
    """Return a Markdown table of keys and values."""
    rows = [f"| {key} | {_cell(value)} |" for key, value in values.items()]
    return "\n".join(["| key | value |", "| --- | --- |", *rows])


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")
