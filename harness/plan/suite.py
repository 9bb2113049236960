"""The typed form of ``suites/*.yaml``: models, datasets and seeds.

A suite is checked in two steps. Here its shape is checked: keys, types, repeated seeds. What its
settings mean for each run is checked when it is expanded (``harness.plan.expand``), which knows the
models and the datasets; both name file and line.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness.config.base import Config, KeyPath, SuiteName
from harness.config.storable import Text
from harness.config.yaml_source import SourcedConfig, read_yaml, validate
from harness.errors import ConfigError, suggest
from harness.plan.study import Study

__all__ = [
    "Ablation",
    "DatasetChoice",
    "Exclusion",
    "Override",
    "Row",
    "Scope",
    "Selector",
    "Settings",
    "Suite",
    "Variant",
    "Variation",
    "find_suite",
    "read_suite",
    "shipped_suites",
    "suite_argument",
]

Settings = dict[str, Any]
"""Values of a run specification, nested (``training: {epochs: 20}``) or with dots."""

RowLabel = Annotated[Text, Field(max_length=180)]
"""A label; two of them, of a row and its variation, fit into a cell of the result database."""

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A seed: any integer that the result database can hold."""


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else (value,)


def _names(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_more), _names({"type": "string"})]
"""One name or several."""
Seeds = Annotated[
    tuple[int, ...], BeforeValidator(_one_or_more), _names({"type": "integer", "minimum": 0})
]


class Scope(Config):
    """Rows and datasets: all that match every key given; a key not given matches all."""

    model: Names = ()
    """Models, by registered name."""
    dataset: Names = ()
    """Datasets, by name or alias."""
    label: Names = ()
    """Rows, by label."""


class Selector(Scope):
    """Some of a suite's cells."""

    features: Names = ()
    """Feature sets."""
    seed: Seeds = ()
    """Seeds."""


class Override(Config):
    """Settings for some cells."""

    when: Scope
    """The cells."""
    set: Settings
    """Their settings; of several overrides that match, the last wins."""


class Exclusion(Selector):
    """Cells that are not run."""

    reason: str = "excluded by the suite"
    """Printed where the cell would be."""


class Variant(Config):
    """A change to the base row of an ablation."""

    label: RowLabel
    """Row label."""
    set: Settings = Field(default_factory=dict)
    """Settings that differ from the base row."""
    drop: Names = ()
    """Modalities of the dataset's feature set that are left out."""


class Variation(Config):
    """A change to every row of the suite, which gives each row once more."""

    label: RowLabel
    """Follows the row's label after a comma."""
    set: Settings = Field(default_factory=dict)
    """Settings that differ from the row's; {} for the row as it is."""


class Row(Config):
    """One row of the table: a model and its settings. A model's name alone will do."""

    model: str
    """Registered name: ``harness models list``."""
    label: RowLabel | None = None
    """Row label; the model's title when not given."""
    set: Settings = Field(default_factory=dict)
    """Settings of this row; they win over ``base`` and ``overrides``."""
    drop: Names = ()
    """Modalities of the dataset's feature set that are left out."""
    varied: bool = True
    """Whether the suite's variations are for this row too; else it stands once, as it is."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Ablation(Config):
    """Leave-one-out rows: a base row and what is changed in each of the others."""

    base: Row
    """The full model; the first row."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    """The others, each with everything of the base row but what it changes."""


class DatasetChoice(Config):
    """A dataset and the features its models see. A dataset's name alone will do."""

    dataset: str
    """Dataset name or alias: ``harness data list``."""
    features: str | None = None
    """Feature set ("none", "names", "published", ...); ``base``'s when not given."""
    set: Settings = Field(default_factory=dict)
    """Settings on this dataset."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"dataset": value} if isinstance(value, str) else value


class Suite(SourcedConfig):
    """A suite of runs: rows x datasets x seeds, less exclusions."""

    name: SuiteName
    """Name under which results are kept and reported."""
    title: str = ""
    """Caption of the table."""
    base: Settings = Field(default_factory=dict)
    """Settings of all runs, nested or with dots; the defaults stand where nothing is said."""
    rows: tuple[Row, ...] = ()
    """Rows of the table."""
    ablation: Ablation | None = None
    """Leave-one-out rows, after ``rows``."""
    vary: tuple[Variation, ...] = ()
    """Each row is repeated with each of these changes (a curve over a setting)."""
    datasets: Annotated[tuple[DatasetChoice, ...], Field(min_length=1)]
    """Datasets."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds: of initial values, batches, negatives and dropout."""
    overrides: tuple[Override, ...] = ()
    """Settings per dataset and model."""
    exclude: tuple[Exclusion, ...] = ()
    """Cells that are not run."""
    study: Study | None = None
    """Settings to search for each row on each dataset: ``harness study run``."""

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if not self.rows and self.ablation is None:
            raise ValueError("needs rows or an ablation")
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"repeats a seed: {list(seeds)}")
        return seeds

    def is_included(self, path: KeyPath) -> bool:
        """Tell whether a value stands in another file, which the suite includes."""
        if self._document is None:
            return False
        return self._document.origin(path).file != self._document.origin(()).file


def read_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        ConfigError: the file cannot be read or does not describe a suite of runs; every misfit has
            a line ``file:line: key: what is wrong; did you mean 'x'?``.
    """
    document = read_yaml(path)
    if isinstance(document.data, dict) and "measures" in document.data:
        raise ConfigError(f"{path}: measures stages, not runs: `harness bench complexity`")
    suite = validate(document, Suite)
    suite._document = document
    return suite


def find_suite(name: str | Path) -> Path:
    """Return the file of a suite: a path, the name of a shipped one, or of a file beside.

    ``NAME`` also finds ``NAME.yaml``, so that commands which name a suite by what it is called
    work for a suite of the user's own in the folder it lies in.

    Raises:
        ConfigError: there is none; the message offers the nearest shipped name.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_suites()
    if str(name) in shipped:
        return shipped[str(name)]
    local = Path(f"{name}.yaml")
    if local.is_file():
        return local
    if path.is_dir():
        raise ConfigError(f"{name} is a folder; give the YAML file of a suite")
    raise ConfigError(
        f"there is no suite file {name} and no shipped suite of that name"
        f"{suggest(path.stem, shipped)}"
    )


def suite_argument(name: str) -> str:
    """Return the argument of ``harness run`` for a stored suite, for printed commands.

    Returns:
        The name, quoted, if it finds the suite's file from the current folder; else the placeholder
        "SUITE": the store does not keep where a suite's file was.
    """
    try:
        path = find_suite(name)
        is_found = name in shipped_suites() or read_suite(path).name == name
    except ConfigError:
        return "SUITE"
    return shlex.quote(name) if is_found else "SUITE"


def shipped_suites() -> dict[str, Path]:
    """Return the files of the shipped suites by name, sorted."""
    return {file.stem: file for file in sorted(shipped_folder().glob("*.yaml"))}


def shipped_folder() -> Path:
    """Return the folder of the shipped suites: inside the package, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "suites"
