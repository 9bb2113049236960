"""Where definitions, published figures and templates are, and how they are read.

In a checkout they lie in ``reports/`` beside the package; an installed package carries them as
``harness.reports``. Definitions in ``reports/`` of the working directory come first.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from pathlib import Path

from harness.config.yaml_source import load_yaml, read_yaml, validate
from harness.errors import ConfigError, suggest
from harness.report.definition import (
    ComplexityDefinition,
    DatasetsDefinition,
    Definition,
    FigureDefinition,
    Published,
    RobustnessDefinition,
)

__all__ = [
    "AnyDefinition",
    "available",
    "find",
    "load_any",
    "load_definition",
    "load_figure",
    "load_published",
    "shipped_folder",
]

TableDefinition = Definition | DatasetsDefinition | ComplexityDefinition | RobustnessDefinition
PictureDefinition = FigureDefinition | ComplexityDefinition | RobustnessDefinition
AnyDefinition = TableDefinition | PictureDefinition

FOLDER = Path("reports")
PUBLISHED = "published"


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
    found: dict[str, Path] = {}
    for folder in (FOLDER, shipped_folder()):
        for path in folder.glob("*.yaml"):
            if path.stem != PUBLISHED:
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


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
    known = available()
    if name not in known:
        raise ConfigError(f"unknown table or figure '{name}'{suggest(name, known)}")
    return known[name]


def load_any(name: str) -> AnyDefinition:
    """Read and check the definition of a table or a figure.

    Raises:
        ConfigError: it does not exist or holds a mistake (the message names file and line).
    """
    path = find(name)
    return _definition(path.resolve(), path)


def load_definition(name: str) -> TableDefinition:
    """Read and check the definition of a table.

    Raises:
        ConfigError: as ``load_any``; or it is a figure.
    """
    definition = load_any(name)
    if isinstance(definition, FigureDefinition):
        raise ConfigError(f"'{name}' is a figure, not a table: --figure {name}")
    return definition


def load_figure(name: str) -> PictureDefinition:
    """Read and check the definition of a figure.

    Raises:
        ConfigError: as ``load_any``; or it is a table.
    """
    definition = load_any(name)
    if not isinstance(definition, PictureDefinition):
        raise ConfigError(f"'{name}' is a table, not a figure: --table {name}")
    return definition


@cache
def _definition(resolved: Path, path: Path) -> AnyDefinition:
    """Read a definition once; ``resolved`` tells it from another working directory's."""
    document = read_yaml(path)
    if isinstance(document.data, dict) and "name" in document.data:
        raise ConfigError(
            f"{document.origin(('name',))}: name: a definition is called as its file is, "
            f"'{path.stem}'; leave it out"
        )
    definition = validate(document, _kind(document.data))
    if isinstance(definition, ComplexityDefinition):
        _check_claims(path, definition)
    elif isinstance(definition, Definition | FigureDefinition):
        _check_published(path, definition)
    return definition.model_copy(update={"name": path.stem})


def _kind(data: object) -> type[AnyDefinition]:
    """Return what a file describes, told by the key that only this kind has."""
    keys = data if isinstance(data, dict) else {}
    kinds: dict[str, type[AnyDefinition]] = {
        "figure": FigureDefinition,
        "statistics": DatasetsDefinition,
        "benchmark": ComplexityDefinition,
        "conditions": RobustnessDefinition,
    }
    return next((kind for key, kind in kinds.items() if key in keys), Definition)


def load_published() -> Published:
    """Read the published figures (those of the working directory first)."""
    own = FOLDER / f"{PUBLISHED}.yaml"
    return _published((own if own.is_file() else shipped_folder() / own.name).resolve())


@cache
def _published(path: Path) -> Published:
    return load_yaml(path, Published)


def _check_published(path: Path, definition: Definition | FigureDefinition) -> None:
    """Refuse names that the published figures do not have."""
    rows = definition.rows if isinstance(definition, Definition) else ()
    wanted = [row.published for row in rows if row.published]
    if not definition.published:
        if wanted:
            raise ConfigError(f"{path}: rows name published figures, but 'published' is not set")
        return
    tables = load_published().tables
    if definition.published not in tables:
        name = definition.published
        raise ConfigError(f"{path}: published: no table '{name}'{suggest(name, tables)}")
    known = tables[definition.published].rows
    if isinstance(definition, Definition) and not wanted:
        raise ConfigError(
            f"{path}: published: no row names a row of table '{definition.published}'; give rows "
            "the key 'published', or leave it out"
        )
    for name in wanted:
        if name not in known:
            raise ConfigError(f"{path}: rows: no published row '{name}'{suggest(name, known)}")


def _check_claims(path: Path, definition: ComplexityDefinition) -> None:
    """Refuse claims that the published ones do not have."""
    claims = load_published().complexity.claims
    for row in definition.rows:
        if row.claim and row.claim not in claims:
            name = row.claim
            raise ConfigError(f"{path}: rows: no published claim '{name}'{suggest(name, claims)}")
