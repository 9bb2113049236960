"""Every table in every format and every figure, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from harness.analysis.query import Results, only_validated
from harness.errors import HarnessError
from harness.report.build import build, plain_table
from harness.report.definition import SuiteDefinition
from harness.report.figure import Figure
from harness.report.files import available, load_any
from harness.report.render import FORMATS, PICTURES, SUFFIXES, render, render_picture
from harness.report.table import Table

__all__ = ["Artefact", "artefacts"]


@dataclass(frozen=True)
class Artefact:
    """A table or a figure as files.

    Attributes:
        name: of the definition, or ``suite-NAME`` for a suite that has none.
        files: contents by file name.
        empty: why a figure has no picture, "" when it has one.
        error: reason why it cannot be made; it has no files then.
    """

    name: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    empty: str = ""
    error: HarnessError | None = None


def artefacts(results: Results) -> Iterator[Artefact]:
    """Yield the tables and figures of all definitions, then a table of each further suite.

    A table is a file per format; a figure is one per format of its data, its picture as PNG, PDF
    and SVG, and a LaTeX float that includes the PDF. A figure that is a table too has the files of
    both.
    """
    described: set[str] = set()
    for name in available():
        yield _attempt(name, partial(_described, results, name, described))
    variant = results.selection.variant
    suites = {suite for suite, of, _ in results.store.blocks() if of == variant}
    for suite in sorted(suites - described):
        yield _attempt(f"suite-{suite}", partial(_suite, results, suite))


def _described(results: Results, name: str, suites: set[str]) -> Artefact:
    """Return the artefact of a definition; its suite joins ``suites``."""
    definition = load_any(name)
    if isinstance(definition, SuiteDefinition):
        suites.add(definition.suite)
    built = build(definition, results)
    if isinstance(built, Table):
        return Artefact(name, _texts(name, built))
    texts = _texts(name, built.table if definition.is_table else built)
    return Artefact(name, {**texts, **_pictures(name, built)}, built.why_empty)


def _suite(results: Results, suite: str) -> Artefact:
    """Return the plain table of a suite; without files where a study has nothing tested yet."""
    name = f"suite-{suite}"
    if only_validated(results.suite(suite, ()).results):
        return Artefact(name)
    return Artefact(name, _texts(name, plain_table(results, suite)))


def _attempt(name: str, make: Callable[[], Artefact]) -> Artefact:
    """Return the artefact of ``make``, or its error: it does not stop the other artefacts."""
    try:
        return make()
    except HarnessError as error:
        return Artefact(name, error=error)


def _texts(name: str, content: Table | Figure) -> dict[str, str]:
    """Return a file per format; no LaTeX float for a figure that has no picture."""
    empty = isinstance(content, Figure) and content.why_empty
    formats = [format_ for format_ in FORMATS if format_ != "latex" or not empty]
    return {_file(name, format_): render(content, format_) for format_ in formats}


def _pictures(name: str, figure: Figure) -> dict[str, bytes]:
    formats = () if figure.why_empty else PICTURES
    return {_file(name, format_): render_picture(figure, format_) for format_ in formats}


def _file(name: str, format_: str) -> str:
    return f"{name}.{SUFFIXES.get(format_, format_)}"
