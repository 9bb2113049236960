"""Values of a suite's rows over datasets, as the figures of rows take them; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import ConfigError, suggest
from harness.report.table import Table

__all__ = ["chosen_rows", "without_empty"]


def chosen_rows(table: Table, labels: Sequence[str], figure: str) -> Table:
    """Return a table with the rows of some labels, in their order; all when none is named.

    Raises:
        ConfigError: there is no such row; the message offers the nearest.
    """
    if not labels:
        return table
    rows = {row.label.lower(): row for row in table.rows}
    for label in labels:
        if label.lower() not in rows:
            near = suggest(label, [row.label for row in table.rows])
            raise ConfigError(f"figure '{figure}': rows: no row '{label}'{near}")
    return replace(table, rows=tuple(rows[label.lower()] for label in labels))


def without_empty(table: Table) -> Table:
    """Return a table without the datasets and rows of which nothing was measured."""
    measured = {
        column.dataset_title
        for i, column in enumerate(table.columns)
        if any(row.cells[i].value is not None for row in table.rows)
    }
    smaller = table.only(
        [i for i, column in enumerate(table.columns) if column.dataset_title in measured]
    )
    rows = [r for r in smaller.rows if any(cell.value is not None for cell in r.cells)]
    return replace(smaller, rows=tuple(rows))
