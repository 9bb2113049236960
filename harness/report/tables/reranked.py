"""Cells and notes of tables that are made from stored ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.analysis.results import RowResult
from harness.analysis.stored_ranks import Gathered
from harness.data.load import source
from harness.report.leak_notes import titled_leak_notes
from harness.report.table import TableCell

__all__ = ["cell_of", "dataset_title", "leak_notes_of"]


def cell_of(result: RowResult | None, gathered: Gathered) -> TableCell:
    """Return the cell of a row's gathered values."""
    summary = gathered.summary()
    if result is None or summary is None:
        return TableCell(reason="; ".join(gathered.notes) or "not tested")
    return TableCell.of(
        summary,
        planned=len(result.planned),
        features=result.features,
        notes=gathered.notes,
        runs=tuple(gathered.runs),
    )


def dataset_title(dataset: str) -> str:
    """Return the title on a dataset's card."""
    return source(dataset).card.title


def leak_notes_of(datasets: Iterable[str], results: Iterable[RowResult]) -> Iterator[str]:
    """Yield the leaks of the features of the rows, dataset by dataset."""
    rows = tuple(results)
    for dataset in datasets:
        yield from titled_leak_notes(dataset, dataset_title(dataset), rows)
