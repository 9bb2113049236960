"""Results of a suite as plain values, and the refusal to put incomparable ones together."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from harness.analysis.costs import cost
from harness.errors import ConfigError, StoreError
from harness.evaluation.metrics import METRICS
from harness.plan.suite import Suite, find_suite, read_suite, shipped_suites, suite_argument
from harness.store.records import MetricKey, RunRecord, StoredSuite

__all__ = ["RowResult", "RunValues", "SeedRun", "SuiteResults", "refuse_mixtures"]

RunValues = Mapping[int, tuple[str, float]]
"""Seed -> run id and stored value: the runs of a row that a test compares."""


@dataclass(frozen=True)
class SeedRun:
    """The run of a seed with its record when there is one, or the reason why none is planned.

    Attributes:
        seed, run_id: which run; the id is "" when none is planned.
        record: its record; None when it was not run, or cannot be read.
        reason: why none is planned.
        damage: error of a record that cannot be read, with the command that helps.
        resumable: it has no record, and a checkpoint.
    """

    seed: int
    run_id: str
    record: RunRecord | None
    reason: str = ""
    damage: str = ""
    resumable: bool = False

    @property
    def ok(self) -> RunRecord | None:
        """The record of a run that succeeded: tested, or validated and not tested."""
        return self.record if self.record and self.record.status in ("ok", "validated") else None

    @property
    def untested(self) -> bool:
        """A study has trained the run, to its end or in part; it has not been tested."""
        return self.record is not None and self.record.status in ("validated", "pruned")

    @property
    def failure(self) -> str:
        """First line of a failed run's error, shortened; "" when it did not fail."""
        if self.record is None or self.record.status != "failed":
            return ""
        lines = (self.record.error or "").strip().splitlines()
        return textwrap.shorten(lines[0], 160, placeholder=" ...") if lines else "no message"


