"""Interface of loggers, and the names under which they log the values of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any, Literal, Protocol

from harness.config.override import dotted
from harness.store.records import RunRecord

__all__ = ["EndStatus", "LoggedRun", "Logger", "epoch_values", "record_texts", "record_values"]

EndStatus = Literal["ok", "validated", "pruned", "failed", "interrupted"]
"""Status of a record, or "interrupted" for a run that can be resumed."""


@dataclass(frozen=True)
class LoggedRun:
    """Identity and settings of a run.

    Attributes:
        run_id: id of the run in the store.
        suite: name of the suite or study; "runs" for runs without one.
        label: label of the row.
        dataset: name of the dataset.
        seed: random seed.
        settings: dotted key -> value, all settings of the run.
    """

    run_id: str
    suite: str
    label: str
    dataset: str
    seed: int
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Label, dataset and seed."""
        return f"{self.label} on {self.dataset}, seed {self.seed}"


class Logger(Protocol):
    """Receives runs as they are executed; several may be in progress at the same time.

    An error of any method stops the logger, never a run. Values and texts of an epoch and a record
    come from ``epoch_values``, ``record_values`` and ``record_texts``.

    A logger may have an attribute ``opened_by``: the command or the address that shows the log,
    which is printed when the logger is opened.
    """

    def start(self, run: LoggedRun) -> None:
        """Begin a run. Replaces what was logged of the same run id in the same suite before:
        all epochs follow again."""
        ...

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values of an epoch.

        Args:
            run: a run that was started.
            epoch: number of the epoch, from 1.
            values: "train/loss", "valid/mrr", ... -> value.
        """
        ...

    def end(self, run: LoggedRun, status: EndStatus, record: RunRecord | None) -> None:
        """End a run.

        Args:
            run: a run that was started.
            status: how it ended.
            record: its record; None if it has none.
        """
        ...

    def close(self) -> None:
        """Write what is still buffered; no call follows."""
        ...


def epoch_values(row: Mapping[str, float]) -> dict[str, float]:
    """Return the values of a row of the history: "valid_mrr" is "valid/mrr", "loss" "train/loss".

    Args:
        row: epoch, loss, seconds, logged shares, and validation metrics with prefix "valid_".
    """
    values = {}
    for key, value in row.items():
        if key.startswith("valid_"):
            values[f"valid/{key.removeprefix('valid_')}"] = float(value)
        elif key != "epoch":
            values[f"train/{key}"] = float(value)
    return values


def record_values(record: RunRecord) -> dict[str, float]:
    """Return the numbers of a record but for its history.

    Returns:
        "test/mrr" for all queries, "test/head/mrr" for a side, "test/cold/mrr" for a subset;
        "best/..." for validation metrics of the selected epoch; "diagnostics/..." and
        "timings/..." (means of the samples, in seconds or bytes).
    """
    values = {}
    for metric in record.metrics:
        segments: list[str] = ["best" if metric.split == "valid" else metric.split]
        segments += [metric.bucket] * (metric.bucket != "all")
        segments += [metric.side] * (metric.side != "both")
        values["/".join([*segments, metric.metric])] = metric.value
    values |= {f"diagnostics/{name}": value for name, value in record.diagnostics.items()}
    samples: dict[str, list[float]] = {}
    for timing in record.timings:
        samples.setdefault(timing.name, []).append(timing.value)
    return values | {f"timings/{name}": mean(sample) for name, sample in samples.items()}


def record_texts(record: RunRecord) -> dict[str, str]:
    """Return the texts of a record: run id, status, data, protocol, "provenance. ...", notes,
    error; empty ones are left out."""
    texts = {
        "run_id": record.run_id,
        "status": record.status,
        "dataset_digest": record.dataset_digest,
        "feature_digest": record.feature_digest,
        "modalities": ", ".join(record.modalities),
        "protocol": record.protocol,
        "notes": "\n".join(record.notes),
        "error": record.error or "",
    }
    texts |= {f"provenance.{key}": str(v) for key, v in dotted(record.provenance).items()}
    return {key: text for key, text in texts.items() if text}
