"""A metric as features go missing or wrong: a table and a figure of curves.

The robustness of a curve m(x), x the amount of corruption from 0 to X, is the mean of m along it,
the area below it over X, by trapezoids: the "relative robustness" of MultiBench (Liang et al. 2021)
over the width, so that it has the unit of m. Divided by m(0) it is the share that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.analysis.query import parse_metric
from harness.analysis.results import RowResult, SuiteResults
from harness.analysis.statistics import SeedSummary, summarise
from harness.evaluation.metrics import METRICS
from harness.plan.spec import RunSpec
from harness.report.definition import Condition, RobustnessDefinition
from harness.report.figure import Figure, seeds_text, sentences
from harness.report.leak_notes import titled_leak_notes
from harness.report.table import Column, Table, TableCell, TableRow
from harness.report.tables.sweep import value_text
from harness.store.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["Curve", "Panel", "Robustness", "area", "weight_key"]

SUMMARIES = ("mean", "kept", "change")
WEIGHTS = "Mean weight (%)"
ADDED = "reads no features: one run for all amounts"

Points = Mapping[float, Mapping[int, float]]
"""Amount -> seed -> value, in the printed unit."""


def weight_key(modality: str) -> str:
    """Return the name of a modality's mean weight among a run's diagnostics."""
    return f"omega_b/{modality}"


def area(points: Mapping[float, float]) -> float:
    """Return the mean of a curve: the area by trapezoids over the width; at least two points."""
    xs = sorted(points)
    integral = sum((b - a) * (points[a] + points[b]) / 2 for a, b in pairwise(xs))
    return integral / (xs[-1] - xs[0])


@dataclass(frozen=True)
class Curve:
    """One row of the suite under one condition on one dataset.

    Attributes:
        label: of the row, without the variation.
        runs: amount -> seed -> run.
        planned: seeds that the suite asks for.
        fixed: the row reads no features, so that one point stands for all amounts.
    """

    label: str
    runs: Mapping[float, Mapping[int, RunRecord]]
    planned: int
    fixed: bool

    def at(self, amount: float) -> Mapping[int, RunRecord]:
        """Return the runs of one amount, by seed."""
        return self.runs.get(0.0 if self.fixed else amount, {})


@dataclass(frozen=True)
class Panel:
    """One condition on one dataset.

    Attributes:
        dataset, dataset_title: which.
        condition: which.
        amounts: ascending, 0 (intact) first.
        curves: in the order of the suite.
    """

    dataset: str
    dataset_title: str
    condition: Condition
    amounts: tuple[float, ...]
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Of the part of the table."""
        return f"{self.dataset_title}: {self.condition.title}"


