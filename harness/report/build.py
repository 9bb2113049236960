"""From a definition and the results that it shows to a table or a figure: a builder per kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.query import Results, parse_metric
from harness.analysis.results import SuiteResults
from harness.analysis.trials import best_trials
from harness.errors import ConfigError, nearest, suggest
from harness.report.checks import (
    absent_rows,
    check_landmarks,
    check_models,
    check_weights,
    of_model,
)
from harness.report.definition import (
    ComplexityDefinition,
    DatasetsDefinition,
    DatasetSpec,
    Definition,
    FigureDefinition,
    Published,
    ReportDefinition,
    RobustnessDefinition,
    RowSpec,
    SourceSpec,
)
from harness.report.figure import Figure
from harness.report.files import load_definition, load_published, readable_definitions
from harness.report.kinds import plugin_kinds
from harness.report.row_definitions import (
    CriticalDifferenceDefinition,
    LearningDefinition,
    ParetoDefinition,
    RowsDefinition,
    TuningEffortDefinition,
)
from harness.report.table import Table
from harness.report.tables.complexity import Complexity, newest
from harness.report.tables.critical import CriticalDifference
from harness.report.tables.learning import Learning
from harness.report.tables.pareto import Pareto
from harness.report.tables.results import assemble
from harness.report.tables.robustness import Robustness, weight_key
from harness.report.tables.rows import chosen_rows, without_empty
from harness.report.tables.sources import Source, definition_of, side_by_side
from harness.report.tables.sweep import sweep
from harness.report.tables.sweep_figure import SweepFigure

__all__ = [
    "BUILDERS",
    "build",
    "plain_table",
    "results_table",
    "robustness_figure",
    "study_table",
    "sweep_figure",
]

VALID_METRICS = ("valid:mrr", "valid:hits@1", "valid:hits@10")
SUITE_METRICS = ("mrr", "hits@1", "hits@10")
SPLIT_METRICS = ("mrr/warm", "mrr/cold")
PLAIN_METRICS = (*SUITE_METRICS, *SPLIT_METRICS)
"""Metrics read for a table without a definition."""


def build(definition: ReportDefinition, results: Results) -> Table | Figure:
    """Return the table or the figure that a definition describes.

    Raises:
        ConfigError: a dataset is not in the table, or a key of the definition has no effect.
        StoreError: the runs cannot stand in one table.
    """
    kind = type(definition)
    if kind in BUILDERS:
        return BUILDERS[kind](definition, results)
    builder = next(k.build for k in plugin_kinds().values() if k.definition is kind)
    return builder(definition, results)


def results_table(
    definition: Definition, results: Results, published: Published | None = None
) -> Table:
    """Return a table of the cells of a suite, or of several suites and studies side by side.

    Args:
        definition: rows, datasets and metrics.
        results: stored results.
        published: published figures; those of the file when None.
    """
    published = published or _published(definition)
    if definition.sources:
        return _side_by_side(definition, results, published)
    suite = results.suite(definition.suite, definition.all_metrics)
    check_models(definition, [suite])
    selected = _select(_with_datasets(definition, suite.datasets), results)
    table = assemble(selected, published, suite, results.test_of(selected.name, suite))
    return replace(table, notes=(*table.notes, *absent_rows(definition, [suite])))


def _side_by_side(definition: Definition, results: Results, published: Published | None) -> Table:
    pairs = [(source, _of_source(source, definition, results)) for source in definition.sources]
    if results.selection.variant:  # it is of one suite: the others would have empty columns
        pairs = [(source, suite) for source, suite in pairs if suite.results] or pairs
    suites = [suite for _, suite in pairs]
    definition = definition.model_copy(update={"sources": tuple(source for source, _ in pairs)})
    check_models(definition, suites)
    # A study tries settings where nobody is to read a result: its datasets join once tested.
    further = dict.fromkeys(
        name
        for source, suite in zip(definition.sources, suites, strict=True)
        for name in (_tested(suite) if source.study else suite.datasets)
    )
    selected = _select(_with_datasets(definition, tuple(further)), results)
    sources = [
        Source(spec, suite, results.test_of(definition_of(selected, spec).name, suite))
        for spec, suite in zip(definition.sources, suites, strict=True)
    ]
    table = side_by_side(selected, published, sources)
    return replace(table, notes=(*table.notes, *absent_rows(definition, suites)))


def _of_source(source: SourceSpec, definition: Definition, results: Results) -> SuiteResults:
    """Return the results of a suite, or of the best trials of a study."""
    if source.suite:
        return results.suite(source.suite, definition.all_metrics)
    # The choice is over all seeds of a trial, whichever are shown.
    all_seeds = replace(results, selection=replace(results.selection, seeds=None))
    trials = all_seeds.suite(source.study, (*definition.all_metrics, "valid:mrr"))
    return best_trials(trials, results.selection.seeds)


def _tested(results: SuiteResults) -> tuple[str, ...]:
    """Return the datasets on which some row was tested."""
    return tuple(dict.fromkeys(r.dataset for r in results.results if r.records and not r.untested))


def sweep_figure(
    definition: FigureDefinition, results: Results, published: Published | None = None
) -> SweepFigure:
    """Return lines or heat maps of a suite; arguments as ``results_table``."""
    suite = results.suite(definition.suite, definition.all_metrics)
    swept = sweep(definition, of_model(definition, suite))
    if not swept.continuous:
        check_landmarks(definition, swept.points.values())
    selected = _select(_with_datasets(swept.definition, swept.results.datasets), results)
    table = assemble(selected, published or _published(definition), swept.results)
    points = tuple(swept.points[row.label] for row in table.rows)
    return SweepFigure(definition, table, points, swept.continuous)


def robustness_figure(definition: RobustnessDefinition, results: Results) -> Robustness:
    """Return the curves of a suite by the corruption of features."""
    diagnostics = tuple(map(weight_key, definition.weights))
    suite = results.suite(definition.suite, (definition.metric,), diagnostics=diagnostics)
    check_weights(definition, suite)
    # A table of the same datasets knows them by name and by title.
    table = Definition(
        name=definition.name,
        title=definition.title,
        suite=definition.suite,
        datasets=definition.datasets,
    )
    selected = _select(_with_datasets(table, suite.datasets), results)
    names = {dataset.name for dataset in selected.datasets}
    rows = tuple(result for result in suite.results if result.dataset in names)
    return Robustness(definition, replace(suite, results=rows))


def complexity_figure(definition: ComplexityDefinition, results: Results) -> Complexity:
    """Return the newest measurement of a benchmark; a selection of runs does not concern it."""
    return newest(results.store, definition, load_published())


def row_table(definition: RowsDefinition, results: Results, metrics: Sequence[str]) -> Table:
    """Return some numbers of the rows of a figure, without datasets and rows that have none.

    Raises:
        ConfigError: a row, a dataset or the table of ``rows_from`` does not exist.
    """
    table = _rows_definition(definition, results).model_copy(update={"metrics": tuple(metrics)})
    built = results_table(table, replace(results, tests=None))
    # Selected datasets are shown also where the definition does not list them.
    definition_datasets = () if results.selection.datasets else definition.datasets
    names = {dataset.name.lower() for dataset in definition_datasets}
    columns = [i for i, c in enumerate(built.columns) if not names or c.dataset.lower() in names]
    return without_empty(chosen_rows(built.only(columns), definition.rows, definition.name))


def _rows_definition(definition: RowsDefinition, results: Results) -> Definition:
    """Return the table that a figure of rows is drawn from: titles, groups and order alone.

    Its datasets are those of the figure, then, where datasets are selected, the others of the table
    of ``rows_from`` that have stored runs, with their titles.
    """
    fields: dict[str, Any] = {}
    plain: list[DatasetSpec] = []
    if definition.rows_from:
        source = _rows_from(definition)
        plain = [d.model_copy(update={"metrics": ()}) for d in source.datasets if not d.against]
        rows = [r.model_copy(update={"published": "", "attributes": {}}) for r in source.rows]
        fields = {"rows": tuple(rows), "others": source.others, "datasets": tuple(plain)}
    if definition.datasets:
        specs = {d.name: DatasetSpec(**d.model_dump()) for d in definition.datasets}
        if results.selection.datasets:
            stored = _stored_datasets((definition.suite,), results)
            specs |= {d.name: d for d in plain if d.name in stored - specs.keys()}
        fields["datasets"] = tuple(specs.values())
    return Definition(
        name=definition.name,
        title=definition.title,
        suite=definition.suite,
        footnotes=definition.footnotes,
        **fields,
    )


def _rows_from(definition: RowsDefinition | TuningEffortDefinition) -> Definition:
    """Return the table whose rows a definition shows.

    Raises:
        ConfigError: there is none, or it is no table of results.
    """
    source = load_definition(definition.rows_from)
    if not isinstance(source, Definition):
        origin = definition.origin(("rows_from",))
        raise ConfigError(f"{origin}: '{definition.rows_from}' is no table of results")
    return source


def pareto_figure(definition: ParetoDefinition, results: Results) -> Pareto:
    """Return rows of a suite by quality and cost."""
    metrics = (definition.metric, definition.cost)
    return Pareto(definition, row_table(definition, results, metrics))


def critical_figure(
    definition: CriticalDifferenceDefinition, results: Results
) -> CriticalDifference:
    """Return rows of a suite ranked over its datasets."""
    table = row_table(definition, results, (definition.metric,))
    return CriticalDifference(definition, table)


def learning_figure(definition: LearningDefinition, results: Results) -> Learning:
    """Return the validations of a suite's rows."""
    suite = results.suite(definition.suite, ("mrr", "valid:mrr", "cost.total"))
    table = _rows_definition(definition, results)
    if results.selection.datasets or not definition.datasets:
        table = _with_datasets(table, suite.datasets)
    datasets = _select(table, results).datasets
    names = {spec.name.lower() for spec in datasets}
    rows = tuple(result for result in suite.results if result.dataset.lower() in names)
    labels = {row.label.lower(): row.title or row.label for row in table.rows}
    return Learning(definition, replace(suite, results=rows), datasets, labels)


