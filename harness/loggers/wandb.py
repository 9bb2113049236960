"""Runs of Weights & Biases: offline files by default, $WANDB_MODE=online to send them."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from harness.loggers.base import EndStatus, LoggedRun, record_texts, record_values
from harness.store.records import RunRecord

__all__ = ["WandbLogger"]


class WandbLogger:
    """Logs a project per suite ($WANDB_PROJECT: one for all) and a run per run.

    Args:
        folder: folder of the files ``wandb/offline-run-*``, unless $WANDB_DIR names one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.environ.get("WANDB_DIR") or folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mode: Any = os.environ.get("WANDB_MODE", "offline")
        files = f"{shlex.quote(str(self.folder))}/wandb/offline-run-*"
        self.opened_by = f"wandb sync {files}" if self.mode == "offline" else ""
        self._runs: dict[str, Any] = {}

    def start(self, run: LoggedRun) -> None:
        """See ``Logger.start``."""
        if (unfinished := self._runs.pop(run.run_id, None)) is not None:
            unfinished.finish(exit_code=1)
        project = os.environ.get("WANDB_PROJECT") or run.suite
        # Without `resume` a server replaces a run of the same id.
        for earlier in self.folder.glob(f"wandb/offline-run-*-{run.run_id}"):
            shutil.rmtree(earlier)
        logged = wandb.init(
            project=project,
            id=run.run_id,
            name=run.title,
            config=dict(run.settings) | {"label": run.label, "suite": run.suite},
            dir=str(self.folder),
            mode=self.mode,
            reinit="create_new",
            # Nothing that the record lacks: no output, code, packages or use of the machine.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )
        logged.define_metric("epoch")
        logged.define_metric("*", step_metric="epoch")
        self._runs[run.run_id] = logged

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        """See ``Logger.epoch``."""
        self._runs[run.run_id].log({"epoch": epoch, **values})

    def end(self, run: LoggedRun, status: EndStatus, record: RunRecord | None) -> None:
        """See ``Logger.end``."""
        logged = self._runs.pop(run.run_id)
        if record is not None:
            logged.summary.update(record_values(record))
            logged.config.update({"record": record_texts(record)})
        logged.summary["status"] = status
        logged.finish(exit_code=1 if status in ("failed", "interrupted") else 0)

    def close(self) -> None:
        """See ``Logger.close``."""
        for logged in self._runs.values():
            logged.finish(exit_code=1)
