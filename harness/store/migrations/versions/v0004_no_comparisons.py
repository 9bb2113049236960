"""Paired tests are no results: they follow from the ranks, and are cached in files."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("comparisons")