def datasets_table(definition: DatasetsDefinition, results: Results) -> Table:
    """Return the table of the selected datasets."""
    from harness.report.tables import datasets  # torch takes seconds to import

    return datasets.datasets_table(definition, load_published(), results.selection.datasets)


def tuning_effort_table(definition: TuningEffortDefinition, results: Results) -> Table:
    """Return the settings that the stored studies tried for each row of a table."""
    from harness.report.tables import tuning_effort  # torch takes seconds to import

    rows = _rows_from(definition)
    selected = _select(rows.model_copy(update={"name": definition.name}), results).datasets
    return tuning_effort.tuning_effort_table(definition, rows, selected, results)


BUILDERS: Mapping[type[ReportDefinition], Callable[[Any, Results], Table | Figure]] = {
    Definition: results_table,
    FigureDefinition: sweep_figure,
    RobustnessDefinition: robustness_figure,
    ParetoDefinition: pareto_figure,
    LearningDefinition: learning_figure,
    CriticalDifferenceDefinition: critical_figure,
    ComplexityDefinition: complexity_figure,
    DatasetsDefinition: datasets_table,
    TuningEffortDefinition: tuning_effort_table,
}
"""Builder of each kind of definition."""


def plain_table(
    results: Results,
    suite: str,
    source: str = "",
    *,
    run_ids: Collection[str] | None = None,
) -> Table:
    """Return the table of a suite without a definition: its rows by its datasets.

    Columns are MRR, Hit@1 and Hit@10; MRR of warm and cold queries where there are any; the
    published figures and the differences from them where a definition names some for this suite.

    Args:
        results: stored results.
        suite: name of the suite.
        source: name of the suite in notes, the file or name that the user gave.
        run_ids: runs to show; all when None.

    Raises:
        StoreError: the runs cannot stand in one table.
    """
    all_results = results.suite(suite, PLAIN_METRICS, source)
    if run_ids is not None:
        all_results = _only_runs(all_results, run_ids)
    # Trials of a study that were not chosen to be tested have nothing to show here.
    tested = replace(all_results, results=tuple(r for r in all_results.results if not r.untested))
    datasets = [DatasetSpec(name=d, metrics=_present(tested, d)) for d in tested.datasets]
    definition = Definition(name=suite, title=tested.title, suite=suite, datasets=tuple(datasets))
    if (definition_of_suite := _published_definition(suite)) is not None:
        rows = [
            RowSpec(label=row.label, published=row.published)
            for row in definition_of_suite.rows
            if row.published and row.label.lower() in {label.lower() for label in tested.labels}
        ]
        update = {"published": definition_of_suite.published, "rows": tuple(rows)}
        definition = definition.model_copy(update=update)
    selected = _select(definition, results)
    test = results.test_of(selected.name, tested)
    return assemble(selected, _published(selected), tested, test)


