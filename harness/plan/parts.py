"""The parts of a suite with their names looked up: rows with models, datasets with sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness.config.base import KeyPath, dotted_keys
from harness.data.card import DatasetSource
from harness.errors import ConfigError, suggest
from harness.model import MODELS, Model
from harness.plan.select import SourceOf, canonical
from harness.plan.settings import Setting, from_overrides, from_suite, setting_at
from harness.plan.suite import Exclusion, Row, Scope, Suite, Variant, Variation

__all__ = ["Column", "Errors", "Line", "Parts", "Scoped", "resolve", "searched_setting"]

A = TypeVar("A")
B = TypeVar("B")
S = TypeVar("S", bound=Scope)


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    position: int
    label: str
    name: str
    model: type[Model]
    settings: tuple[Setting, ...]
    drop: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A dataset."""

    source: DatasetSource
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Scoped:
    """Settings for some rows and datasets."""

    scope: Scope
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Parts:
    """A suite, its names looked up; ``command`` holds the settings of the command line."""

    base: tuple[Setting, ...]
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    overrides: tuple[Scoped, ...]
    exclusions: tuple[Exclusion, ...]
    command: tuple[Setting, ...]


class Errors:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Keep a message; the same twice is one."""
        self._lines |= dict.fromkeys(message.splitlines())

    def each(self, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """Return the results of ``work``; keep the errors of the items that have none."""
        results = []
        for item in items:
            try:
                results.append(work(item))
            except ConfigError as error:
                self.add(str(error))
        return results

    def check(self) -> None:
        """Raise one ConfigError with everything that was kept."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))


def resolve(suite: Suite, overrides: Mapping[str, Any], source_of: SourceOf) -> Parts:
    """Look up models and datasets and take the settings apart.

    Raises:
        ConfigError: everything that is wrong with names and keys, each with file and line.
    """
    errors = Errors()
    parts = _Resolver(suite, source_of)
    base = errors.each(lambda s: from_suite(suite, s, ("base",), strict=False), [suite.base])
    lines = errors.each(lambda item: parts.line(*item), enumerate(parts.rows()))
    columns = errors.each(parts.column, range(len(suite.datasets)))
    scoped = errors.each(parts.scoped, range(len(suite.overrides)))
    exclusions = errors.each(parts.exclusion, range(len(suite.exclude)))
    command = errors.each(from_overrides, [overrides])
    _check_labels(suite, parts.rows(), lines, errors)
    shared = [s for settings in (*base, *command) for s in settings]
    shared += [s for column in columns for s in column.settings]
    shared += [s for override in scoped for s in override.settings]
    shared += [s for line in lines for s in line.settings]  # strict ones are not looked at
    searched = suite.study.space if suite.study else ()
    shared += errors.each(lambda key: searched_setting(suite, key), searched)
    if len(lines) == len(parts.rows()):
        _check_options(shared, lines, errors)
    errors.check()
    return Parts(
        base[0], tuple(lines), tuple(columns), tuple(scoped), tuple(exclusions), command[0]
    )


@dataclass(frozen=True)
class _RowAt:
    """A row, the variant and the variation it is changed by, and where they stand."""

    path: KeyPath
    row: Row
    variant_path: KeyPath = ()
    variant: Variant | None = None
    variation_path: KeyPath = ()
    variation: Variation | None = None


