"""From the store to a table."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import ConfigError, HarnessError, suggest
from harness.report.assemble import assemble
from harness.report.checks import (
    absent_rows,
    check_landmarks,
    check_models,
    check_weights,
    of_model,
)
from harness.report.comparing import Comparer
from harness.report.complexity import Complexity, newest
from harness.report.definition import (
    ComplexityDefinition,
    DatasetsDefinition,
    DatasetSpec,
    Definition,
    FigureDefinition,
    Published,
    RobustnessDefinition,
    SourceSpec,
    parse_metric,
    wanted,
)
from harness.report.figure import Figure
from harness.report.files import available, load_any, load_definition, load_figure, load_published
from harness.report.questions import Ask
from harness.report.results import Result, SeedRun, SuiteResults
from harness.report.robustness import Robustness, weight_key
from harness.report.side_by_side import Source, definition_of, side_by_side
from harness.report.sweep import sweep
from harness.report.table import Table
from harness.report.trials import best_trials
from harness.store.base import ResultStore
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell

__all__ = [
    "Selection",
    "all_figures",
    "all_tables",
    "fetch",
    "measurement_tables",
    "named_figure",
    "named_table",
    "only_validated",
    "plain_table",
    "prepare_tables",
    "report_figure",
    "report_table",
    "suite_of",
    "suite_table",
    "suites_of",
]

SUITE_METRICS = ("mrr", "hits@1", "hits@10")
SPLIT_METRICS = ("mrr/warm", "mrr/cold")
PLAIN_METRICS = (*SUITE_METRICS, *SPLIT_METRICS)
"""What is read for a table without a definition."""


@dataclass(frozen=True)
class Selection:
    """Which runs of a suite are shown.

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
        chosen = {"variant": self.variant, "seeds": seeds, "datasets": ",".join(self.datasets)}
        return " ".join(f"{name}={value}" for name, value in chosen.items() if value)


ALL = Selection()
Drawn = Figure | Complexity | Robustness


def fetch(
    store: ResultStore,
    suite: str,
    metrics: Iterable[str],
    selection: Selection = ALL,
    source: str = "",
    diagnostics: Collection[str] = (),
) -> SuiteResults:
    """Return what the store knows of a suite, on all its datasets; damaged records say so.

    Args:
        store: any store.
        suite: its name.
        metrics: what is read of the runs, as definitions write it ("mrr/cold").
        selection: which runs.
        source: what the user calls it on the command line; its name when not given.
        diagnostics: further numbers that are read of the runs, by name.

    Raises:
        StoreError: the runs cannot stand in one table (see :class:`SuiteResults`).
    """
    seeds = selection.seeds
    cells = [c for c in store.cells(suite, selection.variant) if seeds is None or c.seed in seeds]
    numbers = wanted(metrics)
    numbers = numbers._replace(diagnostics=numbers.diagnostics | set(diagnostics))
    found = store.outcomes({c.run_id for c in cells} - {""}, numbers)
    grouped: dict[tuple[str, str, str], dict[int, SeedRun]] = defaultdict(dict)
    for cell, label in zip(cells, _labels(cells), strict=True):
        known, damage = found.runs.get(cell.run_id), found.problems.get(cell.run_id, "")
        run = SeedRun(cell.seed, cell.run_id, known, cell.reason, damage)
        grouped[label, cell.dataset, cell.features][cell.seed] = run
    results = [
        Result(label, dataset, features, tuple(runs[seed] for seed in sorted(runs)))
        for (label, dataset, features), runs in grouped.items()
    ]
    return SuiteResults(suite, selection.variant, tuple(results), source)


def report_table(
    store: ResultStore,
    definition: Definition,
    published: Published | None = None,
    selection: Selection = ALL,
    comparer: Comparer | None = None,
) -> Table:
    """Return the table that a definition describes.

    Args:
        store: any store.
        definition: what to show.
        published: the published figures; needed when the definition names some.
        selection: which runs are shown.
        comparer: answers what decides the marks; nothing is marked without.

    Raises:
        ConfigError: a dataset is not in the table.
        StoreError: the runs cannot stand in one table.
    """
    if definition.sources:
        return _side_by_side(store, definition, published, selection, comparer)
    results = fetch(store, definition.suite, definition.all_metrics, selection)
    check_models(definition, [results])
    shown = _only(_with_datasets(definition, results.datasets), selection.datasets)
    table = assemble(shown, published, results, _ask(comparer, shown, results, selection))
    return replace(table, notes=(*table.notes, *absent_rows(definition, [results])))