def study_table(results: Results, suite: str) -> Table:
    """Return the validation of the trials of a study that were not tested.

    Args:
        results: stored results.
        suite: name of the study.
    """
    all_results = results.suite(suite, VALID_METRICS)
    rows = replace(all_results, results=tuple(r for r in all_results.results if r.untested))
    datasets = tuple(DatasetSpec(name=d, metrics=VALID_METRICS) for d in rows.datasets)
    title = f"{rows.title}: trials on validation, none was tested"
    return assemble(Definition(name=suite, title=title, suite=suite, datasets=datasets), None, rows)


def _only_runs(results: SuiteResults, run_ids: Collection[str]) -> SuiteResults:
    """Keep some runs, and the rows that have any of them."""
    selected = [
        replace(row, runs=tuple(run for run in row.runs if run.run_id in run_ids))
        for row in results.results
    ]
    return replace(results, results=tuple(row for row in selected if row.runs))


def _published_definition(suite: str) -> Definition | None:
    """Return the first table of a suite alone that shows published figures."""
    for _, definition in readable_definitions():
        if (
            isinstance(definition, Definition)
            and definition.suite == suite
            and definition.published
            and not definition.sources
        ):
            return definition
    return None


def _published(definition: Definition | FigureDefinition) -> Published | None:
    return load_published() if definition.published else None


