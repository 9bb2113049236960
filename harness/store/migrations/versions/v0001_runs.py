"""Runs with their metrics, history, timings, diagnostics and notes; cells of suites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("dataset_digest", sa.String(200), nullable=False),
        sa.Column("features", sa.String(200), nullable=False),
        sa.Column("feature_digest", sa.String(200), nullable=False),
        sa.Column("modalities", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("protocol", sa.String(200), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_index("ix_runs_status_run_id", "runs", ["status", "run_id"])
    op.create_index("ix_runs_model_dataset", "runs", ["model", "dataset"])
    op.create_table(
        "metrics",
        _run_id(),
        sa.Column("split", sa.String(16), primary_key=True),
        sa.Column("protocol", sa.String(200), primary_key=True),
        sa.Column("side", sa.String(16), primary_key=True),
        sa.Column("bucket", sa.String(64), primary_key=True),
        sa.Column("metric", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("queries", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "history",
        _run_id(),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("numbers", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "timings",
        _run_id(),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "diagnostics",
        _run_id(),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notes",
        _run_id(),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cells",
        sa.Column("suite", sa.String(200), primary_key=True),
        sa.Column("variant", sa.String(64), primary_key=True),
        sa.Column("label", sa.String(400), primary_key=True),
        sa.Column("dataset", sa.String(200), primary_key=True),
        sa.Column("features", sa.String(200), primary_key=True),
        sa.Column("seed", sa.BigInteger, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cells_run_id", "cells", ["run_id"])


def _run_id() -> sa.Column[str]:
    return sa.Column(
        "run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True
    )
