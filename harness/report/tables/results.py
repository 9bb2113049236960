"""Definition + results + published figures -> table; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.analysis import costs
from harness.analysis.hypotheses import HypothesisTest
from harness.analysis.query import parse_metric
from harness.analysis.results import RowResult, RunValues, SuiteResults
from harness.analysis.statistics import (
    Change,
    SeedSummary,
    paired_change,
    summarise,
    unpaired_change,
)
from harness.evaluation.metrics import METRICS
from harness.report.definition import DatasetSpec, Definition, Published, RowSpec
from harness.report.leak_notes import leak_notes
from harness.report.marks import MarkedCells, mark
from harness.report.reasons import missing_reason
from harness.report.table import Column, Heading, Table, TableCell, TableRow
from harness.store.records import EXTERNAL, RunRecord

__all__ = ["NO_FEATURES", "assemble", "mean_over", "row_specs"]

NO_FEATURES = "none"
SAME = "the same value with every seed"
"""Said of models without randomness, and of all others whose seeds happen to agree exactly."""


def assemble(
    definition: Definition,
    published: Published | None,
    results: SuiteResults,
    test: HypothesisTest | None = None,
    specs: Sequence[RowSpec] | None = None,
    neighbours: Sequence[SuiteResults] = (),
) -> Table:
    """Return the table of a definition whose datasets are complete.

    Args:
        definition: rows, datasets and metrics to show; the suite's further rows are appended.
        published: figures for the rows that name some.
        results: stored results of the definition's suite.
        test: tests the hypotheses behind the marks; nothing is marked without.
        specs: the rows to show, with the notes of each cell at the cell; ``row_specs`` when not
            given, with notes that all values of a row share at its label.
        neighbours: further suites of the table; rows that learn nothing are looked for there too.
    """
    rows = row_specs(definition, results) if specs is None else specs
    table = _Assembly(definition, published, results, test, neighbours).table(rows)
    return table.with_shared_notes() if specs is None else table


def row_specs(definition: Definition, results: SuiteResults) -> list[RowSpec]:
    """Return the listed rows, then the suite's others."""
    specs: list[RowSpec] = []
    for spec in definition.rows:
        specs.extend(_split_by_features(spec, results))
    listed = {spec.label.lower() for spec in specs}
    for label in results.labels:
        if label.lower() not in listed:
            specs.append(RowSpec(label=label, group=definition.others))
    return specs


def _split_by_features(spec: RowSpec, results: SuiteResults) -> list[RowSpec]:
    """Return one row per feature set where the suite has the label with several."""
    prefix = f"{spec.label.lower()} ["
    labels = [name for name in results.labels if name.lower().startswith(prefix)]
    if not labels:
        return [spec]
    title = spec.title or spec.label
    return [
        spec.model_copy(update={"label": name, "title": title + name[len(spec.label) :]})
        for name in labels
    ]


