"""Tables and figures by name, and all tables and figures of a store."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import Results, Selection, only_validated
from harness.errors import ConfigError, HarnessError, suggest
from harness.report.build import build, plain_table, study_table
from harness.report.definition import ComplexityDefinition, SuiteDefinition
from harness.report.figure import Figure
from harness.report.files import (
    available,
    load_any,
    load_definition,
    load_figure,
    load_published,
    readable_definitions,
)
from harness.report.table import Table
from harness.report.tables.complexity import Complexity
from harness.store.base import ResultStore
from harness.store.benchmarks import BenchmarkRecord

__all__ = [
    "all_figures",
    "all_tables",
    "measurement_tables",
    "named_figure",
    "named_table",
    "prepare_tables",
    "suite_table",
    "suites_of",
    "variant_tables",
]


def named_figure(results: Results, name: str) -> Figure:
    """Return the figure of ``reports/<name>.yaml``, or of a file; errors as ``named_table``."""
    figure = build(load_figure(name), results)
    assert isinstance(figure, Figure), name
    return figure


def named_table(results: Results, name: str) -> Table:
    """Return the table of ``reports/<name>.yaml``, of a file, or the plain one of a suite.

    A study none of whose trials was tested has a table of their validation.

    Raises:
        ConfigError: there is no such definition and no such suite in the store, the definition
            holds a mistake, or a dataset is not in it.
        StoreError: the runs cannot stand in one table.
    """
    if _is_suite(results.store, name):
        return _suite_table(results, name)
    return _table(build(load_definition(name), results))


def _table(built: Table | Figure) -> Table:
    return built.table if isinstance(built, Figure) else built


def suites_of(store: ResultStore, name: str) -> tuple[str, ...]:
    """Return the suites that a table or figure shows; errors as ``named_table``."""
    return (name,) if _is_suite(store, name) else load_any(name).suites


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
    tests: PairedTests | None = None,
) -> Table:
    """Return the plain table of a suite, as ``plain_table``."""
    return plain_table(Results(store, Selection(variant), tests), suite, source)


def _raise(error: ConfigError) -> None:
    raise error


def all_tables(
    results: Results,
    on_untested: Callable[[str], None] = lambda suite: None,
    on_error: Callable[[ConfigError], None] = _raise,
) -> list[Table]:
    """Return the tables of all suites in the store: those of definitions, or a plain one.

    Tables without any of the selected datasets are left out; those of benchmarks have no datasets
    and no variants.

    Args:
        results: stored results.
        on_untested: receives each study that has no table, for none of its trials was tested.
        on_error: receives the mistake of each definition, whose table is left out; raises it by
            default.

    Raises:
        ConfigError: no table has the datasets.
        StoreError: the runs of a suite cannot stand in one table.
    """
    names = _table_names(on_error)
    tables: list[Table] = []
    for suite, selected in _suites(results).items():
        of_suite = list(_tables(selected, suite, names[suite], on_error))
        if not (of_suite or names[suite]):
            on_untested(suite)
        tables += of_suite
    return [*tables, *(figure.table for figure in _newest_measurements(results))]


def variant_tables(results: Results) -> list[Table]:
    """Return the tables of suites with ``--set``, whose titles name the settings.

    None where one variant is selected: ``all_tables`` has its tables.
    """
    selection = results.selection
    datasets: dict[tuple[str, str], set[str]] = defaultdict(set)
    for suite, variant, dataset in results.store.blocks():
        datasets[suite, variant].add(dataset.lower())
    tables = []
    for (suite, variant), stored in datasets.items():
        names = tuple(name for name in selection.datasets if name.lower() in stored)
        if selection.variant or not variant or (selection.datasets and not names):
            continue
        of_suite = replace(results, selection=replace(selection, variant=variant, datasets=names))
        tables.append(_suite_table(of_suite, suite))
    return tables


def _suite_table(results: Results, suite: str) -> Table:
    """Return the plain table of a suite; of a study without tests that of its validation."""
    untested = only_validated(results.suite(suite, ()).results)
    return (study_table if untested else plain_table)(results, suite)


def all_figures(results: Results, on_error: Callable[[ConfigError], None] = _raise) -> list[Figure]:
    """Return the figures of all suites in the store, and of benchmarks; as ``all_tables``."""
    suites = _suites(results)
    figures = []
    for name, definition in readable_definitions(on_error):
        if (
            isinstance(definition, SuiteDefinition)
            and definition.is_figure
            and definition.suite in suites
        ):
            try:
                figures.append(named_figure(suites[definition.suite], name))
            except ConfigError as error:
                on_error(error)
    return [*figures, *_newest_measurements(results)]


def _suites(results: Results) -> dict[str, Results]:
    """Return the suites that have something to show, with the selected datasets of each.

    Raises:
        ConfigError: none has the datasets.
    """
    selection = results.selection
    stored: dict[str, set[str]] = defaultdict(set)
    for suite, variant, dataset in results.store.blocks():
        if variant == selection.variant:
            stored[suite].add(dataset.lower())
    if not selection.datasets:
        return dict.fromkeys(stored, results)
    suites = {}
    for suite, datasets in stored.items():
        if selected := tuple(name for name in selection.datasets if name.lower() in datasets):
            suites[suite] = replace(results, selection=replace(selection, datasets=selected))
    if stored and not suites:
        names = ", ".join(selection.datasets)
        near = suggest(names, set().union(*stored.values()))
        raise ConfigError(f"no results on dataset '{names}'{near}")
    return suites


def _newest_measurements(results: Results) -> Iterator[Complexity]:
    """Yield the newest measurement of each benchmark; they have no datasets and no variants."""
    if results.selection.datasets or results.selection.variant:
        return
    newest = {record.suite: record for record in results.store.benchmarks()}
    for record in newest.values():
        yield from _figures_of(record)


def measurement_tables(record: BenchmarkRecord) -> list[Table]:
    """Return the tables that show a measurement."""
    return [figure.table for figure in _figures_of(record)]


def _figures_of(record: BenchmarkRecord) -> Iterator[Complexity]:
    published = load_published()
    for _, definition in readable_definitions():
        if isinstance(definition, ComplexityDefinition) and definition.benchmark == record.suite:
            yield Complexity(definition, published, record)


def prepare_tables(
    store: ResultStore, tests: PairedTests, suites: Iterable[tuple[str, str]] = ()
) -> None:
    """Test the hypotheses of the tables of suites, so that reports only read the results.

    Args:
        store: any store.
        tests: keeps the comparisons.
        suites: names and variants; all of the store when empty.
    """
    names = _table_names(lambda error: None)
    stored = dict.fromkeys((suite, variant) for suite, variant, _ in store.blocks())
    for suite, variant in tuple(suites) or stored:
        # The error of a suite whose table cannot be made is raised by its report.
        with contextlib.suppress(HarnessError):
            selected = Results(store, Selection(variant), tests)
            list(_tables(selected, suite, names[suite], lambda error: None))


def _table_names(on_error: Callable[[ConfigError], None]) -> Mapping[str, list[str]]:
    """Return the names of the tables of each suite."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, definition in readable_definitions(on_error):
        if isinstance(definition, SuiteDefinition) and definition.is_table:
            names[definition.suite].append(name)
    return names


def _tables(
    results: Results, suite: str, names: Sequence[str], on_error: Callable[[ConfigError], None]
) -> Iterator[Table]:
    """Yield the tables of a suite: those of definitions, or a plain one when some run is tested."""
    for name in names:
        try:
            table = named_table(results, name)
        except ConfigError as error:
            on_error(error)
        else:
            yield table
    if not names and not only_validated(results.suite(suite, ()).results):
        yield plain_table(results, suite)
