"""Definitions of tables and figures, published figures and templates, read from their files.

In a checkout they lie in ``reports/`` beside the package; an installed package carries them as
``harness.reports``. Definitions in ``reports/`` of the working directory come first.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from harness.config.yaml_source import Document, load_yaml, read_yaml, validate
from harness.errors import ConfigError, suggest
from harness.report.definition import (
    ComplexityDefinition,
    DatasetsDefinition,
    Definition,
    FigureDefinition,
    Published,
    ReportDefinition,
    RobustnessDefinition,
)
from harness.report.kinds import plugin_kinds, report_problem
from harness.report.row_definitions import (
    CriticalDifferenceDefinition,
    LearningDefinition,
    ParetoDefinition,
    TuningEffortDefinition,
)

__all__ = [
    "FIGURES",
    "KINDS",
    "available",
    "find",
    "load_any",
    "load_definition",
    "load_figure",
    "load_published",
    "readable_definitions",
    "shipped_folder",
    "suites_by_table",
]

FOLDER = Path("reports")
PUBLISHED = "published"
KINDS: tuple[type[ReportDefinition], ...] = (
    DatasetsDefinition,
    ComplexityDefinition,
    RobustnessDefinition,
    TuningEffortDefinition,
)
"""Kinds of definitions that have a key of their own, beside those with the key ``figure``; all
others are a :class:`Definition`."""
FIGURES: dict[str, type[ReportDefinition]] = {
    "lines": FigureDefinition,
    "heatmap": FigureDefinition,
    "pareto": ParetoDefinition,
    "learning": LearningDefinition,
    "critical_difference": CriticalDifferenceDefinition,
}
"""Kind of a definition by its key ``figure``."""


@cache
def shipped_folder() -> Path:
    """Return the folder of the shipped definitions."""
    try:
        package = importlib.resources.files("harness.reports")
    except ModuleNotFoundError:
        return Path(__file__).resolve().parents[2] / "reports"
    with importlib.resources.as_file(package / f"{PUBLISHED}.yaml") as file:
        return file.parent


def available() -> dict[str, Path]:
    """Return all definitions by name, sorted; those of the working directory hide shipped ones."""
    paths: dict[str, Path] = {}
    for folder in (FOLDER, shipped_folder()):
        for path in folder.glob("*.yaml"):
            if path.stem != PUBLISHED:
                paths.setdefault(path.stem, path)
    return dict(sorted(paths.items()))


def suites_by_table() -> dict[str, str]:
    """Return the suite of each table and figure by name, the first of several, "" without one."""
    return {name: getattr(definition, "suite", "") for name, definition in readable_definitions()}


def find(name: str) -> Path:
    """Return the file of a definition, given its name or its path.

    Raises:
        ConfigError: there is none; the message offers the nearest name.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such report definition")
        return path
    definitions = available()
    if name not in definitions:
        raise ConfigError(f"unknown table or figure '{name}'{suggest(name, definitions)}")
    return definitions[name]


def load_any(name: str) -> ReportDefinition:
    """Read and check the definition of a table or a figure.

    Raises:
        ConfigError: it does not exist or holds a mistake (the message names file and line).
    """
    path = find(name)
    return _definition(path.resolve(), path)


def readable_definitions(
    on_error: Callable[[ConfigError], None] = lambda error: None,
) -> Iterator[tuple[str, ReportDefinition]]:
    """Yield all definitions with their names, sorted, without those that hold a mistake.

    Args:
        on_error: receives the mistake of each definition that is left out.
    """
    for name in available():
        try:
            definition = load_any(name)
        except ConfigError as error:
            on_error(error)
        else:
            yield name, definition


def load_definition(name: str) -> ReportDefinition:
    """Read and check the definition of a table.

    Raises:
        ConfigError: as ``load_any``; or it is a figure.
    """
    definition = load_any(name)
    if not definition.is_table:
        raise ConfigError(f"'{name}' is a figure, not a table: --figure {name}")
    return definition


def load_figure(name: str) -> ReportDefinition:
    """Read and check the definition of a figure.

    Raises:
        ConfigError: as ``load_any``; or it is a table.
    """
    definition = load_any(name)
    if not definition.is_figure:
        raise ConfigError(f"'{name}' is a table, not a figure: --table {name}")
    return definition


@cache
def _definition(resolved: Path, path: Path) -> ReportDefinition:
    """Read a definition once; ``resolved`` tells it from another working directory's."""
    document = read_yaml(path)
    if isinstance(document.data, dict) and "name" in document.data:
        raise ConfigError(
            f"{document.origin(('name',))}: name: a definition is called as its file is, "
            f"'{path.stem}'; leave it out"
        )
    definition = validate(document, _kind(document))
    if isinstance(definition, ComplexityDefinition):
        _check_claims(path, definition)
    elif isinstance(definition, Definition | FigureDefinition):
        _check_published(path, definition)
    return definition.of_file(path.stem, document)


def _kind(document: Document) -> type[ReportDefinition]:
    """Return the kind of a definition, by the key that only this kind has.

    Raises:
        ConfigError: ``figure`` is no kind of figure.
    """
    keys = document.data if isinstance(document.data, dict) else {}
    if "figure" in keys:
        figure = str(keys["figure"])
        if figure in FIGURES:
            return FIGURES[figure]
        kinds = plugin_kinds()
        if figure in kinds:
            return kinds[figure].definition
        problem = report_problem(figure) or f"unknown kind '{figure}'{suggest(figure, FIGURES)}"
        raise ConfigError(f"{document.origin(('figure',))}: figure: {problem}")
    return next((kind for kind in KINDS if kind.key in keys), Definition)


def load_published() -> Published:
    """Read the published figures (those of the working directory first)."""
    local = FOLDER / f"{PUBLISHED}.yaml"
    return _published((local if local.is_file() else shipped_folder() / local.name).resolve())


@cache
def _published(path: Path) -> Published:
    return load_yaml(path, Published)


def _check_published(path: Path, definition: Definition | FigureDefinition) -> None:
    """Refuse names that the published figures do not have."""
    rows = definition.rows if isinstance(definition, Definition) else ()
    names = [row.published for row in rows if row.published]
    if not definition.published:
        if names:
            raise ConfigError(f"{path}: rows name published figures, but 'published' is not set")
        return
    tables = load_published().tables
    if definition.published not in tables:
        name = definition.published
        raise ConfigError(f"{path}: published: no table '{name}'{suggest(name, tables)}")
    row_names = tables[definition.published].rows
    if isinstance(definition, Definition) and not names:
        raise ConfigError(
            f"{path}: published: no row names a row of table '{definition.published}'; give rows "
            "the key 'published', or leave it out"
        )
    for name in names:
        if name not in row_names:
            raise ConfigError(f"{path}: rows: no published row '{name}'{suggest(name, row_names)}")


def _check_claims(path: Path, definition: ComplexityDefinition) -> None:
    """Refuse claims that the published ones do not have."""
    claims = load_published().complexity.claims
    for row in definition.rows:
        if row.claim and row.claim not in claims:
            name = row.claim
            raise ConfigError(f"{path}: rows: no published claim '{name}'{suggest(name, claims)}")
