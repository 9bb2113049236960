"""Paired tests between the rows of tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("table_name", sa.String(400), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("family", sa.String(64), nullable=False),
        sa.Column("first", sa.Text, nullable=False),
        sa.Column("second", sa.Text, nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("bucket", sa.String(64), nullable=False),
        sa.Column("triples", sa.Integer, nullable=False),
        sa.Column("difference", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("p", sa.Double, nullable=False),
        sa.Column("adjusted", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