@dataclass(frozen=True)
class RowResult:
    """One row of a suite on one dataset with one feature set: runs over seeds."""

    label: str
    dataset: str
    features: str
    runs: tuple[SeedRun, ...]
    tried: int = 0
    """Number of trials that it is the best of, by validation; 0 where nothing was searched."""

    @cached_property
    def records(self) -> tuple[RunRecord, ...]:
        """Records of the runs that succeeded."""
        return tuple(run.ok for run in self.runs if run.ok)

    @property
    def untested(self) -> bool:
        """A study has trained some of the runs, and none has been tested."""
        tested = any(run.record and run.record.status == "ok" for run in self.runs)
        return not tested and any(run.untested for run in self.runs)

    @property
    def planned(self) -> tuple[SeedRun, ...]:
        """The runs that the suite asks for."""
        return tuple(run for run in self.runs if not run.reason)

    @property
    def damages(self) -> tuple[str, ...]:
        """Errors of records that cannot be read."""
        return tuple(run.damage for run in self.runs if run.damage)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why seeds are not planned, each once."""
        return tuple(dict.fromkeys(run.reason for run in self.runs if run.reason))

    def why_no_subset(self, key: MetricKey) -> str:
        """Explain a metric that the runs have of all triples, and not of warm or cold ones.

        Returns:
            The reason; "" where they have both, or neither.
        """

        def is_measured(bucket: str) -> bool:
            return bool(_values(self.records, key._replace(bucket=bucket)))

        # Runs store the metrics of subsets that have triples, and of none where all are warm.
        if is_measured(key.bucket) or not is_measured("all"):
            return ""
        if is_measured("cold"):
            return f"every triple of the {key.split} split has an unseen entity, so cold equals all"
        return f"the {key.split} split has no unseen entity, so warm equals all"

    def run_values(self, metric: str, bucket: str = "all") -> RunValues:
        """Return the runs that have a value on the test split, with it, by seed.

        {} of other numbers than metrics of ranks, which cannot be compared query by query.
        """
        if METRICS[metric].source != "metrics":
            return {}
        values = _values(self.records, MetricKey(metric, bucket))
        return {record.seed: (record.run_id, value) for record, value in values}

    def values(
        self,
        metric: str,
        bucket: str = "all",
        split: str = "test",
        target: float | None = None,
    ) -> dict[int, float]:
        """Return the values by seed, in the printed unit.

        Args:
            metric, bucket, split: where they are.
            target: published MRR in percent, which "cost.published" is the time to.
        """
        factor = METRICS[metric].factor
        values = _values(self.records, MetricKey(metric, bucket, split), target)
        return {record.seed: value * factor for record, value in values}


@dataclass(frozen=True)
class SuiteResults:
    """Everything the store knows of a suite, in the suite's order.

    Attributes:
        suite, variant: its name, and the digest of ``--set``.
        results: row by row, dataset by dataset.
        source: file or name of the suite on the command line; "" when not known.
        unplaced: dataset (lower case) -> why runs of the suite on it have no place in a figure.
        searched: it is known to be a study.
        stored: its title and the settings of ``--set``, as far as the store knows them.
        left_out: where the stored runs are when the selection has none of them; "" otherwise.

    Raises:
        StoreError: the runs were ranked under different protocols, on different versions of a
            dataset, or a row mixes different versions of a feature set.
    """

    suite: str
    variant: str
    results: tuple[RowResult, ...]
    source: str = ""
    unplaced: Mapping[str, str] = field(default_factory=dict)
    searched: bool = False
    stored: StoredSuite | None = None
    left_out: str = ""

    def __post_init__(self) -> None:
        self._refuse_mixtures()

    @cached_property
    def command(self) -> str:
        """The command that runs the suite."""
        study = " study" if self.is_study else ""
        if self.source.startswith("--"):  # a suite without a file has its options as its source
            argument = self.source
        else:
            argument = shlex.quote(self.source) if self.source else suite_argument(self.suite)
        return f"harness{study} run {argument}{self._stored.set_options}"

    @property
    def title(self) -> str:
        """Title as it was stored, or of the shipped suite, else its name."""
        if self._stored.title or self.suite not in shipped_suites():
            return self._stored.caption
        return read_suite(find_suite(self.suite)).title or self._stored.caption

    @property
    def set_phrase(self) -> str:
        """Settings of ``--set`` behind a title; "" without."""
        return self._stored.set_phrase

    @property
    def _stored(self) -> StoredSuite:
        return self.stored or StoredSuite(suite=self.suite, variant=self.variant)

    @property
    def test_command(self) -> str:
        """The command that tests the runs that are only validated."""
        if not self.is_study:
            return self.command
        variant = f" --variant {self.variant}" if self.variant else ""
        return f"harness study promote {self.suite}{variant}"

    @cached_property
    def is_study(self) -> bool:
        """True for a study: known to search settings, or by its file, shipped or in the folder."""
        if self.searched:
            return True
        return self.file is not None and self.file.study is not None

    @cached_property
    def file(self) -> Suite | None:
        """The suite's file, shipped or in the folder; None where there is none to read."""
        try:
            return read_suite(find_suite(self.source or self.suite))
        except ConfigError:
            return None

    def is_listed(self, label: str, dataset: str = "") -> bool:
        """Tell whether the suite's file lists a row; False without a file.

        Args:
            label: label of the row, perhaps with its feature set ("RotatE [all]").
            dataset: dataset that must be listed too, with that feature set; any when empty.
        """
        if self.file is None:
            return False
        row_label, _, features = label.lower().removesuffix("]").partition(" [")
        ablation = self.file.ablation
        rows = (*self.file.rows, *((ablation.base,) if ablation else ()))
        labels = [row.label or row.model for row in rows]
        labels += [variant.label for variant in ablation.variants] if ablation else []
        return _letters(row_label) in map(_letters, labels) and any(
            not dataset
            or (choice.dataset.lower() == dataset.lower() and features in ("", choice.features))
            for choice in self.file.datasets
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Row labels in order."""
        return tuple(dict.fromkeys(result.label for result in self.results))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Dataset names in order."""
        return tuple(dict.fromkeys(result.dataset for result in self.results))

    def find(self, label: str, dataset: str) -> RowResult | None:
        """Return one row on one dataset; names in any case."""
        return self._by_place.get((label.lower(), dataset.lower()))

    def row(self, label: str) -> tuple[RowResult, ...]:
        """Return one row on all datasets."""
        return tuple(r for r in self.results if r.label.lower() == label.lower())

    @cached_property
    def records(self) -> tuple[RunRecord, ...]:
        """Records of all runs that succeeded."""
        return tuple(record for result in self.results for record in result.records)

    @property
    def protocol(self) -> str:
        """The protocol of all runs in words, "" when nothing was run."""
        if not self.records:
            return ""
        return self.records[0].spec.protocol.describe()

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], RowResult]:
        return {(r.label.lower(), r.dataset.lower()): r for r in self.results}

    def _refuse_mixtures(self) -> None:
        self._refuse(self.records, "protocol", "ranks under different protocols")
        for dataset in self.datasets:
            records = [record for record in self.records if record.dataset == dataset]
            self._refuse(records, "dataset_digest", f"has runs on two versions of '{dataset}'")
        for result in self.results:
            problem = f"row '{result.label}' has runs with two versions of the features "
            self._refuse(result.records, "feature_digest", f"{problem}'{result.features}'")

    def _refuse(self, records: Sequence[RunRecord], name: str, problem: str) -> None:
        first = {getattr(record, name): record.run_id for record in reversed(records)}
        if len(first) < 2:
            return
        listing = ", ".join(
            f"{value or 'none'} (run {run})" for value, run in sorted(first.items())
        )
        raise StoreError(
            f"suite '{self.suite}': {problem}: {listing}; one table never mixes them. "
            f"`{self.command}` plans the suite anew"
        )


