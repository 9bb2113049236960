"""``--table protocols``: the same runs under other rules, and what each rule is worth.

Nothing is trained or scored: rules for ties and sides are applied to stored ranks; other ways to
choose the epoch, and raw ranks, need what ``audit.shadow_test`` stored when the run was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.query import Results
from harness.analysis.ranks import StoredRanks, protocol_of
from harness.analysis.results import RowResult, SuiteResults
from harness.analysis.statistics import paired_change
from harness.analysis.stored_ranks import (
    Gathered,
    GeneralReason,
    gather,
    selected_datasets,
    tested_suite,
)
from harness.errors import DataError
from harness.evaluation import shadow
from harness.evaluation.metrics import METRICS, RANK_METRICS
from harness.evaluation.ranks import Ranks, Ties
from harness.evaluation.ties import expected_hits, expected_reciprocal
from harness.index import Side
from harness.report.table import Column, Table, TableCell, TableRow
from harness.report.tables.reranked import cell_of, dataset_title, leak_notes_of
from harness.report.tables.results import mean_over
from harness.store.records import RunRecord

__all__ = ["RULES", "ProtocolRule", "protocols"]

SHOWN = ("mrr", "hits@1", "hits@10")
OWN = "as reported"
NEEDS = GeneralReason("needs audit.shadow_test: true when the run is trained")
NEEDS_RAW = GeneralReason(f"raw ranks do not follow from filtered ones: {NEEDS}")
UNTRAINED = GeneralReason("the model is not trained: there is no epoch to choose")
UNTRAINED_RAW = GeneralReason(
    "raw ranks do not follow from filtered ones, and untrained models have no audit"
)
ONE_SIDE = GeneralReason("the run predicted one side alone")


@dataclass(frozen=True)
class RankedRun:
    """A tested run and everything that was stored of its ranks.

    Attributes:
        record: its record, without the numbers that no metric needs.
        ranks: of its test.
        epochs: what an audit stored, by epoch.
        validated: epochs that were validated.
        kept_epoch: the epoch whose weights were kept, 0 of a model that is not trained.
    """

    record: RunRecord
    ranks: Ranks
    epochs: Mapping[int, shadow.Shadow]
    validated: Sequence[int]
    kept_epoch: int

    @property
    def ties(self) -> Ties:
        """The run's own rule for equal scores."""
        return protocol_of(self.record).ties


Value = float | str
"""A metric under a rule as a fraction, or the reason why it is not known."""


@dataclass(frozen=True)
class ProtocolRule:
    """A way to make figures of runs.

    Attributes:
        title: as printed.
        explanation: footnote on its effect; "" where the title says it.
        value: returns a metric of a run under it.
    """

    title: str
    value: Callable[[RankedRun, str], Value]
    explanation: str = ""


def metric_of(
    ranks: Ranks, metric: str, ties: Ties, side: Side | Literal["both"] = "both"
) -> float:
    """Return a metric of ranks under a rule for equal scores."""
    return float(RANK_METRICS[metric](*ranks.ranks(ties, side)).mean())


def random_ties(run: RankedRun, metric: str) -> Value:
    """Return the expected value when ties are broken at random."""
    better, tied = (
        np.concatenate([getattr(counts, name) for counts in run.ranks.sides.values()])
        for name in ("better", "tied")
    )
    values: NDArray[np.float64]
    if metric == "mrr":
        values = expected_reciprocal(better, tied)
    else:
        values = expected_hits(better, tied, int(metric.removeprefix("hits@")))
    return float(values.mean())


def one_side(side: Side, run: RankedRun, metric: str) -> Value:
    """Return a metric of the questions of one side."""
    if set(run.ranks.sides) != {"head", "tail"}:
        return ONE_SIDE
    return metric_of(run.ranks, metric, run.ties, side)


def raw(run: RankedRun, metric: str) -> Value:
    """Return a metric with every other entity as a competitor."""
    if not protocol_of(run.record).filter:
        return metric_of(run.ranks, metric, run.ties)
    if run.kept_epoch not in run.epochs:
        return NEEDS_RAW if run.validated else UNTRAINED_RAW
    return metric_of(run.epochs[run.kept_epoch].raw, metric, run.ties)