def _side_by_side(
    store: ResultStore,
    definition: Definition,
    published: Published | None,
    selection: Selection,
    comparer: Comparer | None,
) -> Table:
    """Return the table of a definition with several sources; as ``report_table``."""
    held = [_of_source(store, source, definition, selection) for source in definition.sources]
    check_models(definition, held)
    # A study tries settings where nobody is to read a result: its datasets join once tested.
    further = dict.fromkeys(
        name
        for source, results in zip(definition.sources, held, strict=True)
        for name in (_tested(results) if source.study else results.datasets)
    )
    shown = _only(_with_datasets(definition, tuple(further)), selection.datasets)
    sources = [
        Source(spec, found, _ask(comparer, definition_of(shown, spec), found, selection))
        for spec, found in zip(definition.sources, held, strict=True)
    ]
    table = side_by_side(shown, published, sources)
    return replace(table, notes=(*table.notes, *absent_rows(definition, held)))


def _of_source(
    store: ResultStore, source: SourceSpec, definition: Definition, selection: Selection
) -> SuiteResults:
    """Return the results of a suite, or of the best trials of a study."""
    if source.suite:
        return fetch(store, source.suite, definition.all_metrics, selection)
    metrics = (*definition.all_metrics, "valid:mrr")
    # The choice is over all seeds of a trial, whichever are shown.
    every = fetch(store, source.study, metrics, replace(selection, seeds=None))
    return best_trials(every, selection.seeds)


def _tested(results: SuiteResults) -> tuple[str, ...]:
    """Return the datasets on which some row was tested."""
    return tuple(dict.fromkeys(r.dataset for r in results.results if r.records and not r.untested))


def report_figure(
    store: ResultStore,
    definition: FigureDefinition,
    published: Published | None = None,
    selection: Selection = ALL,
) -> Figure:
    """Return the figure that a definition describes; arguments and errors as ``report_table``."""
    results = fetch(store, definition.suite, definition.all_metrics, selection)
    swept = sweep(definition, of_model(definition, results))
    check_landmarks(definition, swept.points.values())
    shown = _only(_with_datasets(swept.definition, swept.results.datasets), selection.datasets)
    table = assemble(shown, published, swept.results)
    return Figure(definition, table, tuple(swept.points[row.label] for row in table.rows))


def report_robustness(
    store: ResultStore, definition: RobustnessDefinition, selection: Selection = ALL
) -> Robustness:
    """Return the curves that a definition describes; arguments and errors as ``report_table``."""
    weights = map(weight_key, definition.weights)
    results = fetch(
        store, definition.suite, (definition.metric,), selection, diagnostics=tuple(weights)
    )
    check_weights(definition, results)
    # A table of the same datasets knows them by name and by title.
    table = Definition(
        name=definition.name,
        title=definition.title,
        suite=definition.suite,
        datasets=definition.datasets,
    )
    shown = _only(_with_datasets(table, results.datasets), selection.datasets)
    names = {dataset.name for dataset in shown.datasets}
    kept = tuple(result for result in results.results if result.dataset in names)
    return Robustness(definition, replace(results, results=kept))


def named_figure(store: ResultStore, name: str, selection: Selection = ALL) -> Drawn:
    """Return the figure of ``reports/<name>.yaml``, or of a file; errors as ``named_table``."""
    definition = load_figure(name)
    if isinstance(definition, RobustnessDefinition):
        return report_robustness(store, definition, selection)
    if isinstance(definition, ComplexityDefinition):
        return newest(store, definition, load_published())
    published = load_published() if definition.published else None
    return report_figure(store, definition, published, selection)


def named_table(
    store: ResultStore,
    name: str,
    selection: Selection = ALL,
    comparer: Comparer | None = None,
) -> Table:
    """Return the table of ``reports/<name>.yaml``, of a file, or the plain one of a suite.

    Raises:
        ConfigError: there is no such definition and no such suite in the store, the definition
            holds a mistake, or a dataset is not in it.
        StoreError: the runs cannot stand in one table.
    """
    if _is_suite(store, name):
        return plain_table(store, name, selection, comparer=comparer)
    definition = load_definition(name)
    if isinstance(definition, ComplexityDefinition):
        return newest(store, definition, load_published()).table
    if isinstance(definition, RobustnessDefinition):
        return report_robustness(store, definition, selection).table
    if isinstance(definition, DatasetsDefinition):
        from harness.report.datasets import datasets_table  # torch takes seconds to import

        return datasets_table(definition, load_published(), selection.datasets)
    published = load_published() if definition.published else None
    return report_table(store, definition, published, selection, comparer)