def refuse_mixtures(table: str, sources: Sequence[SuiteResults]) -> None:
    """Refuse suites that cannot stand side by side in one table.

    Raises:
        StoreError: they were ranked under different protocols, or on different versions of a
            dataset; the message names the suites.
    """
    protocols: dict[str, str] = {}
    digests: dict[str, dict[str, str]] = {}
    for results in sources:
        for record in results.records:
            protocols.setdefault(record.protocol, results.suite)
            digests.setdefault(record.dataset, {}).setdefault(record.dataset_digest, results.suite)
    mixtures = {"ranks under different protocols": protocols} | {
        f"two versions of '{dataset}'": suites for dataset, suites in digests.items()
    }
    for problem, suites in mixtures.items():
        if len(suites) > 1:
            listing = ", ".join(
                f"{value or 'none'} (suite {suite})" for value, suite in suites.items()
            )
            raise StoreError(f"table '{table}': {problem}: {listing}; one table never mixes them")


def _letters(label: str) -> str:
    """Return the letters and digits of a label, lower case.

    A row without a label has its model's title, which importing the model alone would tell: it
    mostly differs from the name by other characters ("TransE + text", transe_text).
    """
    return "".join(filter(str.isalnum, label.lower()))


def _values(
    records: Sequence[RunRecord], key: MetricKey, target: float | None = None
) -> list[tuple[RunRecord, float]]:
    """Return the runs that have a value, with it."""
    match METRICS[key.metric].source:
        case "metrics":
            values = [(r, r.metric(key.metric, key.split, bucket=key.bucket)) for r in records]
        case "history":
            values = [(r, r.history[-1].get(key.metric)) for r in records if r.history]
        case "diagnostics":
            values = [(record, record.diagnostics.get(key.metric)) for record in records]
        case "timings":
            values = [(record, record.timing(key.metric)) for record in records]
        case "costs":
            values = [(record, cost(record, key.metric, target)) for record in records]
    return [(record, value) for record, value in values if value is not None]
