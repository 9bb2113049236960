"""Every table in every format and every figure, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import ALL, Selection, fetch, only_validated
from harness.errors import HarnessError
from harness.report.definition import (
    ComplexityDefinition,
    FigureDefinition,
    RobustnessDefinition,
)
from harness.report.files import available, load_any
from harness.report.query import named_figure, named_table, plain_table
from harness.report.render import FORMATS, PICTURES, SUFFIXES, Drawn, render, render_picture
from harness.report.table import Table
from harness.store.base import ResultStore

__all__ = ["Artefact", "artefacts"]


@dataclass(frozen=True)
class Artefact:
    """A table or a figure as files.

    Attributes:
        name: of the definition, or ``suite-NAME`` for a suite that has none.
        files: contents by file name.
        empty: why a figure has no picture, "" when it has one.
        error: what keeps it from being made; it has no files then.
    """

    name: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    empty: str = ""
    error: HarnessError | None = None


def artefacts(
    store: ResultStore, selection: Selection = ALL, tests: PairedTests | None = None
) -> Iterator[Artefact]:
    """Yield the tables and figures of all definitions, then a table of each further suite.

    A table is a file per format; a figure is one per format of its data, its picture as PNG, PDF
    and SVG, and a LaTeX float that includes the PDF. What is both has the files of both.
    """
    described: set[str] = set()
    for name in available():
        yield _made(name, partial(_described, store, name, selection, described, tests))
    suites = {suite for suite, variant, _ in store.blocks() if variant == selection.variant}
    for suite in sorted(suites - described):
        yield _made(f"suite-{suite}", partial(_suite, store, suite, selection, tests))


def _described(
    store: ResultStore,
    name: str,
    selection: Selection,
    suites: set[str],
    tests: PairedTests | None,
) -> Artefact:
    """Return the artefact of a definition; its suite joins ``suites``."""
    definition = load_any(name)
    suites.add(getattr(definition, "suite", ""))
    if isinstance(definition, FigureDefinition):
        return _figure(named_figure(store, name, selection))
    if isinstance(definition, ComplexityDefinition | RobustnessDefinition):
        drawn = named_figure(store, name, selection)
        table = _table(name, drawn.table)
        pictures = {} if drawn.why_empty else _pictures(drawn)
        return Artefact(name, {**table.files, **pictures}, drawn.why_empty)
    return _table(name, named_table(store, name, selection, tests))


def _suite(
    store: ResultStore, suite: str, selection: Selection, tests: PairedTests | None
) -> Artefact:
    """Return the plain table of a suite; without files where a study has nothing tested yet."""
    name = f"suite-{suite}"
    if only_validated(fetch(store, suite, (), selection).results):
        return Artefact(name)
    return _table(name, plain_table(store, suite, selection, tests=tests))


def _made(name: str, make: Callable[[], Artefact]) -> Artefact:
    """Return what ``make`` makes; one artefact that cannot be made does not stop the others."""
    try:
        return make()
    except HarnessError as error:
        return Artefact(name, error=error)


def _table(name: str, table: Table) -> Artefact:
    return Artefact(name, {_file(name, format_): render(table, format_) for format_ in FORMATS})


def _figure(figure: Drawn) -> Artefact:
    name, empty = figure.table.name, figure.why_empty
    formats = [format_ for format_ in FORMATS if format_ != "latex" or not empty]
    files: dict[str, str | bytes] = {_file(name, f): render(figure, f) for f in formats}
    if not empty:
        files |= _pictures(figure)
    return Artefact(name, files, empty)


def _pictures(figure: Drawn) -> dict[str, str | bytes]:
    return {_file(figure.table.name, f): render_picture(figure, f) for f in PICTURES}


def _file(name: str, format_: str) -> str:
    return f"{name}.{SUFFIXES.get(format_, format_)}"