@dataclass(frozen=True)
class _Assembly:
    definition: Definition
    published: Published | None
    results: SuiteResults
    test: HypothesisTest | None
    neighbours: Sequence[SuiteResults] = ()

    def table(self, specs: Sequence[RowSpec]) -> Table:
        columns = self.columns
        marked = self.marked(specs)
        rows = [self.row(spec, cells) for spec, cells in zip(specs, marked.rows, strict=True)]
        headings = [Heading(a.title or a.name, a.latex) for a in self.definition.attributes]
        return Table(
            name=self.definition.name,
            title=self.definition.title + self.results.set_phrase,
            columns=columns,
            rows=tuple(rows),
            headings=tuple(headings),
            notes=(*self.notes(), *marked.notes),
            source=self.source(),
            baseline=self.definition.baseline,
            row_title=self.definition.row_title,
            tests=marked.tests,
            signs_against=self.against(),
        )

    def marked(self, specs: Sequence[RowSpec]) -> MarkedCells:
        """Return the cells with their marks."""
        labels = [spec.label.lower() for spec in specs]
        proposed = [name.lower() for name in self.definition.proposed]
        proposed_rows = [i for i, label in enumerate(labels) if _is_one_of(label, proposed)]
        baseline = self.definition.baseline.lower()
        return mark(
            self.columns,
            [spec.title or spec.label for spec in specs],
            [[self.cell(spec, column) for column in self.columns] for spec in specs],
            [[self.run_values(spec, column) for column in self.columns] for spec in specs],
            self.test,
            proposed=frozenset(proposed_rows),
            baseline=labels.index(baseline) if baseline in labels else None,
        )

    def run_values(self, spec: RowSpec, column: Column) -> RunValues:
        result = self.results.find(spec.label, column.dataset)
        return result.run_values(column.metric, column.bucket) if result else {}

    def against(self) -> str:
        """Return in words what signs refer to."""
        return "the best baseline" if self.definition.proposed else f"'{self.definition.baseline}'"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        datasets = {dataset.name: dataset for dataset in self.definition.datasets}
        leaders = [d for d in datasets.values() if d.against not in datasets]
        return tuple(
            _column(dataset, leader, metric)
            for leader in leaders
            for metric in leader.metrics or self.definition.metrics
            for dataset in (leader, *(d for d in datasets.values() if d.against == leader.name))
        )

    @cached_property
    def has_costs(self) -> bool:
        """True when some column shows processor time."""
        return any(METRICS[column.metric].source == "costs" for column in self.columns)

    @cached_property
    def measured_results(self) -> tuple[RowResult, ...]:
        """Results with a value on the datasets shown."""
        names = {dataset.name.lower() for dataset in self.definition.datasets}
        return tuple(r for r in self.results.results if r.records and r.dataset.lower() in names)

    @cached_property
    def usual_seeds(self) -> tuple[int, ...]:
        """The seeds that most results have; other cells carry a footnote."""
        counts = Counter(_seeds(result) for result in self.measured_results)
        return max(counts, key=lambda seeds: (counts[seeds], len(seeds)), default=())

    @cached_property
    def usual_trials(self) -> int:
        """The number of trials that most results are the best of; other cells say theirs."""
        counts = Counter(result.tried for result in self.measured_results)
        return max(counts, key=lambda tried: (counts[tried], tried), default=0)

    @cached_property
    def common_features(self) -> str:
        """Features of all results in words, "" when they differ."""
        names = {_features(result) for result in self.measured_results if not _external(result)}
        return names.pop() if len(names) == 1 else ""

    def cell(self, spec: RowSpec, column: Column) -> TableCell:
        result = self.results.find(spec.label, column.dataset)
        target = self.target(spec, column)
        values = _values(result, column, target) if result else {}
        published = self.published_value(spec, column)
        if result is None or not values:
            reason = missing_reason(self.definition, spec, column, self.results, target)
            return TableCell(published=published, reason=reason)
        summary = summarise(list(values.values()))
        change = self.change(spec, column, result)
        return TableCell.of(
            summary,
            planned=len(result.planned),
            published=published,
            change=change.mean if change else None,
            change_half=change.half if change else None,
            change_paired=change is None or change.paired,
            features=result.features,
            notes=(*self.cell_notes(result, column, values), *self.below(result, column, summary)),
            runs=tuple(record.run_id for record in result.records),
        )

    def published_value(self, spec: RowSpec, column: Column) -> float | None:
        if not (self.published and self.definition.published and spec.published):
            return None
        if (column.bucket, column.split) != ("all", "test"):
            return None
        table = self.published.tables[self.definition.published]
        return table.value(spec.published, column.dataset, column.metric)

    def target(self, spec: RowSpec, column: Column) -> float | None:
        """Return the MRR that is published of a row on the dataset of a column."""
        if not (self.published and self.definition.published and spec.published):
            return None
        table = self.published.tables[self.definition.published]
        return table.value(spec.published, column.dataset, "mrr")

    def change(self, spec: RowSpec, column: Column, result: RowResult) -> Change | None:
        against = next(d.against for d in self.definition.datasets if d.name == column.dataset)
        if against:
            reference = self.results.find(spec.label, against)
        else:
            reference = self.results.find(self.definition.baseline, column.dataset)
            if reference is not None and reference.label.lower() == spec.label.lower():
                return None
        if reference is None or column.higher_is_better is None:
            return None
        target = self.target(spec, column)
        values, baseline = (_values(row, column, target) for row in (result, reference))
        if not baseline:
            return None
        if not _share_streams(result, reference):
            return unpaired_change(list(values.values()), list(baseline.values()))
        differences = paired_change(values, baseline)
        return None if differences is None else Change.by_seed(differences)

    def cell_notes(
        self, result: RowResult, column: Column, values: Mapping[int, float]
    ) -> tuple[str, ...]:
        notes: list[str] = []
        if kind := _external(result):
            notes.append(FOREIGN[kind])
        elif not self.common_features and result.features != NO_FEATURES:
            notes.append(f"measured with {_features(result)}")
        if column.metric == "cost.published" and len(values) < len(result.records):
            notes.append(f"reached by {len(values)} of {len(result.records)} seeds")
        elif len(values) < len(result.runs):
            notes.append(_partial(result, len(values)))
        elif tuple(values) != self.usual_seeds:
            notes.append(_over_seeds(tuple(values)))
        if result.tried != self.usual_trials:
            notes.append(_best_of(result.tried).lower())
        if METRICS[column.metric].source == "costs" and (note := costs.load_note(result.records)):
            notes.append(note)
        if column.split and len(values) > 1 and len(set(values.values())) == 1:
            notes.append(SAME)
        return tuple(notes)

    def below(self, result: RowResult, column: Column, summary: SeedSummary) -> Iterator[str]:
        """Yield the footnote of a value that is worse than a row that learns nothing."""
        floors = [name.lower() for name in self.definition.floors]
        if _is_one_of(result.label.lower(), floors) or column.higher_is_better is None:
            return
        sign = 1 if column.higher_is_better else -1
        above = []
        for name in self.definition.floors:
            values = self.floor(name, column)
            if values and sign * summarise(list(values.values())).mean > sign * summary.mean:
                above.append(name)
        if above:
            yield f"worse than {' and '.join(above)}, which learn{'s' * (len(above) == 1)} nothing"

    def floor(self, name: str, column: Column) -> dict[int, float]:
        """Return the values of a row that learns nothing: of this suite, else of one beside it."""
        rows = (results.find(name, column.dataset) for results in (self.results, *self.neighbours))
        values = (_values(result, column) for result in rows if result)
        return next((stored for stored in values if stored), {})

    def row(self, spec: RowSpec, cells: Sequence[TableCell]) -> TableRow:
        names = [attribute.name for attribute in self.definition.attributes]
        return TableRow(
            label=spec.title or spec.label,
            cells=tuple(cells),
            group=spec.group,
            attributes=tuple(spec.attributes.get(name, "") for name in names),
            notes=tuple(spec.notes),
        )

    def notes(self) -> tuple[str, ...]:
        """Return the footnotes of the whole table: seeds, protocol, features, data, own."""
        notes: list[str] = []
        if not self.results.results and not (self.definition.rows and self.columns):
            left_out, command = self.results.left_out, self.results.command
            todo = f"shown: {left_out}" if left_out else f"run: `{command}` fills this table"
            notes.append(f"Nothing {'is' if left_out else 'was'} {todo}.")
        if self.measured_results:
            splits = dict.fromkeys(SPLITS[c.split] for c in self.columns if c.split)
            phrases = [f"{' and '.join(splits)} split"] if splits else []
            notes.append(f"{'; '.join([*phrases, mean_over(self.usual_seeds)])}.")
            notes += [f"{_best_of(self.usual_trials)}."] if self.usual_trials else []
            notes += self.untested_notes()
            notes.append(f"Protocol: {self.results.protocol}.")
            notes += self.feature_notes()
            notes += costs.notes(_runs(self.measured_results)) if self.has_costs else ()
        for dataset in self.definition.datasets:
            measured = [
                r for r in self.measured_results if r.dataset.lower() == dataset.name.lower()
            ]
            notes_of_dataset = [dataset.note] if measured and dataset.note else []
            remarks = dict.fromkeys(
                [
                    *notes_of_dataset,
                    *(note for r in measured for record in r.records for note in record.notes),
                    *leak_notes(dataset.name, measured),
                ]
            )
            notes.extend(self.with_title(dataset, remark) for remark in remarks)
            if self.has_costs and (total := costs.total_note(_runs(measured))):
                notes.append(self.with_title(dataset, total))
        return (*notes, *self.definition.footnotes)

    def with_title(self, dataset: DatasetSpec, remark: str) -> str:
        """Return a remark on a dataset behind its title; some begin with its name already."""
        titles = {d.name: d.title or d.name for d in self.definition.datasets}
        title = " ".join(titles[name] for name in (dataset.against, dataset.name) if name in titles)
        name, _, text = remark.partition(": ")
        has_title = name.lower() in (dataset.name.lower(), dataset.title.lower())
        return f"{title}: {text if text and has_title else remark}"

    def untested_notes(self) -> list[str]:
        """Say, where validation is shown, how many of the runs were tested at all."""
        statuses = [record.status for result in self.measured_results for record in result.records]
        if "validated" not in statuses or all(column.split != "valid" for column in self.columns):
            return []
        if "ok" not in statuses:
            return [f"None of the {len(statuses)} runs was tested."]
        return [f"{statuses.count('ok')} of the {len(statuses)} runs were tested too."]

    def feature_notes(self) -> list[str]:
        if self.common_features:
            return [f"Measured with {self.common_features}."]
        if any(result.features == NO_FEATURES for result in self.measured_results):
            return [f"Rows without a footnote on features use {NO_FEATURE_TEXT}."]
        return []

    def source(self) -> str:
        if not (self.published and self.definition.published):
            return ""
        caption = self.published.tables[self.definition.published].caption
        return f"{caption} of {self.published.source}"


