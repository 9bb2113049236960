"""The table of the datasets: published statistics beside those of the files.

Each dataset has a row per stage; a further stage (after cleaning, say) is a further entry of
``STAGES``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.data import folders, verify
from harness.data.card import DatasetSource
from harness.data.graph import KnowledgeGraph
from harness.data.load import source
from harness.errors import MissingDataError
from harness.report.definition import STATISTICS, DatasetsDefinition, Published
from harness.report.table import Column, Table, TableCell, TableRow

__all__ = ["datasets_table"]

SIZES = "Sizes"
COVERAGE = "Entities with"


def datasets_table(
    definition: DatasetsDefinition, published: Published, selected: Sequence[str] = ()
) -> Table:
    """Return the table of statistics.

    Args:
        definition: which datasets and statistics.
        published: the paper's statistics.
        selected: datasets to show, by name, alias or title; all of the definition when empty.

    Raises:
        ConfigError: there is no such dataset.
        DataError: a file of a dataset is wrong.
    """
    names = [source(name).card.name for name in (selected or definition.datasets)]
    stages = [_Dataset(source(name), published) for name in dict.fromkeys(names)]
    return Table(
        name=definition.name,
        title=definition.title,
        columns=tuple(map(_column, definition.statistics)),
        rows=tuple(row for dataset in stages for row in dataset.rows(definition.statistics)),
        notes=tuple(_notes(stages, published, definition.footnotes)),
        row_title="Dataset",
    )


@dataclass(frozen=True)
class _Dataset:
    """A dataset and its published statistics."""

    source: DatasetSource
    paper: Published

    def rows(self, statistics: Sequence[str]) -> Iterator[TableRow]:
        for stage, count in STAGES:
            cells = tuple(count(self, statistic) for statistic in statistics)
            yield TableRow(stage, cells, group=self.source.card.title)

    def published(self, statistic: str) -> TableCell:
        value = getattr(self.paper.statistics.rows.get(self.source.card.name), statistic, None)
        return TableCell(value=value, reason="" if value is not None else "none printed")

    def counted(self, statistic: str) -> TableCell:
        published, value = self.published(statistic), self.counts.get(statistic)
        if value is None:
            return TableCell(reason=self.why_absent(published))
        differs = published.value not in (None, value)
        return TableCell(value=value, notes=("differs from what is published",) * differs)

    @cached_property
    def graph(self) -> KnowledgeGraph | None:
        """Graph of the files, None when they are not on this machine."""
        card = self.source.card
        return self.source.graph() if not card.files or folders.find(card) else None

    @cached_property
    def coverage(self) -> Mapping[str, int]:
        """Entities with each modality, {} without features."""
        if self.graph is None:
            return {}
        try:
            return verify.coverage(self.source, self.graph)[1]
        except MissingDataError:
            return {}

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Sizes of the graph and entities with each modality, as far as they are here."""
        if self.graph is None:
            return {}
        n_named = sum(map(bool, self.graph.entity_names))
        return {**verify.sizes(self.graph), "name": n_named, **self.coverage}

    def why_absent(self, published: TableCell) -> str:
        if self.graph is None:
            return f"not on this machine: `harness data fetch {self.source.card.name}`"
        return published.reason or (
            "the published features are not on this machine; the papers share them by hand"
        )


STAGES = (("published", _Dataset.published), ("in the files", _Dataset.counted))
"""Label of a row, and what finds the value of a statistic."""


def _column(statistic: str) -> Column:
    return Column(
        dataset="sizes" if statistic in STATISTICS[:5] else "coverage",
        dataset_title=SIZES if statistic in STATISTICS[:5] else COVERAGE,
        metric=statistic,
        bucket="all",
        title=statistic.capitalize(),
        higher_is_better=None,
        split="",
        decimals=0,
    )


def _notes(
    datasets: Sequence[_Dataset], published: Published, footnotes: Sequence[str]
) -> Iterator[str]:
    yield f"Published: {published.statistics.caption} of {published.source}."
    for dataset in datasets:
        card = dataset.source.card
        yield from (f"{card.title}: {note}" for note in card.notes)
    yield from footnotes
