"""Records as rows of tables, and back: no SQL, so that it reads as a list of what goes where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from harness.errors import StoreError
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample
from harness.store.records import MetricValue, RunRecord, TimingSample

__all__ = [
    "COLUMNS",
    "OWN",
    "benchmark_of",
    "benchmark_rows",
    "first_problem",
    "record_of",
    "rows_of",
]

OWN = tuple(
    name
    for name in RunRecord.model_fields
    if name not in {"metrics", "history", "timings", "diagnostics", "notes", "cells"}
)
"""Fields of a record that the table ``runs`` holds; the others have tables of their own."""

COLUMNS: Mapping[str, Sequence[str]] = {
    "metrics": tuple(MetricValue.model_fields),
    "history": ("numbers",),
    "timings": tuple(TimingSample.model_fields),
    "diagnostics": ("name", "value"),
    "notes": ("text",),
}
"""Columns of those tables that hold a record's values."""


def rows_of(record: RunRecord) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a record by table name, ``runs`` first."""
    run = {"run_id": record.run_id}
    columns = {name: getattr(record, name) for name in OWN}
    columns["spec"] = record.written_spec
    columns["modalities"] = list(record.modalities)
    columns["created"] = datetime.now(UTC).replace(tzinfo=None)
    protocols = _protocols(record)
    return {
        "runs": [columns],
        "metrics": [
            {**run, "position": i, "protocol": protocols[m.split], **m.model_dump()}
            for i, m in enumerate(record.metrics)
        ],
        "history": [
            {**run, "position": i, "numbers": json.dumps(numbers, separators=(",", ":"))}
            for i, numbers in enumerate(record.history)
        ],
        "timings": [{**run, "position": i, **t.model_dump()} for i, t in enumerate(record.timings)],
        "diagnostics": [
            {**run, "name": name, "value": value} for name, value in record.diagnostics.items()
        ],
        "notes": [{**run, "position": i, "text": text} for i, text in enumerate(record.notes)],
    }


def _protocols(record: RunRecord) -> dict[str, str]:
    """Return how each split was ranked."""
    return {"test": record.protocol, "valid": record.spec.protocol.key_of("valid")}


def record_of(run: Mapping[str, Any], rows: Mapping[str, Sequence[Sequence[Any]]]) -> RunRecord:
    """Return the record whose rows these are.

    Args:
        run: columns of ``runs``; a field that is absent has its default.
        rows: by name of another table its rows in order, with the columns that ``COLUMNS`` names.

    Raises:
        ValueError: a value is not valid (the database was edited, or the disk fails); the message
            names it in one line.
    """
    values = {name: run[name] for name in OWN if name in run}
    for table in ("metrics", "timings"):
        values[table] = [dict(zip(COLUMNS[table], row, strict=True)) for row in rows[table]]
    try:
        return RunRecord(
            **values,
            history=_epochs([numbers for (numbers,) in rows["history"]]),
            diagnostics={name: value for name, value in rows["diagnostics"]},  # noqa: C416
            notes=[text for (text,) in rows["notes"]],
        )
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def _epochs(numbers: Sequence[str]) -> Any:
    """Return the history; parsed at once, for a run has hundreds of epochs."""
    try:
        return from_json(f"[{','.join(numbers)}]")
    except (TypeError, ValueError) as error:  # TypeError: no text at all
        raise ValueError(f"history: not JSON: {error}") from None


def benchmark_rows(record: BenchmarkRecord) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a measurement by table name, ``benchmarks`` first."""
    columns = record.model_dump(mode="json", exclude={"samples"})
    columns["created"] = datetime.now(UTC).replace(tzinfo=None)
    key = {"benchmark_id": record.benchmark_id}
    samples = [
        {**key, "position": i, **sample.model_dump(mode="json")}
        for i, sample in enumerate(record.samples)
    ]
    return {"benchmarks": [columns], "benchmark_samples": samples}


def benchmark_of(
    columns: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> BenchmarkRecord:
    """Return the measurement whose rows these are.

    Args:
        columns: the row of ``benchmarks``.
        samples: its rows of ``benchmark_samples``, in order of position.

    Raises:
        StoreError: a value is not valid (the database was edited).
    """
    fields = [name for name in BenchmarkRecord.model_fields if name != "samples"]
    try:
        return BenchmarkRecord(
            **{name: columns[name] for name in fields},
            samples=[{k: row[k] for k in BenchmarkSample.model_fields} for row in samples],
        )
    except ValidationError as error:
        raise StoreError(
            f"benchmark {columns['benchmark_id']}: the stored record is damaged: "
            f"{first_problem(error)}"
        ) from None


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as ``key: what is wrong``."""
    problem = error.errors()[0]
    keys = (*problem["loc"], *problem.get("ctx", {}).get("path", ()))
    path = ".".join(_printable(str(key)) for key in keys)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _printable(key: str) -> str:
    """Return a key that a file may hold as it can be printed."""
    short = key if len(key) <= 60 else f"{key[:57]}..."
    return short if short.isprintable() else ascii(short)
