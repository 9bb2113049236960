"""Results of a suite, read from the store for a selection of runs and numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.analysis.costs import TIMINGS
from harness.analysis.hypotheses import HypothesisTest, PairedTests
from harness.analysis.results import RowResult, SeedRun, SuiteResults
from harness.errors import suggest
from harness.evaluation.metrics import METRICS
from harness.store.base import ResultStore, readable_records, suite_of
from harness.store.records import BUCKETS, Cell, MetricKey, Numbers
from harness.training.state_file import has_state

__all__ = [
    "ALL",
    "BUCKETS",
    "Results",
    "Selection",
    "numbers_of",
    "only_validated",
    "parse_metric",
]

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
    # The other subsets tell why a subset has no number.
    keys += [k._replace(bucket=b) for k in keys if k.bucket != "all" for b in BUCKETS]
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
        runs: folder of the run folders, which hold checkpoints; None where not known.
    """

    store: ResultStore
    selection: Selection = ALL
    tests: PairedTests | None = None
    runs: Path | None = None

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
        all_cells = self.store.cells(name, variant)
        cells = [c for c in all_cells if seeds is None or c.seed in seeds]
        numbers = numbers_of(metrics)
        numbers = numbers._replace(diagnostics=numbers.diagnostics | set(diagnostics))
        run_ids = {cell.run_id for cell in cells} - {""}
        records, problems = readable_records(self.store, run_ids, numbers)
        grouped: dict[tuple[str, str, str], dict[int, SeedRun]] = defaultdict(dict)
        for cell, label in zip(cells, _labels(cells), strict=True):
            record, problem = records.get(cell.run_id), problems.get(cell.run_id, "")
            resumable = not (record or problem) and self._has_checkpoint(cell.run_id)
            run = SeedRun(cell.seed, cell.run_id, record, cell.reason, problem, resumable)
            grouped[label, cell.dataset, cell.features][cell.seed] = run
        results = [
            RowResult(label, dataset, features, tuple(runs[seed] for seed in sorted(runs)))
            for (label, dataset, features), runs in grouped.items()
        ]
        stored = suite_of(self.store, name, variant)
        left_out = "" if cells else self._left_out(name, all_cells)
        return SuiteResults(name, variant, tuple(results), source, stored=stored, left_out=left_out)

    def _has_checkpoint(self, run_id: str) -> bool:
        return self.runs is not None and bool(run_id) and has_state(self.runs / run_id)

    def _left_out(self, name: str, cells: Sequence[Cell]) -> str:
        """Return which runs of a suite are stored, of other seeds or with ``--set``."""
        statuses = self.store.statuses() if cells else {}
        stored = sorted({cell.seed for cell in cells if cell.run_id in statuses})
        if stored:
            return f"no run has {_seeds(sorted(self.selection.seeds or ()))}, only {_seeds(stored)}"
        variants = {v for suite, v, _ in self.store.blocks() if suite == name} - {""}
        if self.selection.variant or not variants:
            return ""
        options = (
            f"--variant {variant} shows those with{suite_of(self.store, name, variant).set_options}"
            for variant in sorted(variants)
        )
        return f"all runs are with --set; {', '.join(options)}"

    def test_of(self, table: str, results: SuiteResults) -> HypothesisTest | None:
        """Return the test of a table's hypotheses, None where nothing is to be tested."""
        if self.tests is None or not results.records:
            return None
        name = f"{table} {self.selection}".strip()
        return partial(self.tests.test, name, results.records[0].protocol)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


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
