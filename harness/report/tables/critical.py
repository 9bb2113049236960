"""Mean ranks of rows over datasets, and the groups that a test cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis.hypotheses import ALPHA
from harness.plan.suite import suite_argument
from harness.report.figure import Figure, seeds_text, sentences
from harness.report.row_definitions import CriticalDifferenceDefinition
from harness.report.table import Column, Table, TableCell, TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from harness.analysis.friedman import RankComparison

__all__ = ["CriticalDifference"]

MOST_IN_COLUMN = 12
"""Rows whose names stand in a column."""
LEAST_ROWS = 3


@dataclass(frozen=True)
class CriticalDifference(Figure):
    """Rows of a suite ranked on each dataset.

    Attributes:
        definition: metric and test.
        data: the metric of each row on each dataset.
    """

    definition: CriticalDifferenceDefinition
    data: Table

    @cached_property
    def rows(self) -> tuple[TableRow, ...]:
        """Rows with a value on every dataset: only they can be ranked."""
        return tuple(r for r in self.data.rows if all(c.value is not None for c in r.cells))

    @cached_property
    def comparison(self) -> RankComparison:
        """The comparison of the rows."""
        import numpy as np  # other reports do without it

        from harness.analysis.friedman import compare_ranks

        assert not self.why_empty
        values = np.array([[cell.value for cell in row.cells] for row in self.rows], dtype=float).T
        sign = 1 if self.data.columns[0].higher_is_better else -1
        return compare_ranks(sign * values, self.definition.test)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the ranked rows."""
        return tuple(row.label for row in self.rows)

    @cached_property
    def table(self) -> Table:
        """The values, and the mean rank of each row where they can be ranked."""
        if self.why_empty:
            return self.data
        column = Column(
            dataset="ranks",
            dataset_title="Over datasets",
            metric="rank",
            bucket="all",
            title="Mean rank",
            higher_is_better=False,
            split="",
        )
        ranks = dict(zip(self.labels, self.comparison.mean_ranks, strict=True))
        rows = [
            replace(row, cells=(*row.cells, self._rank(row, ranks.get(row.label))))
            for row in self.data.rows
        ]
        return replace(
            self.data,
            columns=(*self.data.columns, column),
            rows=tuple(rows),
            notes=(*self.data.notes, *self._notes()),
        )

    def _rank(self, row: TableRow, rank: float | None) -> TableCell:
        if rank is None:
            return TableCell(reason="not ranked: it has no value on some dataset")
        runs = tuple(run for cell in row.cells for run in cell.runs)
        return TableCell(value=rank, n=len(row.cells), planned=len(row.cells), runs=runs)

    def _notes(self) -> Iterator[str]:
        comparison = self.comparison
        yield (
            "Friedman's test with Iman and Davenport's correction: F = "
            f"{comparison.statistic:.2f}, p = {comparison.p:.2g} over "
            f"{len(self.data.columns)} datasets."
        )

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page: as defined, or for many rows."""
        return self.definition.width == "page" or len(self.rows) > MOST_IN_COLUMN

    @property
    def legend(self) -> str:
        """Caption: tests, seeds, and the rows that are not ranked."""
        return sentences(self._legend())

    def _legend(self) -> Iterator[str]:
        comparison = self.comparison
        counts = [cell.n for row in self.rows for cell in row.cells]
        yield (
            f"mean ranks by {self.data.columns[0].title} over {len(self.data.columns)} datasets, 1 "
            f"is best; values are means over {seeds_text(counts)}"
        )
        test = {
            "nemenyi": "Nemenyi's test after Friedman's (Demsar 2006)",
            "wilcoxon": "Wilcoxon's signed ranks with Holm's correction after Friedman's test "
            "(Benavoli et al. 2016)",
        }[self.definition.test]
        yield f"bars join rows that are not told apart at p < {ALPHA:g}: {test}"
        if comparison.p >= ALPHA:
            yield f"Friedman's test rejects nothing (p = {comparison.p:.2g}), so no pair is tested"
        if left_out := [row.label for row in self.data.rows if row.label not in self.labels]:
            yield f"not ranked, without a value on some dataset: {', '.join(left_out)}"

    @cached_property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when there are enough rows and datasets."""
        datasets = [column.dataset_title for column in self.data.columns]
        rows, suite = len(self.rows), self.definition.suite
        if rows < LEAST_ROWS:
            return (
                f"{rows} rows of suite '{suite}' have a value on all of {len(datasets)} datasets "
                f"({', '.join(datasets) or 'none'}), at least {LEAST_ROWS} are ranked; "
                f"`harness run {suite_argument(suite)}` runs the others, `datasets` leaves some "
                "out, and `harness compare` compares two rows"
            )
        from harness.analysis.friedman import minimum_datasets

        least = minimum_datasets(rows, self.definition.test)
        if len(datasets) < least:
            return (
                f"{len(datasets)} datasets ({', '.join(datasets)}) are too few for {rows} rows: "
                f"{self.definition.test} needs at least {least}; `harness compare` compares rows "
                "on one dataset"
            )
        return ""

    def draw(self) -> Picture:
        """Draw the mean ranks on one axis."""
        from harness.report.pictures.critical import critical_difference

        return critical_difference(self)
