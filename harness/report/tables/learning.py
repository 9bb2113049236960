"""Validation MRR while training: by epoch and by second, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from harness.analysis.costs import Validation, validations
from harness.analysis.results import RowResult, SuiteResults
from harness.analysis.statistics import summarise
from harness.errors import ConfigError, suggest
from harness.report.definition import DatasetSpec
from harness.report.figure import Figure, seeds_text, sentences
from harness.report.row_definitions import LearningDefinition
from harness.report.table import Column, Table, TableCell, TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["MOST_LINES", "Learning", "LearningPoint", "LearningRow"]

MOST_LINES = 7
"""Lines that can be told apart."""


@dataclass(frozen=True)
class LearningPoint:
    """A validation over the seeds of a row.

    Attributes:
        epoch: number of epochs done.
        seconds: mean time since the start, validations included; None when it is not known.
        mrr: validation MRR of each seed in percent.
    """

    epoch: int
    seconds: float | None
    mrr: tuple[float, ...]


@dataclass(frozen=True)
class LearningRow:
    """A row on a dataset: validations that all of its seeds reached, with the runs behind them."""

    label: str
    points: tuple[LearningPoint, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Learning(Figure):
    """Rows of a suite while they learn.

    Attributes:
        definition: rows and axes.
        results: results of the suite with the history of every run.
        datasets: titles and notes of datasets.
        labels: title of each row by its label in lower case, in the order of the rows.
    """

    definition: LearningDefinition
    results: SuiteResults
    datasets: tuple[DatasetSpec, ...]
    labels: dict[str, str]

    @cached_property
    def panels(self) -> dict[str, tuple[LearningRow, ...]]:
        """Rows with at least two validations, by dataset.

        Raises:
            ConfigError: a row does not exist, or there are more than can be told apart.
        """
        panels = {}
        for dataset in self.results.datasets:
            rows = [_row(r, self.labels.get(r.label.lower(), r.label)) for r in self._rows(dataset)]
            if drawn := tuple(row for row in rows if len(row.points) > 1):
                panels[dataset] = drawn
        most = max((len(rows) for rows in panels.values()), default=0)
        if most > MOST_LINES:
            raise ConfigError(
                f"figure '{self.definition.name}': {most} rows, and {MOST_LINES} lines can be told "
                "apart; name some with the key rows"
            )
        return panels

    def _rows(self, dataset: str) -> list[RowResult]:
        of_dataset = [r for r in self.results.results if r.dataset == dataset]
        if not self.definition.rows:
            return of_dataset
        by_label = {label.lower(): r for r in of_dataset for label in (r.label, self._title(r))}
        known_labels = {
            label.lower() for r in self.results.results for label in (r.label, self._title(r))
        }
        known_labels |= {label.lower() for row in self.labels.items() for label in row}
        for label in self.definition.rows:
            if known_labels and label.lower() not in known_labels:
                near = suggest(label, self.results.labels)
                raise ConfigError(f"figure '{self.definition.name}': rows: no row '{label}'{near}")
        return [by_label[x.lower()] for x in self.definition.rows if x.lower() in by_label]

    def _title(self, result: RowResult) -> str:
        return self.labels.get(result.label.lower(), result.label)

    def dataset_title(self, dataset: str) -> str:
        """Return the printed name of a dataset."""
        titles = {spec.name.lower(): spec.title for spec in self.datasets}
        return titles.get(dataset.lower()) or dataset

    @cached_property
    def order(self) -> dict[str, int]:
        """Position of each row in the legend."""
        labels = dict.fromkeys(row.label for rows in self.panels.values() for row in rows)
        return {label: position for position, label in enumerate(labels)}

    # --- as a table -----------------------------------------------------------------------

    @cached_property
    def table(self) -> Table:
        """The data: a line per row and epoch, validation MRR and seconds on each dataset."""
        keys = dict.fromkeys(
            (row.label, point.epoch)
            for rows in self.panels.values()
            for row in rows
            for point in row.points
        )
        ordered = sorted(keys, key=lambda key: (self.order[key[0]], key[1]))
        return Table(
            name=self.definition.name,
            title=self.definition.title,
            columns=tuple(self._columns()),
            rows=tuple(
                TableRow(str(epoch), tuple(self._cells(label, epoch)), group=label)
                for label, epoch in ordered
            ),
            notes=(
                "Validation MRR, mean ± standard deviation over seeds, after epochs that all seeds "
                "of a row reached; s: wall time since the start of training, validations included, "
                "mean over seeds.",
                *([f"Protocol: {self.results.protocol}."] if self.results.protocol else []),
                *(f"{spec.title or spec.name}: {spec.note}" for spec in self.datasets if spec.note),
                *self.definition.footnotes,
            ),
            row_title="Epoch",
        )

    def _columns(self) -> Iterator[Column]:
        for dataset in self.panels:
            fields = {"dataset": dataset, "dataset_title": self.dataset_title(dataset)}
            yield Column.of_metric("mrr", split="valid", **fields)
            yield Column(
                metric="seconds",
                bucket="all",
                title="s",
                higher_is_better=None,
                split="",
                decimals=1,
                **fields,
            )

    def _cells(self, label: str, epoch: int) -> Iterator[TableCell]:
        for rows in self.panels.values():
            at_epoch = [
                (r, p) for r in rows for p in r.points if (r.label, p.epoch) == (label, epoch)
            ]
            if not at_epoch:
                yield from [TableCell(reason="not validated after this epoch")] * 2
                continue
            row, point = at_epoch[0]
            n = len(point.mrr)
            yield TableCell.of(summarise(point.mrr), planned=n, runs=row.runs)
            yield (
                TableCell(reason="the time of its epochs is not known")
                if point.seconds is None
                else TableCell(value=point.seconds, n=n, planned=n, runs=row.runs)
            )

    # --- caption and picture ----------------------------------------------------------------

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page."""
        return self.definition.width == "page"

    @property
    def legend(self) -> str:
        """Caption: datasets, seeds, bands, and the rows without validations."""
        return sentences(self._legend())

    def _legend(self) -> Iterator[str]:
        rows = [row for panel in self.panels.values() for row in panel]
        if len(self.panels) == 1:
            yield self.dataset_title(next(iter(self.panels)))
        counts = [len(point.mrr) for row in rows for point in row.points]
        yield f"validation MRR, means over {seeds_text(counts)}"
        if max(counts) > 1:
            yield "bands: least to greatest of the seeds"
        if "seconds" in self.definition.against:
            yield "wall time, validations included"
        labels = self.definition.rows or [self._title(r) for r in self.results.results if r.records]
        drawn = {name.lower() for row in rows for name in (row.label,)}
        if left_out := [name for name in dict.fromkeys(labels) if name.lower() not in drawn]:
            yield f"not drawn, with fewer than two validations: {', '.join(left_out)}"

    @cached_property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when a row has two validations."""
        if self.panels:
            return ""
        return f"no row has two validations: `{self.results.command}` makes some"

    def draw(self) -> Picture:
        """Draw a row of panels per dataset."""
        from harness.report.pictures.learning import learning

        return learning(self)


def _row(result: RowResult, label: str) -> LearningRow:
    """Return the validations that all runs of a row have."""
    histories = [of_run for record in result.records if (of_run := validations(record))]
    runs = tuple(record.run_id for record in result.records if validations(record))
    shared = set.intersection(*(set(h) for h in histories)) if histories else set[int]()
    points = [_point(epoch, [history[epoch] for history in histories]) for epoch in sorted(shared)]
    return LearningRow(label, tuple(points), runs)


def _point(epoch: int, of_seeds: Sequence[Validation]) -> LearningPoint:
    seconds = [v.seconds for v in of_seeds if v.seconds is not None]
    mean = fmean(seconds) if len(seconds) == len(of_seeds) else None
    return LearningPoint(epoch, mean, tuple(100 * v.mrr for v in of_seeds))
