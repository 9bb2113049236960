"""Results of a suite, read from the store for a selection of runs and numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from harness.analysis.costs import TIMINGS
from harness.analysis.hypotheses import HypothesisTest, PairedTests
from harness.analysis.results import RowResult, SeedRun, SuiteResults
from harness.errors import suggest
from harness.evaluation.metrics import METRICS
from harness.store.base import ResultStore, readable_records, suite_of
from harness.store.records import Cell, MetricKey, Numbers

__all__ = [
    "ALL",
    "BUCKETS",
    "Results",
    "Selection",
    "numbers_of",
    "only_validated",
    "parse_metric",
]

BUCKETS = ("all", "warm", "cold")
SPLITS = ("test", "valid")


def parse_metric(text: str) -> MetricKey:
    """Read ``"mrr"``, ``"mrr/cold"`` or ``"valid:mrr"``: split, metric and bucket.

    Raises:
        ValueError: one of them is unknown; the message offers the nearest.
    """
    split, colon, name = text.rpartition(":")
    metric, slash, bucket = name.partition("/")
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'{suggest(metric, METRICS)}")
    if (colon or slash) and METRICS[metric].source != "metrics":
        raise ValueError(f"metric '{metric}' has no splits or buckets; write '{metric}'")
    if slash and bucket not in BUCKETS:
        raise ValueError(f"unknown bucket '{bucket}'{suggest(bucket, BUCKETS)}")
    if colon and split not in SPLITS:
        raise ValueError(f"unknown split '{split}'{suggest(split, SPLITS)}")
    return MetricKey(metric, bucket or "all", split or "test")


def numbers_of(metrics: Iterable[str]) -> Numbers:
    """Return the numbers of a run that some metrics need."""
    keys = [parse_metric(text) for text in metrics]
    sources = {key.metric: METRICS[key.metric].source for key in keys}
    diagnostics = {name for name, source in sources.items() if source == "diagnostics"}
    timings = {name for name, source in sources.items() if source == "timings"}
    costs = "costs" in sources.values()
    return Numbers(
        metrics=frozenset(key for key in keys if sources[key.metric] == "metrics"),
        diagnostics=frozenset(diagnostics | ({"best_epoch"} if costs else set())),
        timings=frozenset(timings | (set(TIMINGS) if costs else set())),
        epochs="all" if costs else "last" if "history" in sources.values() else "none",
        provenance=costs,
    )


@dataclass(frozen=True)
class Selection:
    """Selection of runs and datasets.

    Attributes:
        variant: digest of the ``--set`` overrides the suite was run with, "" for none.
        seeds: seeds to average; all when None.
        datasets: datasets to show, by name or title in any case; all when empty.
    """

    variant: str = ""
    seeds: Collection[int] | None = None
    datasets: tuple[str, ...] = ()

    def __str__(self) -> str:
        seeds = "" if self.seeds is None else ",".join(map(str, sorted(self.seeds)))
        fields = {"variant": self.variant, "seeds": seeds, "datasets": ",".join(self.datasets)}
        return " ".join(f"{name}={value}" for name, value in fields.items() if value)


ALL = Selection()


@dataclass(frozen=True)
class Results:
    """Stored results of selected runs, and the tests of their hypotheses.

    Attributes:
        store: any store.
        selection: runs and datasets to show.
        tests: paired tests behind the marks of tables; nothing is marked without.
    """

    store: ResultStore
    selection: Selection = ALL
    tests: PairedTests | None = None

    def suite(
        self,
        name: str,
        metrics: Iterable[str],
        source: str = "",
        diagnostics: Collection[str] = (),
    ) -> SuiteResults:
        """Read the results of a suite on all its datasets; a damaged record has its error.

        Args:
            name: name of the suite.
            metrics: metrics to read, as definitions write them ("mrr/cold").
            source: file or name of the suite on the command line, for notes.
            diagnostics: names of further numbers to read.

        Raises:
            StoreError: the runs cannot stand in one table (see :class:`SuiteResults`).
        """
        seeds, variant = self.selection.seeds, self.selection.variant
        cells = [c for c in self.store.cells(name, variant) if seeds is None or c.seed in seeds]
        numbers = numbers_of(metrics)
        numbers = numbers._replace(diagnostics=numbers.diagnostics | set(diagnostics))
        run_ids = {cell.run_id for cell in cells} - {""}
        records, problems = readable_records(self.store, run_ids, numbers)
        grouped: dict[tuple[str, str, str], dict[int, SeedRun]] = defaultdict(dict)
        for cell, label in zip(cells, _labels(cells), strict=True):
            record, problem = records.get(cell.run_id), problems.get(cell.run_id, "")
            run = SeedRun(cell.seed, cell.run_id, record, cell.reason, problem)
            grouped[label, cell.dataset, cell.features][cell.seed] = run
        results = [
            RowResult(label, dataset, features, tuple(runs[seed] for seed in sorted(runs)))
            for (label, dataset, features), runs in grouped.items()
        ]
        stored = suite_of(self.store, name, variant)
        return SuiteResults(name, variant, tuple(results), source, stored=stored)

    def test_of(self, table: str, results: SuiteResults) -> HypothesisTest | None:
        """Return the test of a table's hypotheses, None where nothing is to be tested."""
        if self.tests is None or not results.records:
            return None
        name = f"{table} {self.selection}".strip()
        return partial(self.tests.test, name, results.records[0].protocol)


def only_validated(results: Sequence[RowResult]) -> bool:
    """Tell whether a suite has runs of a study alone, none of them tested."""
    return any(r.untested for r in results) and all(r.untested or not r.planned for r in results)


def _labels(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield each cell's row label, with the feature set where a label has several on a dataset."""
    features: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in cells:
        features[cell.label, cell.dataset].add(cell.features)
    mixed = {label for (label, _), names in features.items() if len(names) > 1}
    for cell in cells:
        yield f"{cell.label} [{cell.features}]" if cell.label in mixed else cell.label