@dataclass(frozen=True)
class _Resolver:
    suite: Suite
    source_of: SourceOf

    def rows(self) -> list[_RowAt]:
        rows = [_RowAt(("rows", i), row) for i, row in enumerate(self.suite.rows)]
        if self.suite.ablation is not None:
            path, base = ("ablation", "base"), self.suite.ablation.base
            rows.append(_RowAt(path, base))
            rows += [
                _RowAt(path, base, ("ablation", "variants", i), variant)
                for i, variant in enumerate(self.suite.ablation.variants)
            ]
        return [varied for row in rows for varied in self._varied(row)]

    def _varied(self, item: _RowAt) -> list[_RowAt]:
        if not (self.suite.vary and item.row.varied):
            return [item]
        return [
            replace(item, variation_path=("vary", i), variation=variation)
            for i, variation in enumerate(self.suite.vary)
        ]

    def line(self, position: int, item: _RowAt) -> Line:
        model = self._at((*item.path, "model"), lambda: MODELS.get(item.row.model))
        settings = from_suite(self.suite, item.row.set, (*item.path, "set"), strict=True)
        label, drop = item.row.label or model.capabilities.title, item.row.drop
        if item.variant is not None:
            path = (*item.variant_path, "set")
            settings += from_suite(self.suite, item.variant.set, path, strict=True)
            label, drop = item.variant.label, drop + item.variant.drop
        if item.variation is not None:
            path = (*item.variation_path, "set")
            settings += from_suite(self.suite, item.variation.set, path, strict=False)
            label = f"{label}, {item.variation.label}"
        return Line(position, label, item.row.model, model, settings, drop)

    def column(self, number: int) -> Column:
        choice, path = self.suite.datasets[number], ("datasets", number)
        source = self._at((*path, "dataset"), lambda: self.source_of(choice.dataset))
        settings = from_suite(self.suite, choice.set, (*path, "set"), strict=False)
        if choice.features is not None:
            where = self.suite.where((*path, "features"))
            features = Setting(("data", "features"), choice.features, where, strict=True)
            settings = (features, *settings)
        return Column(source, settings)

    def scoped(self, number: int) -> Scoped:
        override, path = self.suite.overrides[number], ("overrides", number)
        scope = self._scope(override.when, (*path, "when"))
        strict = bool(scope.model or scope.label)
        return Scoped(scope, from_suite(self.suite, override.set, (*path, "set"), strict=strict))

    def exclusion(self, number: int) -> Exclusion:
        return self._scope(self.suite.exclude[number], ("exclude", number))

    def _scope(self, scope: S, path: KeyPath) -> S:
        def known_models() -> list[type[Model]]:
            return [MODELS.get(name) for name in scope.model]

        self._at((*path, "model"), known_models)
        return self._at((*path, "dataset"), lambda: canonical(scope, self.source_of))

    def _at(self, path: KeyPath, work: Callable[[], B]) -> B:
        """Put the place in the suite before the message of an error."""
        try:
            return work()
        except ConfigError as error:
            raise ConfigError(f"{self.suite.where(path)}: {error}") from None


def searched_setting(suite: Suite, key: str, value: Any = None) -> Setting:
    """Return a value that the suite's study tries.

    Raises:
        ConfigError: it belongs to an axis of the suite.
    """
    where = suite.where(("study", "space", key))
    return setting_at(tuple(key.split(".")), value, where, strict=False)


def _check_labels(suite: Suite, rows: list[_RowAt], lines: Iterable[Line], errors: Errors) -> None:
    seen: set[str] = set()
    for line in lines:
        if line.label in seen:
            at = rows[line.position]
            where = suite.where(at.variation_path or at.variant_path or at.path)
            errors.add(
                f"{where}: two rows are called '{line.label}'; give one of them another label"
            )
        seen.add(line.label)


def _check_options(settings: Iterable[Setting], lines: Iterable[Line], errors: Errors) -> None:
    """An option for whichever models have it must be one that some model has."""
    configs = {line.name: line.model.Config for line in lines}.values()
    known = {field for config in configs for field in config.model_fields}
    for setting in settings:
        if setting.strict or setting.path[0] != "model" or setting.path[1] in known:
            continue
        options = {key for config in configs for key in dotted_keys(config)}
        inner = [k for k in options if k.rsplit(".", 1)[-1] == setting.path[-1]]
        hint = f"; did you mean 'model.{inner[0]}'?" if inner else suggest(setting.path[1], known)
        errors.add(
            f"{setting.where}: no model of this suite has an option '{setting.path[1]}'{hint}"
        )
