"""``--table breakdown``: one metric by divisions of the test split, from stored ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.analysis.query import Results
from harness.analysis.ranks import StoredRanks, protocol_of, ties_of
from harness.analysis.results import SuiteResults
from harness.analysis.stored_ranks import (
    gather,
    selected_datasets,
    tested_suite,
)
from harness.data.load import Dataset, load_dataset
from harness.errors import ConfigError, HarnessError, suggest
from harness.evaluation.metrics import METRICS, RANK_METRICS
from harness.evaluation.ranks import Ranks
from harness.evaluation.subsets import SUBSETS, Subset, SubsetLabels, label, measure_subsets
from harness.report.table import Column, Table, TableCell, TableRow
from harness.report.tables.reranked import cell_of, dataset_title, leak_notes_of
from harness.report.tables.results import NO_FEATURES, mean_over
from harness.store.records import RunRecord

__all__ = ["breakdown"]

MOST = 12
"""Buckets of a dataset that have a column of their own; the rest share one."""
TITLE_WIDTH = 28


@dataclass(frozen=True)
class _Division:
    """A dataset divided into buckets, with a feature set where the buckets depend on it.

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
    labels: SubsetLabels
    counts: tuple[int, ...]
    features: str = ""


def breakdown(
    results: Results, runs: Path, by: str, *, metric: str = "mrr", suite: str = ""
) -> Table:
    """Return a table with a row per row of a suite and a column per bucket of each dataset.

    Args:
        results: stored results.
        runs: the run folders, with the ranks.
        by: how the questions are divided, one of ``harness.evaluation.subsets.SUBSETS``.
        metric: one that is made of ranks.
        suite: its name; may be left out where one suite alone has tested runs.

    Raises:
        ConfigError: an unknown bucket, metric, suite or dataset; no dataset is on this machine.
        StoreError: the runs cannot stand in one table.
    """
    if by not in SUBSETS:
        raise ConfigError(f"--table breakdown: no buckets by '{by}'{suggest(by, SUBSETS)}")
    if metric not in RANK_METRICS:
        raise ConfigError(f"--metric {metric}: is not made of ranks{suggest(metric, RANK_METRICS)}")
    tested = tested_suite(results, suite, ("mrr",))
    builder = _Breakdown(tested, StoredRanks(runs), by, metric)
    return builder.table(selected_datasets(tested, results.selection))