FOREIGN = {
    "ranks": "scored elsewhere, ranks not checked",
    "scores": "scored elsewhere; the scores were ranked here",
}
"""Notes on rows of another code base, by the kind of their file."""
NO_FEATURE_TEXT = "structure only (features 'none')"
SPLITS = {"test": "Test", "valid": "Validation"}


def _column(dataset: DatasetSpec, leader: DatasetSpec, text: str) -> Column:
    """Return a metric on a dataset, in the block of columns of its leader."""
    name, bucket, split = parse_metric(text)
    metric = METRICS[name]
    titles = [metric.title, "" if bucket == "all" else bucket]
    titles += [dataset.title] if dataset is not leader else []
    # A dataset that was to stand beside one that is not shown goes by its name.
    block = leader.name if leader.against else leader.title or leader.name
    return Column.of_metric(
        name,
        dataset=dataset.name,
        dataset_title=block,
        bucket=bucket,
        title=" ".join(filter(None, titles)),
        split=split if metric.source == "metrics" else "",
    )


def _values(result: RowResult, column: Column, target: float | None = None) -> dict[int, float]:
    return result.values(column.metric, column.bucket, column.split, target)


def _share_streams(result: RowResult, reference: RowResult) -> bool:
    """Tell whether equal seeds of two results mean equal random streams.

    These derive from the seed and the digest of the splits (:mod:`harness.seeding`); what another
    code base makes of a seed is its own.
    """
    digests = {record.dataset_digest for record in (*result.records, *reference.records)}
    return len(digests) == 1 and not (_external(result) or _external(reference))