def suite_of(store: ResultStore, name: str) -> str:
    """Return the suite that a table or figure shows, the first of several, "" of one that shows
    none.

    Raises:
        ConfigError: as ``named_table``.
    """
    return name if _is_suite(store, name) else getattr(load_any(name), "suite", "")


def suites_of(store: ResultStore, name: str) -> tuple[str, ...]:
    """Return all suites that a table or figure shows; errors as ``named_table``."""
    definition = None if _is_suite(store, name) else load_any(name)
    if isinstance(definition, Definition):
        return definition.suites
    suite = suite_of(store, name)
    return (suite,) if suite else ()


def _is_suite(store: ResultStore, name: str) -> bool:
    """Tell whether a name, which no definition has, is that of a suite in the store.

    Raises:
        ConfigError: it is neither, and no file; the message offers the nearest of both.
    """
    if name in available() or name.endswith((".yaml", ".yml")):
        return False
    suites = {suite for suite, _, _ in store.blocks()}
    if name not in suites:
        near = suggest(name, {*available(), *suites})
        raise ConfigError(f"unknown table, figure or suite '{name}'{near}")
    return True


def suite_table(
    store: ResultStore,
    suite: str,
    variant: str = "",
    *,
    source: str = "",
    comparer: Comparer | None = None,
) -> Table:
    """Return a table of what was run: the suite's rows by its datasets, without a definition.

    Columns are MRR, Hit@1 and Hit@10; MRR of warm and cold queries where there are any. Notes call
    the suite ``source``, the file or name that the user gave, or by its name.

    Raises:
        StoreError: the runs cannot stand in one table.
    """
    return plain_table(store, suite, Selection(variant), source, comparer)


def all_tables(
    store: ResultStore,
    selection: Selection = ALL,
    comparer: Comparer | None = None,
    on_untested: Callable[[str], None] = lambda suite: None,
) -> list[Table]:
    """Return the tables of all suites in the store: their definitions', or a plain one.

    Tables without any of the datasets that the selection names are left out; those of benchmarks
    have none, and no variants.

    Args:
        store: any store.
        selection: which runs are shown.
        comparer: answers what decides the marks; nothing is marked without.
        on_untested: told of each study that has no table, for none of its trials was tested.

    Raises:
        ConfigError: a definition holds a mistake, or no table has the datasets.
        StoreError: the runs of a suite cannot stand in one table.
    """
    suites, names = _suites(store, selection), _definitions()
    tables: list[Table] = []
    for suite, chosen in suites.items():
        own = list(_tables(store, suite, names[suite], chosen, comparer))
        if not own:
            on_untested(suite)
        tables += own
    return [*tables, *(shown.table for shown in _newest_measurements(store, selection))]


def all_figures(store: ResultStore, selection: Selection = ALL) -> list[Drawn]:
    """Return the figures of all suites in the store, and of benchmarks; as ``all_tables``."""
    suites = _suites(store, selection)
    figures = [
        named_figure(store, name, suites[definition.suite])
        for name in available()
        if isinstance(definition := load_any(name), FigureDefinition | RobustnessDefinition)
        and definition.suite in suites
    ]
    return [*figures, *_newest_measurements(store, selection)]


def _suites(store: ResultStore, selection: Selection) -> dict[str, Selection]:
    """Return the suites that have something to show, each with those of the datasets it has.

    Raises:
        ConfigError: none has the datasets.
    """
    held: dict[str, set[str]] = defaultdict(set)
    for suite, variant, dataset in store.blocks():
        if variant == selection.variant:
            held[suite].add(dataset.lower())
    if not selection.datasets:
        return dict.fromkeys(held, selection)
    found = {}
    for suite, datasets in held.items():
        if own := tuple(name for name in selection.datasets if name.lower() in datasets):
            found[suite] = replace(selection, datasets=own)
    if held and not found:
        given = ", ".join(selection.datasets)
        known = set().union(*held.values())
        raise ConfigError(f"no results on dataset '{given}'{suggest(given, known)}")
    return found


def _newest_measurements(store: ResultStore, selection: Selection) -> Iterator[Complexity]:
    """Yield the newest measurement of each benchmark; they have no datasets and no variants."""
    if selection.datasets or selection.variant:
        return
    newest_of = {record.suite: record for record in store.benchmarks()}
    for record in newest_of.values():
        yield from _shown_by(record)


def measurement_tables(record: BenchmarkRecord) -> list[Table]:
    """Return the tables that show a measurement."""
    return [shown.table for shown in _shown_by(record)]


def _shown_by(record: BenchmarkRecord) -> Iterator[Complexity]:
    published = load_published()
    for definition in map(load_any, available()):
        if isinstance(definition, ComplexityDefinition) and definition.benchmark == record.suite:
            yield Complexity(definition, published, record)


