"""The tables of the result database, as SQLAlchemy maps them.

``migrations/versions/`` builds and changes the tables; a test compares the two, so a change here
needs a migration (``python -m harness.store.migrations MESSAGE``). Only types that SQLite and
PostgreSQL share are used. ``docs/database.md`` explains the tables to people who query them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from harness.config.storable import KEY, LABEL, NAME

__all__ = [
    "Base",
    "Benchmark",
    "BenchmarkSampleRow",
    "CellRow",
    "Diagnostic",
    "Epoch",
    "MetricRow",
    "Note",
    "RunRow",
    "StoredSuiteRow",
    "Timing",
]

ROWS = {"sqlite_with_rowid": False}
"""Rows of a run lie next to each other in the file: SQLite stores them by primary key."""


class Base(DeclarativeBase):
    """Collects the tables."""


class RunRow(Base):
    """One run: a record without what the other tables hold."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_status_run_id", "status", "run_id"),
        Index("ix_runs_model_dataset", "model", "dataset"),
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    """Counts up; runs are listed in this order."""
    run_id: Mapped[str] = mapped_column(String(KEY), unique=True)
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(NAME))
    dataset: Mapped[str] = mapped_column(String(NAME))
    dataset_digest: Mapped[str] = mapped_column(String(NAME))
    features: Mapped[str] = mapped_column(String(NAME))
    feature_digest: Mapped[str] = mapped_column(String(NAME))
    modalities: Mapped[list[str]] = mapped_column(JSON)
    seed: Mapped[int] = mapped_column(BigInteger)
    protocol: Mapped[str] = mapped_column(String(NAME))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    provenance: Mapped[dict[str, Any]] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(DateTime)
    """When the record was stored here, UTC."""


def _run_id() -> Mapped[str]:
    return mapped_column(
        String(KEY), ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True
    )


class MetricRow(Base):
    """One number; a run has each at most once."""

    __tablename__ = "metrics"
    __table_args__ = (ROWS,)

    run_id: Mapped[str] = _run_id()
    split: Mapped[str] = mapped_column(String(16), primary_key=True)
    protocol: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    side: Mapped[str] = mapped_column(String(16), primary_key=True)
    bucket: Mapped[str] = mapped_column(String(KEY), primary_key=True)
    metric: Mapped[str] = mapped_column(String(KEY), primary_key=True)
    position: Mapped[int]
    value: Mapped[float] = mapped_column(Double)
    queries: Mapped[int]


class Epoch(Base):
    """One epoch of a run's history."""

    __tablename__ = "history"
    __table_args__ = (ROWS,)

    run_id: Mapped[str] = _run_id()
    position: Mapped[int] = mapped_column(primary_key=True)
    numbers: Mapped[str] = mapped_column(Text)
    """JSON object. Text, not JSON: 200 rows a run are joined and parsed at once."""


class Timing(Base):
    """One measured duration or size."""

    __tablename__ = "timings"
    __table_args__ = (ROWS,)

    run_id: Mapped[str] = _run_id()
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME))
    value: Mapped[float] = mapped_column(Double)
    unit: Mapped[str] = mapped_column(String(16))


class Diagnostic(Base):
    """One named number of a run that is no metric."""

    __tablename__ = "diagnostics"
    __table_args__ = (ROWS,)

    run_id: Mapped[str] = _run_id()
    name: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    value: Mapped[float] = mapped_column(Double)


class Note(Base):
    """One remark that is printed with a run's figures."""

    __tablename__ = "notes"
    __table_args__ = (ROWS,)

    run_id: Mapped[str] = _run_id()
    position: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class CellRow(Base):
    """A place in a suite; its run may not exist, so there is no foreign key."""

    __tablename__ = "cells"
    __table_args__ = (Index("ix_cells_run_id", "run_id"), ROWS)

    suite: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    variant: Mapped[str] = mapped_column(String(KEY), primary_key=True)
    label: Mapped[str] = mapped_column(String(LABEL), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    features: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    position: Mapped[int]
    run_id: Mapped[str] = mapped_column(String(KEY))
    """"" when no run is planned."""
    reason: Mapped[str] = mapped_column(Text)
    """Why none is planned."""


class StoredSuiteRow(Base):
    """Title and settings of a suite; one that an earlier schema stored has no row."""

    __tablename__ = "suites"
    __table_args__ = (ROWS,)

    suite: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    variant: Mapped[str] = mapped_column(String(KEY), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Settings of ``--set``, of which ``variant`` is the digest: dotted key -> value."""


class Benchmark(Base):
    """One go of a benchmark on one machine, without its samples."""

    __tablename__ = "benchmarks"

    number: Mapped[int] = mapped_column(primary_key=True)
    """Counts up; the newest is the one that is reported."""
    benchmark_id: Mapped[str] = mapped_column(String(KEY), unique=True)
    version: Mapped[int]
    suite: Mapped[str] = mapped_column(String(NAME))
    source: Mapped[str] = mapped_column(String(32))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    provenance: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(DateTime)
    """When it was stored here, UTC."""


class BenchmarkSampleRow(Base):
    """One measurement of a benchmark."""

    __tablename__ = "benchmark_samples"
    __table_args__ = (ROWS,)

    benchmark_id: Mapped[str] = mapped_column(
        String(KEY), ForeignKey("benchmarks.benchmark_id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(String(KEY))
    name: Mapped[str] = mapped_column(String(NAME))
    sizes: Mapped[dict[str, int]] = mapped_column(JSON)
    seconds: Mapped[list[float]] = mapped_column(JSON)
    """One per turn."""
    peak: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes."""