def _with_datasets(definition: Definition, stored: Sequence[str]) -> Definition:
    """Add the datasets that there are results of beside the listed ones."""
    own_names = {dataset.name.lower() for dataset in definition.datasets}
    further = [DatasetSpec(name=d) for d in stored if d.lower() not in own_names]
    return definition.model_copy(update={"datasets": (*definition.datasets, *further)})


def _select(definition: Definition, results: Results) -> Definition:
    """Keep the selected datasets, all when none is named."""
    names = results.selection.datasets
    selected: list[DatasetSpec] = []
    for name in names:
        matches = [d for d in definition.datasets if name.lower() in (d.name, d.title.lower())]
        if not matches:
            dataset_names = [d.name for d in definition.datasets]
            near_one = nearest(name, dataset_names) is not None
            choices = dataset_names if near_one else _stored_datasets(definition.suites, results)
            near = suggest(name, choices) or "; no run of its suites is stored"
            raise ConfigError(f"'{definition.name}' has no dataset '{name}'{near}")
        selected += matches
    if not names:
        return definition
    datasets = tuple(d for d in definition.datasets if d in selected)
    return definition.model_copy(update={"datasets": datasets})


def _stored_datasets(suites: Iterable[str], results: Results) -> set[str]:
    """Return the datasets on which suites have stored runs."""
    stored, variant = results.store.statuses(), results.selection.variant
    cells = (cell for suite in suites for cell in results.store.cells(suite, variant))
    return {cell.dataset for cell in cells if cell.run_id in stored}


def _present(results: SuiteResults, dataset: str) -> tuple[str, ...]:
    """Return the columns of a dataset: warm and cold only where some run has them."""
    records = [record for record in results.records if record.dataset == dataset]
    measured = {metric.key for record in records for metric in record.metrics}
    split = (metric for metric in SPLIT_METRICS if parse_metric(metric) in measured)
    return (*SUITE_METRICS, *split)
