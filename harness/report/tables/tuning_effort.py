"""The table of tuning effort: settings that were tried for each method, and their cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from harness.analysis import costs
from harness.analysis.query import Results
from harness.analysis.results import RowResult, SuiteResults
from harness.catalog import load_models
from harness.errors import ConfigError, suggest
from harness.evaluation.metrics import METRICS
from harness.model import MODELS
from harness.plan.expand import expand
from harness.plan.spec import RunSpec
from harness.plan.study import trial_of
from harness.plan.suite import find_suite, read_suite, shipped_suites
from harness.report.definition import DatasetSpec, Definition, RowSpec
from harness.report.reasons import NO_TIMES, NOTHING_TO_SEARCH
from harness.report.row_definitions import TuningEffortDefinition
from harness.report.table import Column, Table, TableCell, TableRow
from harness.report.tables.results import row_specs
from harness.store.records import RunRecord

__all__ = ["Method", "methods_by_row", "tuning_effort_table"]

TRIED = ("ok", "validated", "pruned")
"""Statuses of the runs that are counted."""
COST = "cost.total"
ALL = "all"
"""Name of the columns over all datasets."""


class Method(NamedTuple):
    """A trained method, whatever the other settings of its runs.

    A trial belongs to the row that trains the same method: its label is free text, and KBGAN, MANS
    and MMRNS are no models but strategies with one. Rows that train the same method have the same
    trials.

    Attributes:
        model: registered model.
        strategy: negative sampling strategy, "" for none.
        features: True for a structural model with features added to its vectors.
        adversary: kind of adversarial training, "none" without.
    """

    model: str
    strategy: str
    features: bool
    adversary: str

    @classmethod
    def of(cls, spec: RunSpec) -> Method:
        """Return the method that a run trains."""
        residual = spec.model.options.get("residual")
        gain = residual.get("gain", 0) if isinstance(residual, Mapping) else 0
        return cls(spec.model.name, spec.negatives.strategy.name, gain > 0, spec.adversary.kind)

    def __str__(self) -> str:
        features = " + features" * self.features
        adversary = "" if self.adversary == "none" else self.adversary
        return " with ".join(filter(None, [f"{self.model}{features}", self.strategy, adversary]))


def methods_by_row(path: Path) -> dict[str, set[Method]]:
    """Return the methods that each row of a suite trains on some dataset, by label, in order.

    They come from the plan, which needs no data, and not from stored runs: a row that was never run
    may have trials. A row that learns nothing has no method.

    Raises:
        ConfigError: the file holds a mistake.
    """
    load_models()
    methods: dict[str, set[Method]] = {}
    for cell in expand(read_suite(path)).cells:
        of_row = methods.setdefault(cell.label, set())
        if MODELS.get(cell.spec.model.name).capabilities.trainable:
            of_row.add(Method.of(cell.spec))
    return methods


def tuning_effort_table(
    definition: TuningEffortDefinition,
    rows_source: Definition,
    selected: Sequence[DatasetSpec],
    results: Results,
) -> Table:
    """Return the number of settings and the processor hours of the trials of each method.

    Args:
        definition: the studies, and the suites of settings.
        rows_source: the table whose rows are shown.
        selected: its datasets that are shown, as far as they have trials.
        results: stored results.

    Raises:
        ConfigError: there is no such study or suite, or the suite of ``rows_source`` has no file.
    """
    _check_suites(definition, {suite for suite, _, _ in results.store.blocks()})
    try:
        path = find_suite(rows_source.suite)
    except ConfigError as error:
        raise ConfigError(f"{definition.origin(('rows_from',))}: {error}") from None
    # A trial is compared over all of its seeds, whichever are shown.
    all_seeds = replace(results, selection=replace(results.selection, seeds=None))
    studies = tuple(all_seeds.suite(name, (COST,)) for name in definition.suites)
    return _EffortTable(definition, rows_source, selected, methods_by_row(path), studies).table


def _check_suites(definition: TuningEffortDefinition, stored: Collection[str]) -> None:
    """Refuse names of no study and of no suite; the store may have some without files here."""
    for key, kind in (("studies", "study"), ("settings_suites", "suite")):
        for position, name in enumerate(getattr(definition, key)):
            origin = definition.origin((key, position))
            try:
                path = find_suite(name)
            except ConfigError:
                if name not in stored:
                    near = suggest(name, {*stored, *shipped_suites()})
                    raise ConfigError(f"{origin}: no {kind} '{name}'{near}") from None
                continue
            searches = read_suite(path).study is not None
            if kind == "study" and not searches:
                raise ConfigError(
                    f"{origin}: suite '{name}' is no study: it has no section 'study'"
                )
            if kind == "suite" and searches:
                raise ConfigError(f"{origin}: suite '{name}' is a study: name it in 'studies'")


@dataclass(frozen=True)
class _EffortTable:
    """The table, made from the rows of another one and the results of studies."""

    definition: TuningEffortDefinition
    rows_source: Definition
    selected: Sequence[DatasetSpec]
    methods_by_row: Mapping[str, Collection[Method]]
    studies: Sequence[SuiteResults]

    @property
    def table(self) -> Table:
        planned = tuple(RowResult(label, "", "", ()) for label in self.methods_by_row)
        specs = row_specs(self.rows_source, SuiteResults(self.rows_source.suite, "", planned))
        return Table(
            name=self.definition.name,
            title=self.definition.title,
            columns=tuple(self.columns()),
            rows=tuple(
                TableRow(spec.title or spec.label, tuple(self.cells(spec)), group=spec.group)
                for spec in specs
            ),
            notes=tuple(self.notes()),
            row_title=self.rows_source.row_title,
        )

    @cached_property
    def methods(self) -> Mapping[str, Collection[Method]]:
        """Methods of each row by its label in lower case."""
        return {label.lower(): methods for label, methods in self.methods_by_row.items()}

    def is_tried(self, study: SuiteResults, row: RowResult) -> bool:
        """Tell whether a row is a setting: a study's trial, or any row of a suite of settings."""
        return study.suite in self.definition.settings_suites or trial_of(row.label) is not None

    @cached_property
    def trials(self) -> Mapping[tuple[Method, str], tuple[RunRecord, ...]]:
        """Runs of trials by method and dataset, each once, also where several studies share it."""
        rows = [row for study in self.studies for row in study.results if self.is_tried(study, row)]
        runs = [run for row in rows for run in row.runs]
        records = {run.run_id: run.record for run in runs if run.record}
        grouped: dict[tuple[Method, str], list[RunRecord]] = defaultdict(list)
        for record in records.values():
            if record.status in TRIED:
                grouped[Method.of(record.spec), _official(record.dataset)].append(record)
        return {key: tuple(group) for key, group in grouped.items()}

    @cached_property
    def datasets(self) -> dict[str, str]:
        """Titles of the datasets with trials by name; all where none has any."""
        titles: dict[str, str] = {}
        for dataset in self.selected:
            titles.setdefault(_official(dataset.name), dataset.title or dataset.name)
        tried = {name for _, name in self.trials}
        return {name: title for name, title in titles.items() if name in tried} or titles

    @cached_property
    def blocks(self) -> dict[str, str]:
        """Titles of the blocks of columns by name: datasets, and all of them where several are."""
        return self.datasets | ({ALL: "All datasets"} if len(self.datasets) > 1 else {})

    def columns(self) -> Iterator[Column]:
        for name, title in self.blocks.items():
            yield Column(name, title, "settings", ALL, "Settings", None, split="", decimals=0)
            yield Column(name, title, COST, ALL, "CPU h", None, split="")

    def cells(self, spec: RowSpec) -> Iterator[TableCell]:
        methods = self.methods.get(spec.label.lower())
        if not methods:
            reason = (
                f"not in suite '{self.rows_source.suite}'" if methods is None else NOTHING_TO_SEARCH
            )
            yield from [TableCell(reason=reason)] * (2 * len(self.blocks))
            return
        for block in self.blocks:
            names = self.datasets if block == ALL else (block,)
            groups = [self.trials.get((method, name), ()) for method in methods for name in names]
            runs = tuple(record.run_id for group in groups for record in group)
            yield TableCell(value=sum(map(_n_settings, groups)), runs=runs)
            yield _hours([record for group in groups for record in group])

    def notes(self) -> Iterator[str]:
        yield (
            "Settings: different settings of finished and pruned trials, whatever their seeds "
            "(mostly one); failed trials are not counted. A trial of several studies counts once, "
            "a trial on NAME@clean for NAME."
        )
        yield (
            "CPU h: processor time of their runs (older records: wall time x threads), validations "
            "included."
        )
        yield (
            "Trials are compared by validation alone, and tested only where they were promoted "
            "(`harness study promote`)."
        )
        if stored := [study.suite for study in self.studies if study.results]:
            yield f"Studies and suites: {', '.join(stored)}."
        if missing := [f"`{study.command}`" for study in self.studies if not study.results]:
            yield f"Not run, and not counted: {', '.join(missing)}."
        yield from self.other_trials()
        damages = [d for study in self.studies for row in study.results for d in row.damages]
        yield from dict.fromkeys(damages)
        yield from self.definition.footnotes

    def other_trials(self) -> Iterator[str]:
        """Yield notes on the trials of methods and of datasets that the table does not have."""
        methods = set[Method]().union(*self.methods.values())
        in_table = {_official(dataset.name) for dataset in self.rows_source.datasets}
        is_whole = len(self.selected) >= len(self.rows_source.datasets)
        other_methods, other_datasets = Counter[str](), Counter[str]()
        for (method, dataset), runs in self.trials.items():
            if dataset not in in_table:
                if is_whole:
                    other_datasets[dataset] += _n_settings(runs)
            elif dataset in self.datasets and method not in methods:
                other_methods[f"{method} on {self.datasets[dataset]}"] += _n_settings(runs)
        kinds = {
            "of methods that are no row": other_methods,
            "on other datasets": other_datasets,
        }
        for kind, counts in kinds.items():
            if counts:
                items = ", ".join(f"{name} ({n})" for name, n in sorted(counts.items()))
                plural = "s" * (counts.total() != 1)
                yield f"Not in the table: {counts.total()} setting{plural} {kind}: {items}."


def _official(dataset: str) -> str:
    """Return the dataset whose splits a variant such as ``db15k@clean`` is made of."""
    return dataset.partition("@")[0]


def _n_settings(records: Sequence[RunRecord]) -> int:
    """Return the number of different specifications, apart from seeds and variants of a dataset."""
    specs = set()
    for spec in (record.spec for record in records):
        data = spec.data.model_copy(update={"dataset": _official(spec.data.dataset)})
        specs.add(spec.model_copy(update={"data": data, "seed": 0}).model_dump_json())
    return len(specs)


def _hours(records: Sequence[RunRecord]) -> TableCell:
    """Return the processor hours of runs together, with notes on runs without times."""
    seconds = [value for record in records if (value := costs.cost(record, COST)) is not None]
    if records and not seconds:
        return TableCell(reason=NO_TIMES)
    untimed = len(records) - len(seconds)
    notes = [f"without {untimed} of {len(records)} runs, which hold no times"] if untimed else []
    notes += [note] if (note := costs.load_note(records)) else []
    return TableCell(
        value=sum(seconds) * METRICS[COST].factor,
        notes=tuple(notes),
        runs=tuple(record.run_id for record in records),
    )