def _stored(run: RankedRun) -> Mapping[int, shadow.Shadow] | str:
    """Return the test ranks of every validation, or the reason why there are none."""
    if not run.validated:
        return UNTRAINED
    missing = [epoch for epoch in run.validated if epoch not in run.epochs]
    if len(missing) == len(run.validated):
        return NEEDS
    if missing:
        return f"{len(missing)} of {len(run.validated)} validations have no stored ranks"
    return run.epochs


def last_epoch(run: RankedRun, metric: str) -> Value:
    """Return a metric of the last epoch."""
    epochs = _stored(run)
    if isinstance(epochs, str):
        return epochs
    return metric_of(epochs[max(run.validated)].filtered, metric, run.ties)


def best_on_test(run: RankedRun, metric: str) -> Value:
    """Return a metric of the epoch whose test MRR is greatest; of equal ones the first."""
    epochs = _stored(run)
    if isinstance(epochs, str):
        return epochs
    best = max(run.validated, key=lambda e: metric_of(epochs[e].filtered, "mrr", run.ties))
    return metric_of(epochs[best].filtered, metric, run.ties)


def best_per_metric(run: RankedRun, metric: str) -> Value:
    """Return the greatest value that a metric has at any epoch, each metric for itself."""
    epochs = _stored(run)
    if isinstance(epochs, str):
        return epochs
    return max(metric_of(epochs[e].filtered, metric, run.ties) for e in run.validated)


def _ties(ties: Ties) -> ProtocolRule:
    explanations = {
        "optimistic": "ties optimistic: a true answer stands above all that tie with it",
        "pessimistic": "ties pessimistic: it stands below them",
        "realistic": "ties realistic: it stands in their middle",
    }
    return ProtocolRule(
        f"ties {ties}", lambda run, metric: metric_of(run.ranks, metric, ties), explanations[ties]
    )


RULES = (
    ProtocolRule(OWN, lambda run, metric: metric_of(run.ranks, metric, run.ties)),
    *(_ties(ties) for ties in ("optimistic", "pessimistic", "realistic")),
    ProtocolRule("ties random", random_ties, "ties random: expected value, in closed form"),
    ProtocolRule("tail queries alone", partial(one_side, "tail")),
    ProtocolRule("head queries alone", partial(one_side, "head")),
    ProtocolRule("raw ranks", raw, "raw ranks: known answers count as competitors"),
    ProtocolRule("last epoch", last_epoch, "last epoch: validation chooses nothing"),
    ProtocolRule("best epoch on test", best_on_test, "best epoch on test: chosen by the test MRR"),
    ProtocolRule(
        "best epoch per metric",
        best_per_metric,
        "best epoch per metric: every metric at the epoch where it is greatest on test",
    ),
)
"""Rows of each group, the run's own rules first."""


def protocols(results: Results, runs: Path, *, suite: str = "") -> Table:
    """Return a table with a group per row of a suite and a row per rule.

    Args:
        results: stored results.
        runs: the run folders, with the ranks and what audits stored.
        suite: its name; may be left out where one suite alone has tested runs.

    Raises:
        ConfigError: an unknown suite or dataset.
        StoreError: the runs cannot stand in one table.
        DataError: what an audit stored is damaged.
    """
    tested = tested_suite(results, suite, ("mrr",))
    datasets = [
        name
        for name in selected_datasets(tested, results.selection)
        if any(run.dataset == name and run.status == "ok" for run in tested.records)
    ]
    ids = [run.run_id for run in tested.records if run.status == "ok"]
    records = {record.run_id: record for record in results.store.find(ids=ids)}
    builder = _Protocols(tested, StoredRanks(runs), records, datasets)
    return builder.table()


