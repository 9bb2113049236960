"""Records of runs as a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.config.override import dotted
from harness.frames import dataframe
from harness.loggers.base import record_values
from harness.plan.spec import changed_values
from harness.store.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["records_dataframe"]

DESCRIBED = ("run_id", "status", "model", "dataset", "features", "seed")
"""Attributes of a record that are columns; the seed and the names are not repeated as settings."""
REPEATED = {"seed", "model.name", "data.dataset", "data.features"}


def records_dataframe(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return a data frame with a row per run.

    Columns: run_id, status, model, dataset, features, seed; epochs (number trained); the settings
    that differ from the defaults in some run ("training.epochs"; options that a model has by
    default are missing); the values of the records under
    the names that loggers use ("test/mrr", a fraction; "test/cold/mrr"; "best/mrr" for validation;
    "diagnostics/..."; "timings/...", in seconds or bytes).

    Raises:
        ImportError: pandas (extra ``[pandas]``) is not installed.
    """
    listed = list(records)
    changed = {key for record in listed for key in dotted(changed_values(record.spec))}
    rows = []
    for record in listed:
        settings = dotted(record.spec.model_dump(mode="json"))
        rows.append(
            {name: getattr(record, name) for name in DESCRIBED}
            | {"epochs": len(record.history)}
            | {key: settings.get(key) for key in sorted(changed - REPEATED)}
            | record_values(record)
        )
    return dataframe(rows, None if rows else DESCRIBED)
