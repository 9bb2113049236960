"""Run by Alembic: apply migrations on the connection that ``migrations.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from harness.store.migrations import VERSION_TABLE
from harness.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # SQLite cannot alter a column: Alembic copies the table instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