class _Protocols:
    def __init__(
        self,
        results: SuiteResults,
        ranks: StoredRanks,
        records: Mapping[str, RunRecord],
        datasets: Sequence[str],
    ) -> None:
        self.results, self.ranks, self.records, self.datasets = results, ranks, records, datasets
        self.runs: dict[str, RankedRun | str] = {}

    def table(self) -> Table:
        seeds = sorted({record.seed for record in self.records.values()})
        rows = tuple(self.rows())
        titles = {row.label for row in rows}
        return Table(
            name="protocols",
            title=f"The same runs under other rules: suite {self.results.suite}",
            columns=tuple(
                Column.of_metric(metric, dataset=dataset, dataset_title=dataset_title(dataset))
                for dataset in self.datasets
                for metric in SHOWN
            ),
            rows=rows,
            notes=(
                f"Test split; {mean_over(seeds)}. Nothing was trained or scored for this table.",
                f"{OWN}: {self.results.protocol}, {self.kept_epoch()}.",
                *(
                    f"{rule.explanation}."
                    for rule in RULES
                    if rule.explanation and rule.title in titles
                ),
                *leak_notes_of(self.datasets, self.results.results),
            ),
            baseline=OWN,
            row_title="Rule",
        )

    def kept_epoch(self) -> str:
        """Say which epoch's weights the runs kept, as ``training.select`` has it."""
        descriptions = {
            "validation": "the epoch with the best validation MRR",
            "last": "the last epoch",
        }
        selects = {_select_of(run) for run in self.results.records if run.status == "ok"}
        if len(selects) == 1:
            return descriptions[selects.pop()]
        return f"the epoch whose weights were kept ({' or '.join(descriptions.values())})"

    def rows(self) -> Iterator[TableRow]:
        for label in self.results.labels:
            rows = [self.results.find(label, dataset) for dataset in self.datasets]
            if not any(r and any(run.status == "ok" for run in r.records) for r in rows):
                continue
            for rule in RULES:
                if any(r and self.applies(rule, r) for r in rows):
                    cells = [self.cell(r, rule, metric) for r in rows for metric in SHOWN]
                    yield TableRow(rule.title, tuple(cells), group=label)

    def applies(self, rule: ProtocolRule, result: RowResult) -> bool:
        """Tell whether a rule is another than that of the runs."""
        return any(rule.title != f"ties {protocol_of(run).ties}" for run in result.records)

    def cell(self, result: RowResult | None, rule: ProtocolRule, metric: str) -> TableCell:
        gathered = self.gathered(result, rule, metric)
        cell = cell_of(result, gathered)
        if rule.title == OWN or cell.value is None:
            return cell
        change = paired_change(gathered.values, self.gathered(result, RULES[0], metric).values)
        if change is None:
            return cell
        return replace(cell, change=change.mean, change_half=change.half)

    def gathered(self, result: RowResult | None, rule: ProtocolRule, metric: str) -> Gathered:
        def value(record: RunRecord) -> Value:
            run = self.run(record)
            if isinstance(run, str):
                return run
            fraction = rule.value(run, metric)
            return fraction if isinstance(fraction, str) else fraction * METRICS[metric].factor

        return gather(result, value)

    def run(self, record: RunRecord) -> RankedRun | str:
        """Return a run with its ranks, or why it has none."""
        if record.run_id not in self.runs:
            self.runs[record.run_id] = self.opened(record)
        return self.runs[record.run_id]

    def opened(self, record: RunRecord) -> RankedRun | str:
        ranks = self.ranks.of(record)
        if isinstance(ranks, str):
            return ranks
        complete = self.records[record.run_id]
        epochs = shadow.read(self.ranks.runs / record.run_id / shadow.FOLDER)
        for epoch, stored in epochs.items():
            if not np.array_equal(stored.filtered.triples, ranks.triples):
                raise DataError(
                    f"run {record.run_id}: epoch {epoch}: stored ranks of other triples"
                )
        validated = [round(row["epoch"]) for row in complete.history if "valid_mrr" in row]
        kept_epoch = round(complete.diagnostics.get("best_epoch", 0))
        return RankedRun(record, ranks, epochs, validated, kept_epoch)


def _select_of(run: RunRecord) -> str:
    """Return the run's ``training.select``."""
    return run.spec.training.select