def _is_one_of(label: str, names: Sequence[str]) -> bool:
    """Return whether a row has one of these labels, with any feature set."""
    return any(label == name or label.startswith(f"{name} [") for name in names)


def _runs(results: Iterable[RowResult]) -> Collection[RunRecord]:
    """Return the runs of results that succeeded, each once."""
    return {record.run_id: record for result in results for record in result.records}.values()


def _seeds(result: RowResult) -> tuple[int, ...]:
    return tuple(record.seed for record in result.records)


def _external(result: RowResult) -> str:
    """Return the kind of an external row, ranks or scores; "" for runs of this harness."""
    first = result.records[0]
    return str(first.spec.model.options.get("kind", "ranks")) if first.model == EXTERNAL else ""


def _features(result: RowResult) -> str:
    """Return the feature set and modalities of a result's runs in words."""
    if result.features == NO_FEATURES:
        return NO_FEATURE_TEXT
    modalities = ", ".join(result.records[0].modalities)
    return f"features '{result.features}'" + (f" ({modalities})" if modalities else "")


def _partial(result: RowResult, n: int) -> str:
    failed = [f"run {r.run_id} failed: {r.failure}" for r in result.runs if r.failure]
    problems = [*failed, *result.damages, *result.reasons]
    return "; ".join([f"{n} of {len(result.runs)} seeds", *problems])


def _best_of(trials: int) -> str:
    return f"Best by validation of {trials} trial{'s' * (trials != 1)}"


def _over_seeds(seeds: tuple[int, ...]) -> str:
    numbers = ", ".join(map(str, seeds))
    return f"seed {numbers} alone" if len(seeds) == 1 else f"over {len(seeds)} seeds ({numbers})"


def mean_over(seeds: Sequence[int]) -> str:
    """Return in words what values over these seeds are."""
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    numbers = ", ".join(map(str, seeds))
    return f"mean ± standard deviation over {len(seeds)} seeds ({numbers})"