def prepare_tables(
    store: ResultStore, comparer: Comparer, suites: Iterable[tuple[str, str]] = ()
) -> None:
    """Have everything compared that the tables of suites need.

    Args:
        store: any store.
        comparer: keeps the comparisons.
        suites: names and variants; all that the store holds when empty.
    """
    names = _definitions()
    held = dict.fromkeys((suite, variant) for suite, variant, _ in store.blocks())
    for suite, variant in tuple(suites) or held:
        # A suite whose table cannot be made says so when it is asked for.
        with contextlib.suppress(HarnessError):
            list(_tables(store, suite, names[suite], Selection(variant), comparer))


def _definitions() -> Mapping[str, list[str]]:
    """Return the names of the tables of each suite."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in available():
        definition = load_any(name)
        if isinstance(definition, Definition | RobustnessDefinition):
            names[definition.suite].append(name)
    return names


def _tables(
    store: ResultStore,
    suite: str,
    names: Sequence[str],
    selection: Selection,
    comparer: Comparer | None,
) -> Iterator[Table]:
    for name in names:
        yield named_table(store, name, selection, comparer)
    if not names:
        results = fetch(store, suite, PLAIN_METRICS, selection)
        if not only_validated(results.results):
            yield _plain(results, selection, comparer)


def only_validated(results: Sequence[Result]) -> bool:
    """Tell whether a study has runs of a suite, none of which was chosen to be tested."""
    return any(r.untested for r in results) and all(r.untested or not r.planned for r in results)


def _ask(
    comparer: Comparer | None, definition: Definition, results: SuiteResults, selection: Selection
) -> Ask | None:
    """Return what answers the questions of a table."""
    if comparer is None or not results.records:
        return None
    return comparer.about(f"{definition.name} {selection}".strip(), results.records[0].protocol)


def plain_table(
    store: ResultStore,
    suite: str,
    selection: Selection,
    source: str = "",
    comparer: Comparer | None = None,
) -> Table:
    """Return what :func:`suite_table` does, of the runs of a selection."""
    results = fetch(store, suite, PLAIN_METRICS, selection, source)
    return _plain(results, selection, comparer)


def _plain(results: SuiteResults, selection: Selection, comparer: Comparer | None) -> Table:
    suite = results.suite
    # Trials of a study that were not chosen to be tested have nothing to show here.
    results = replace(results, results=tuple(r for r in results.results if not r.untested))
    datasets = [DatasetSpec(name=d, metrics=_present(results, d)) for d in results.datasets]
    title = f"Suite {suite}" + (f", variant {selection.variant}" if selection.variant else "")
    definition = Definition(name=suite, title=title, suite=suite, datasets=tuple(datasets))
    shown = _only(definition, selection.datasets)
    return assemble(shown, None, results, _ask(comparer, shown, results, selection))


def _labels(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield each cell's row label, with the feature set where a label has several on a dataset."""
    features: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in cells:
        features[cell.label, cell.dataset].add(cell.features)
    mixed = {label for (label, _), names in features.items() if len(names) > 1}
    for cell in cells:
        yield f"{cell.label} [{cell.features}]" if cell.label in mixed else cell.label


def _with_datasets(definition: Definition, held: Sequence[str]) -> Definition:
    """Add the datasets that there are results of beside the listed ones."""
    listed = {dataset.name.lower() for dataset in definition.datasets}
    further = [DatasetSpec(name=d) for d in held if d.lower() not in listed]
    return definition.model_copy(update={"datasets": (*definition.datasets, *further)})


def _only(definition: Definition, wanted: Sequence[str]) -> Definition:
    """Keep the wanted datasets, all when none is named."""
    kept: list[DatasetSpec] = []
    for name in wanted:
        found = [d for d in definition.datasets if name.lower() in (d.name, d.title.lower())]
        if not found:
            raise ConfigError(
                f"table '{definition.name}' has no dataset '{name}'"
                f"{suggest(name, [dataset.name for dataset in definition.datasets])}"
            )
        kept += found
    if not wanted:
        return definition
    datasets = tuple(d for d in definition.datasets if d in kept)
    return definition.model_copy(update={"datasets": datasets})


def _present(results: SuiteResults, dataset: str) -> tuple[str, ...]:
    """Return the columns of a dataset: warm and cold only where some run has them."""
    records = [record for record in results.records if record.dataset == dataset]
    held = {place for record in records for place in record.metrics}
    split = (metric for metric in SPLIT_METRICS if parse_metric(metric) in held)
    return (*SUITE_METRICS, *split)
