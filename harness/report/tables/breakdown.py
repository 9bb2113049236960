"""``--table breakdown``: one metric by parts of the test split, from stored ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.analysis.query import ALL, Selection
from harness.analysis.ranks import ties_of
from harness.analysis.results import SuiteResults
from harness.analysis.stored_ranks import (
    StoredRanks,
    chosen_datasets,
    gather,
    protocol_of,
    shortened,
    tested_suite,
)
from harness.data.load import Dataset, load
from harness.errors import ConfigError, HarnessError, suggest
from harness.evaluation.buckets import BUCKETS, Bucket, Labels, label, measure_buckets
from harness.evaluation.metrics import METRICS, RANK_METRICS
from harness.evaluation.ranks import Ranks
from harness.report.table import Column, Table, TableCell, TableRow
from harness.report.tables.reranked import cell_of, dataset_title, leak_notes_of
from harness.report.tables.results import NO_FEATURES, mean_over
from harness.store.base import ResultStore
from harness.store.outcomes import Outcome

__all__ = ["breakdown"]

MOST = 12
"""Buckets of a dataset that have a column of their own; the rest share one."""
TITLE_WIDTH = 28


@dataclass(frozen=True)
class _Part:
    """A dataset, with a feature set where buckets are told by it, divided into buckets.

    Attributes:
        name, title: of the dataset, and as printed above its columns.
        data: the graph and the features.
        labels: of its test triples; empty buckets are left out.
        counts: questions of each bucket, of the sides that were predicted.
        features: rows with other features than these or none have no place; "" for all.
    """

    name: str
    title: str
    data: Dataset
    labels: Labels
    counts: tuple[int, ...]
    features: str = ""


def breakdown(
    store: ResultStore,
    runs: Path,
    by: str,
    *,
    metric: str = "mrr",
    suite: str = "",
    selection: Selection = ALL,
) -> Table:
    """Return a table with a row per row of a suite and a column per bucket of each dataset.

    Args:
        store: any store.
        runs: the run folders, with the ranks.
        by: how the questions are divided, one of ``harness.evaluation.buckets.BUCKETS``.
        metric: one that is made of ranks.
        suite: its name; may be left out where one suite alone has tested runs.
        selection: which runs and datasets.

    Raises:
        ConfigError: an unknown bucket, metric, suite or dataset; no dataset is on this machine.
        StoreError: the runs cannot stand in one table.
    """
    if by not in BUCKETS:
        raise ConfigError(f"--table breakdown: no buckets by '{by}'{suggest(by, BUCKETS)}")
    if metric not in RANK_METRICS:
        raise ConfigError(f"--metric {metric}: is not made of ranks{suggest(metric, RANK_METRICS)}")
    results = tested_suite(store, suite, ("mrr",), selection)
    made = _Breakdown(results, StoredRanks(runs), by, metric)
    return made.table(chosen_datasets(results, selection))


class _Breakdown:
    def __init__(self, results: SuiteResults, ranks: StoredRanks, by: str, metric: str) -> None:
        self.results, self.ranks, self.by, self.metric = results, ranks, by, metric
        self.notes: dict[str, None] = {}
        self.measured: dict[tuple[str, str], list[Bucket] | str] = {}

    def table(self, datasets: Sequence[str]) -> Table:
        parts = [part for name in datasets for part in self.parts(name)]
        if not parts:
            raise ConfigError("; ".join(self.notes) or f"suite '{self.results.suite}' has no tests")
        tested = {
            result.label for result in self.results.results if result.records and result.planned
        }
        rows = [
            TableRow(name, tuple(cell for part in parts for cell in self.cells(name, part)))
            for name in self.results.labels
            if name in tested
        ]
        seeds = sorted({run.seed for run in self.results.records if run.status == "ok"})
        title = METRICS[self.metric].title
        said = dict.fromkeys(part.labels.rule for part in parts)
        return Table(
            name=f"breakdown-{self.by}",
            title=f"{title} by {self.by}: suite {self.results.suite}",
            columns=tuple(column for part in parts for column in self.columns(part)),
            rows=tuple(row.with_shared_notes() for row in rows),
            notes=(
                f"{title}, {mean_over(seeds)}; questions in brackets.",
                *said,
                f"Protocol: {self.results.protocol}.",
                *leak_notes_of(datasets, self.results.results),
                *self.notes,
            ),
        )

    def parts(self, dataset: str) -> Iterator[_Part]:
        """Yield the blocks of columns of a dataset; none where its graph is not here."""
        records = [r for r in self.results.records if r.dataset == dataset and r.status == "ok"]
        if not records:
            return
        named = dict.fromkeys(run.features for run in records if run.features != NO_FEATURES)
        sets = list(named) or [NO_FEATURES] if self.by == "modality" else [NO_FEATURES]
        title = dataset_title(dataset)
        for features in sets:
            try:
                data = load(dataset, features)
            except HarnessError as error:
                self.notes[f"{title}: {getattr(error, 'brief', error)}"] = None
                continue
            if data.graph.digest != records[0].dataset_digest:
                self.notes[f"{title}: the graph here is not the one of the runs"] = None
                continue
            labels, counts = _filled(label(self.by, data.graph, data.features), records[0])
            several = len(sets) > 1
            yield _Part(
                dataset,
                f"{title} [{features}]" if several else title,
                data,
                labels,
                counts,
                features if several else "",
            )

    def columns(self, part: _Part) -> Iterator[Column]:
        known = METRICS[self.metric]
        for name, count in zip(part.labels.names, part.counts, strict=True):
            yield Column(
                dataset=part.title,
                dataset_title=part.title,
                metric=self.metric,
                bucket=name,
                title=f"{shortened(name, TITLE_WIDTH)} ({count:,})",
                higher_is_better=known.higher_is_better,
                decimals=known.decimals,
            )

    def cells(self, name: str, part: _Part) -> Iterator[TableCell]:
        result = self.results.find(name, part.name)
        other = result and part.features and result.features not in (part.features, NO_FEATURES)
        for place in range(len(part.labels.names)):
            if result is None or other:
                yield TableCell(reason="not run with these features" if other else "not run")
                continue
            found = gather(result, lambda run, place=place: self.value(run, part, place))  # type: ignore[misc]
            yield cell_of(result, found)

    def buckets(self, run: Outcome, part: _Part) -> list[Bucket] | str:
        """Return a run's values, or why it has none."""
        ranks = self.ranks.of(run)
        if isinstance(ranks, str):
            return ranks
        if not _same(ranks, part.data):
            return "ranks of other triples"
        return measure_buckets(ranks, part.labels, self.metric, ties_of(run.protocol))

    def value(self, run: Outcome, part: _Part, place: int) -> float | str | None:
        key = run.run_id, part.title
        if key not in self.measured:
            self.measured[key] = self.buckets(run, part)
        measured = self.measured[key]
        if isinstance(measured, str):
            return measured
        value = measured[place].value
        return None if value is None else value * METRICS[self.metric].factor


def _same(ranks: Ranks, data: Dataset) -> bool:
    return np.array_equal(ranks.triples, data.graph.splits["test"].numpy())


def _filled(labels: Labels, run: Outcome) -> tuple[Labels, tuple[int, ...]]:
    """Return the buckets that hold questions, the last of too many as one, and their sizes."""
    sides = protocol_of(run).sides
    of = np.concatenate([labels.of[side] for side in sides])
    counts = np.bincount(of, minlength=len(labels.names))
    kept = np.flatnonzero(counts)
    many = len(kept) > MOST
    place = np.full(len(labels.names), MOST - 1)
    shown = kept[: MOST - 1] if many else kept
    place[shown] = np.arange(len(shown))
    names = [labels.names[i] for i in shown]
    sizes = [int(counts[i]) for i in shown]
    if many:
        names.append(f"{len(kept) - len(shown)} others")
        sizes.append(int(counts[kept[MOST - 1 :]].sum()))
    merged = replace(
        labels, names=tuple(names), of={side: place[where] for side, where in labels.of.items()}
    )
    return merged, tuple(sizes)