@dataclass(frozen=True)
class Robustness(Figure):
    """A suite's runs by condition and amount.

    Attributes:
        definition: metric, conditions and weights.
        results: stored results of the suite on the datasets shown.
    """

    definition: RobustnessDefinition
    results: SuiteResults

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page."""
        return self.definition.width == "page"

    @property
    def legend(self) -> str:
        """Caption: datasets, seeds, intervals, and the rows that are left out."""
        return sentences(self._legend())

    def _legend(self) -> Iterator[str]:
        lines = [(panel, curve) for panel in self.drawn for curve in self.lines(panel)]
        counts = [s.n for panel, curve in lines for s in self.summaries(panel, curve).values()]
        titles = dict.fromkeys(panel.dataset_title for panel in self.drawn)
        if len(titles) == 1:
            yield next(iter(titles))
        yield f"means over {seeds_text(counts)}; bars: 95 % intervals of the means (Student's t)"
        if any(curve.fixed for _, curve in lines):
            yield "dotted: reads no features"
        shown = {curve.label for _, curve in lines}
        labels = dict.fromkeys(curve.label for panel in self.panels for curve in panel.curves)
        if left_out := [label for label in labels if label not in shown]:
            yield f"not drawn, since measured at one amount only: {', '.join(left_out)}"

    @property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when a curve has two points."""
        return "" if self.drawn else self._missing

    @cached_property
    def drawn(self) -> tuple[Panel, ...]:
        """Panels with a row that was measured at two amounts."""
        return tuple(panel for panel in self.panels if any(not c.fixed for c in self.lines(panel)))

    def lines(self, panel: Panel) -> list[Curve]:
        """Return the curves of a panel with two points, and those that are the same everywhere."""
        return [curve for curve in panel.curves if len(self.summaries(panel, curve)) > 1]

    def summaries(self, panel: Panel, curve: Curve) -> dict[float, SeedSummary]:
        """Return the metric over seeds at the amounts that a curve has a value for."""
        values = {x: list(self.values(curve, x).values()) for x in panel.amounts}
        return {x: summarise(by_seed) for x, by_seed in values.items() if by_seed}

    @property
    def _missing(self) -> str:
        return f"not run: `{self.results.command}`"

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """Conditions that the suite has on each dataset, dataset by dataset."""
        titles = {spec.name: spec.title for spec in self.definition.datasets}
        panels = []
        for dataset in self._datasets():
            rows = _rows([r for r in self.results.results if r.dataset == dataset])
            for condition in self.definition.conditions:
                curves = tuple(_curve(label, of, condition) for label, of in rows.items())
                amounts = sorted({x for curve in curves for x in curve.runs})
                if len(amounts) > 1:
                    title = titles.get(dataset) or dataset
                    panels.append(Panel(dataset, title, condition, tuple(amounts), curves))
        return tuple(panels)

    def _datasets(self) -> list[str]:
        listed = [spec.name for spec in self.definition.datasets]
        stored = self.results.datasets
        return [*(d for d in listed if d in stored), *(d for d in stored if d not in listed)]

    def values(self, curve: Curve, amount: float) -> dict[int, float]:
        """Return the metric of one point by seed, in the printed unit."""
        key = parse_metric(self.definition.metric)
        factor = METRICS[key.metric].factor
        by_seed = {
            seed: run.metric(key.metric, key.split, bucket=key.bucket)
            for seed, run in curve.at(amount).items()
        }
        return {seed: value * factor for seed, value in by_seed.items() if value is not None}

    def draw(self) -> Picture:
        """Draw a panel per dataset and condition."""
        from harness.report.pictures.curves import curves

        return curves(self)

    # --- as a table -----------------------------------------------------------------------

    @cached_property
    def table(self) -> Table:
        """The table: a part for each panel, a column for each amount, and the summaries."""
        columns = [column for panel in self.panels for column in _columns(panel, self.definition)]
        notes = [*self._notes(), *self.definition.footnotes]
        return Table(
            name=self.definition.name,
            title=self.definition.title,
            columns=tuple(columns),
            rows=tuple(self._table_rows()),
            notes=tuple(notes),
            row_title="Row",
        )

    def _table_rows(self) -> Iterator[TableRow]:
        labels = dict.fromkeys(curve.label for panel in self.panels for curve in panel.curves)
        metric = METRICS[parse_metric(self.definition.metric).metric].title
        for label in labels:
            yield self._row(label, label, f"{metric} (%)", self.values)
        for label in labels:
            for modality in self.definition.weights:
                row = self._row(f"{label}: {modality}", label, WEIGHTS, _weights_of(modality))
                if any(cell.value is not None for cell in row.cells):
                    yield row

    def _row(
        self,
        title: str,
        label: str,
        group: str,
        read: Callable[[Curve, float], Mapping[int, float]],
    ) -> TableRow:
        cells: list[TableCell] = []
        fixed = False
        for panel in self.panels:
            curve = next((c for c in panel.curves if c.label == label), None)
            points = {x: read(curve, x) for x in panel.amounts} if curve else {}
            fixed |= curve is not None and curve.fixed
            cells += [self._cell(curve, points.get(x, {}), [x]) for x in panel.amounts]
            summaries = _summaries(points)
            if group == WEIGHTS:
                summaries[SUMMARIES.index("kept")] = {}  # a share of a share says nothing
            cells += [self._cell(curve, v, panel.amounts) for v in summaries]
        return TableRow(title, tuple(cells), group=group, notes=(ADDED,) if fixed else ())

    def _cell(
        self, curve: Curve | None, values: Mapping[int, float], amounts: Sequence[float]
    ) -> TableCell:
        if curve is None or not values:
            complete = curve is not None and all(curve.at(x) for x in amounts)
            return TableCell(reason="has no such figure" if complete else self._missing)
        summary = summarise(list(values.values()))
        runs = dict.fromkeys(curve.at(x)[seed].run_id for x in amounts for seed in values)
        incomplete = len(values) < curve.planned
        return TableCell.of(
            summary,
            planned=curve.planned,
            features=next(iter(curve.at(amounts[0]).values())).features,
            notes=(f"{len(values)} of {curve.planned} seeds",) if incomplete else (),
            runs=tuple(runs),
        )

    def _notes(self) -> Iterator[str]:
        if self.results.records:
            seeds = ", ".join(str(s) for s in sorted({r.seed for r in self.results.records}))
            yield f"Test split; mean ± standard deviation over seeds ({seeds})."
            yield f"Protocol: {self.results.protocol}."
        for dataset, title in {panel.dataset: panel.dataset_title for panel in self.panels}.items():
            yield from titled_leak_notes(dataset, title, self.results.results)
        conditions = {panel.condition for panel in self.panels}
        absent = [c.title for c in self.definition.conditions if c not in conditions]
        if self.panels and absent:
            yield f"No two amounts were run of: {', '.join(absent)} (`{self.results.command}`)."
        yield (
            "mean: of the curve, the area below it (trapezoids) over the range of amounts; kept: "
            "mean / intact, percent; change: largest amount minus intact. All by seed."
        )


