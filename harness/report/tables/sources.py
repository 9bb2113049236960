"""One table of several suites and studies: for each metric a column of each, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.hypotheses import HypothesisTest
from harness.analysis.results import RowResult, SuiteResults, refuse_mixtures
from harness.report.definition import Definition, Published, RowSpec, SourceSpec
from harness.report.table import Table, TableRow
from harness.report.tables.results import assemble, row_specs

__all__ = ["Source", "definition_of", "side_by_side"]


@dataclass(frozen=True)
class Source:
    """One suite or study of the table.

    Attributes:
        spec: suite or study, with its title and note.
        results: its stored results; of a study the best trials.
        test: tests the hypotheses behind its marks; nothing is marked without.
    """

    spec: SourceSpec
    results: SuiteResults
    test: HypothesisTest | None = None


def definition_of(definition: Definition, source: SourceSpec) -> Definition:
    """Return the table that a source would have alone, without the footnotes of the whole."""
    alone = {"suite": source.name, "sources": (), "footnotes": ()}
    return definition.model_copy(update={"name": f"{definition.name}/{source.name}", **alone})


def side_by_side(
    definition: Definition, published: Published | None, sources: Sequence[Source]
) -> Table:
    """Return the table of a definition whose datasets are complete.

    Each source has the table that it would have alone, with marks of its own; their columns are put
    together metric by metric, and rows that only some have are empty in the others. A source of
    which no run on these datasets was asked for has no columns: a footnote says so.

    Args:
        definition: has the sources.
        published: figures for the rows that name some.
        sources: in its order.

    Raises:
        StoreError: the sources were ranked under different protocols, or on different versions of
            a dataset.
    """
    every = [source.results for source in sources]
    refuse_mixtures(definition.name, every)
    specs = _rows(definition, sources)
    tables = [
        assemble(definition_of(definition, s.spec), published, s.results, s.test, specs, every)
        for s in sources
    ]
    pairs = list(zip(sources, tables, strict=True))
    with_runs = [(source, table) for source, table in pairs if _of(table, source.results)] or pairs
    first = tables[0]
    columns = [
        replace(table.columns[i], source=source.spec.title)
        for i in range(len(first.columns))
        for source, table in with_runs
    ]
    joined = replace(
        first,
        name=definition.name,
        columns=tuple(columns),
        rows=tuple(map(_join, zip(*(table.rows for _, table in with_runs), strict=True))),
        notes=(*_notes(sources, tables), *definition.footnotes),
        tests=sum(table.tests for table in tables),
    )
    return joined.with_shared_notes()


def _rows(definition: Definition, sources: Sequence[Source]) -> list[RowSpec]:
    """Return the rows that any source has, each label once."""
    specs: dict[str, RowSpec] = {}
    for source in sources:
        for spec in row_specs(definition, source.results):
            specs.setdefault(spec.label.lower(), _with_model(spec, source.results))
    return list(specs.values())


def _with_model(spec: RowSpec, results: SuiteResults) -> RowSpec:
    """Return a row with its model, so that no source says that there is none."""
    models = (record.model for result in results.row(spec.label) for record in result.records)
    return spec.model_copy(update={"model": spec.model or next(models, "")})


def _join(rows: Sequence[TableRow]) -> TableRow:
    """Return one row of the rows that it has in every source."""
    cells = zip(*(row.cells for row in rows), strict=True)
    return replace(rows[0], cells=tuple(cell for metric in cells for cell in metric))


def _notes(sources: Sequence[Source], tables: Sequence[Table]) -> Iterator[str]:
    """Yield the notes of each source, then the notes shared by all sources with numbers (if there
    are several), and the notes on datasets."""
    measured = [set(table.notes) for table in tables if _measures(table)]
    shared = set.intersection(*measured) if len(measured) > 1 else set()
    titles = tuple(f"{column.dataset_title}: " for column in tables[0].columns)
    shared |= {note for notes in measured for note in notes if note.startswith(titles)}
    for source, table in zip(sources, tables, strict=True):
        spec, results = source.spec, source.results
        kind = "study" if spec.study else "suite"
        sentences = [f"{spec.note} ({kind} {spec.name})." if spec.note else f"{kind} {spec.name}."]
        if _measures(table):
            sentences += [note for note in table.notes if note not in shared]
        else:
            sentences.append(_why_nothing(table, results))
        yield f"{spec.title}: {' '.join(sentences)}"
    yield from (
        note for note in dict.fromkeys(n for t in tables for n in t.notes) if note in shared
    )


def _why_nothing(table: Table, results: SuiteResults) -> str:
    if any(result.untested for result in _of(table, results)):
        return f"Nothing tested: `{results.test_command}`."
    if results.left_out:
        return f"Nothing shown: {results.left_out}."
    return f"Nothing run: `{results.command}`."


def _of(table: Table, results: SuiteResults) -> list[RowResult]:
    """Return the results on the datasets of a table."""
    datasets = {column.dataset for column in table.columns}
    return [result for result in results.results if result.dataset in datasets]


def _measures(table: Table) -> bool:
    return any(cell.value is not None for row in table.rows for cell in row.cells)