class _Breakdown:
    def __init__(self, results: SuiteResults, ranks: StoredRanks, by: str, metric: str) -> None:
        self.results, self.ranks, self.by, self.metric = results, ranks, by, metric
        self.notes: dict[str, None] = {}
        self.measured: dict[tuple[str, str], list[Subset] | str] = {}

    def table(self, datasets: Sequence[str]) -> Table:
        divisions = [division for name in datasets for division in self.divisions(name)]
        if not divisions:
            raise ConfigError("; ".join(self.notes) or f"suite '{self.results.suite}' has no tests")
        tested = {
            result.label for result in self.results.results if result.records and result.planned
        }
        rows = [
            TableRow(
                name, tuple(cell for division in divisions for cell in self.cells(name, division))
            )
            for name in self.results.labels
            if name in tested
        ]
        seeds = sorted({run.seed for run in self.results.records if run.status == "ok"})
        title = METRICS[self.metric].title
        rules = dict.fromkeys(division.labels.rule for division in divisions)
        return Table(
            name=f"breakdown-{self.by}",
            title=f"{title} by {self.by}: suite {self.results.suite}",
            columns=tuple(column for division in divisions for column in self.columns(division)),
            rows=tuple(row.with_shared_notes() for row in rows),
            notes=(
                f"{title}, {mean_over(seeds)}; number of queries in brackets.",
                *rules,
                f"Protocol: {self.results.protocol}.",
                *leak_notes_of(datasets, self.results.results),
                *self.notes,
            ),
        )

    def divisions(self, dataset: str) -> Iterator[_Division]:
        """Yield the blocks of columns of a dataset; none where its graph is not here."""
        records = [r for r in self.results.records if r.dataset == dataset and r.status == "ok"]
        if not records:
            return
        feature_sets = dict.fromkeys(run.features for run in records if run.features != NO_FEATURES)
        sets = list(feature_sets) or [NO_FEATURES] if self.by == "modality" else [NO_FEATURES]
        title = dataset_title(dataset)
        for features in sets:
            try:
                data = load_dataset(dataset, features)
            except HarnessError as error:
                self.notes[f"{title}: {getattr(error, 'brief', error)}"] = None
                continue
            if data.graph.digest != records[0].dataset_digest:
                self.notes[f"{title}: the graph here is not the one of the runs"] = None
                continue
            labels, counts = _filled(label(self.by, data.graph, data.features), records[0])
            several = len(sets) > 1
            yield _Division(
                dataset,
                f"{title} [{features}]" if several else title,
                data,
                labels,
                counts,
                features if several else "",
            )

    def columns(self, division: _Division) -> Iterator[Column]:
        for name, count in zip(division.labels.names, division.counts, strict=True):
            yield Column.of_metric(
                self.metric,
                dataset=division.title,
                dataset_title=division.title,
                bucket=name,
                title=f"{_shortened(name, TITLE_WIDTH)} ({count:,})",
            )

    def cells(self, name: str, division: _Division) -> Iterator[TableCell]:
        result = self.results.find(name, division.name)
        unsuitable = (
            result and division.features and result.features not in (division.features, NO_FEATURES)
        )
        for index in range(len(division.labels.names)):
            if result is None or unsuitable:
                yield TableCell(reason="not run with these features" if unsuitable else "not run")
                continue
            gathered = gather(result, lambda run, index=index: self.value(run, division, index))  # type: ignore[misc]
            yield cell_of(result, gathered)

    def buckets(self, run: RunRecord, division: _Division) -> list[Subset] | str:
        """Return a run's values, or why it has none."""
        ranks = self.ranks.of(run)
        if isinstance(ranks, str):
            return ranks
        if not _same_triples(ranks, division.data):
            return "ranks of other triples"
        return measure_subsets(ranks, division.labels, self.metric, ties_of(run.protocol))

    def value(self, run: RunRecord, division: _Division, index: int) -> float | str | None:
        key = run.run_id, division.title
        if key not in self.measured:
            self.measured[key] = self.buckets(run, division)
        measured = self.measured[key]
        if isinstance(measured, str):
            return measured
        value = measured[index].value
        return None if value is None else value * METRICS[self.metric].factor


def _same_triples(ranks: Ranks, data: Dataset) -> bool:
    return np.array_equal(ranks.triples, data.graph.splits["test"].numpy())


def _filled(labels: SubsetLabels, run: RunRecord) -> tuple[SubsetLabels, tuple[int, ...]]:
    """Return the buckets that hold questions, the last of too many as one, and their sizes."""
    sides = protocol_of(run).sides
    of = np.concatenate([labels.of[side] for side in sides])
    counts = np.bincount(of, minlength=len(labels.names))
    filled = np.flatnonzero(counts)
    merges = len(filled) > MOST
    position = np.full(len(labels.names), MOST - 1)
    separate = filled[: MOST - 1] if merges else filled
    position[separate] = np.arange(len(separate))
    names = [labels.names[i] for i in separate]
    sizes = [int(counts[i]) for i in separate]
    if merges:
        names.append(f"{len(filled) - len(separate)} others")
        sizes.append(int(counts[filled[MOST - 1 :]].sum()))
    merged = replace(
        labels, names=tuple(names), of={side: position[codes] for side, codes in labels.of.items()}
    )
    return merged, tuple(sizes)


def _shortened(text: str, width: int) -> str:
    """Return a name that fits in a column's title."""
    return textwrap.shorten(text, width, placeholder="…") if " " in text else text[:width]