def _rows(results: Sequence[RowResult]) -> dict[str, list[RowResult]]:
    """Return a dataset's results by row; the variation stands behind the last comma."""
    by_row: dict[str, list[RowResult]] = {}
    for result in results:
        by_row.setdefault(result.label.rpartition(", ")[0] or result.label, []).append(result)
    return by_row


def _curve(label: str, results: Sequence[RowResult], condition: Condition) -> Curve:
    records = [record for result in results for record in result.records]
    runs: dict[float, dict[int, RunRecord]] = {}
    for record in records:
        amount = _amount(record.spec, condition)
        if amount is not None and record.status == "ok":
            runs.setdefault(amount, {})[record.seed] = record
    planned = max((len(result.planned) for result in results), default=0)
    fixed = bool(records) and all(record.features == "none" for record in records)
    return Curve(label, dict(sorted(runs.items())), planned, fixed)


def _amount(spec: RunSpec, condition: Condition) -> float | None:
    """Return how much of a condition a run has, None when it has something else."""
    if not spec.data.corrupt:
        return 0.0
    if len(spec.data.corrupt) > 1:
        return None
    (corruption,) = spec.data.corrupt
    matches = (corruption.kind, corruption.at) == (condition.kind, condition.at)
    return corruption.amount if matches else None


def _weights_of(modality: str) -> Callable[[Curve, float], Mapping[int, float]]:
    """Return a function that reads the mean weights of a modality, in percent."""
    key = weight_key(modality)

    def read(curve: Curve, amount: float) -> dict[int, float]:
        runs = curve.at(amount)
        return {s: 100 * r.diagnostics[key] for s, r in runs.items() if key in r.diagnostics}

    return read


def _summaries(points: Points) -> list[Mapping[int, float]]:
    """Return mean, kept and change by seed, of the seeds that have every amount."""
    if len(points) < 2:
        return [{} for _ in SUMMARIES]
    amounts = sorted(points)
    seeds = set.intersection(*(set(points[x]) for x in amounts))
    means = {s: area({x: points[x][s] for x in amounts}) for s in sorted(seeds)}
    first, last = points[amounts[0]], points[amounts[-1]]
    shares = {s: 100 * mean / first[s] for s, mean in means.items() if first[s]}
    return [means, shares, {s: last[s] - first[s] for s in means}]


def _columns(panel: Panel, definition: RobustnessDefinition) -> Iterator[Column]:
    key = parse_metric(definition.metric)
    column = Column(
        dataset=panel.dataset,
        dataset_title=panel.title,
        metric=key.metric,
        bucket=key.bucket,
        title="",
        higher_is_better=None,
    )
    for amount in panel.amounts:
        title = value_text(amount) if amount else "intact"
        yield replace(column, title=title, metric=f"{key.metric} at {title}")
    for name in SUMMARIES:
        decimals = 1 if name == "kept" else 2
        yield replace(column, title=name, metric=f"{key.metric} {name}", decimals=decimals)
