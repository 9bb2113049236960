"""A suite with its names looked up: rows with models, datasets with sources, settings as layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from harness.config.base import KeyPath, dotted_keys
from harness.config.override import Path, Setting, dotted
from harness.data.card import DatasetSource
from harness.errors import ConfigError, suggest
from harness.model import MODELS, Model
from harness.plan.select import SourceOf, canonical
from harness.plan.settings import check_axis, from_overrides, from_suite
from harness.plan.spec import DataSpec
from harness.plan.suite import Exclusion, Row, Scope, Suite, Variant, Variation

__all__ = ["Errors", "Layer", "ResolvedSuite", "SuiteRow", "resolve", "searched_setting"]

Layer = tuple[Setting, ...]
"""Settings that are given together."""
_Change = tuple[KeyPath, Row | Variant | Variation]
"""A row, or a change to it, with its path in the suite."""

A = TypeVar("A")
B = TypeVar("B")
S = TypeVar("S", bound=Scope)


class SuiteRow(NamedTuple):
    """A row of the table.

    Attributes:
        position: number of the row, from 0.
        label: row label.
        model_name, model: the model.
        settings: settings of the row, its variant and its variation.
        drop: modalities that are left out.
    """

    position: int
    label: str
    model_name: str
    model: type[Model]
    settings: Layer
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResolvedSuite:
    """A suite, its names looked up.

    Attributes:
        suite: the suite as it was read.
        base: settings of all runs.
        rows: rows of the table.
        datasets: each dataset with its settings.
        overrides: settings for the cells of a scope.
        exclusions: cells that are not run.
        command: settings of the command line.
        variant: digest that names them, "" without any.
    """

    suite: Suite
    base: Layer
    rows: tuple[SuiteRow, ...]
    datasets: tuple[tuple[DatasetSource, Layer], ...]
    overrides: tuple[tuple[Scope, Layer], ...]
    exclusions: tuple[Exclusion, ...]
    command: Layer
    variant: str = ""


class Errors:
    """Collects errors, so that a user reads all of them at once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Keep a message; equal ones are kept once."""
        self._lines |= dict.fromkeys(message.splitlines())

    def collect(self, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """Return the results of ``work``; keep the errors of the items that have none."""
        results = []
        for item in items:
            try:
                results.append(work(item))
            except ConfigError as error:
                self.add(str(error))
        return results

    def check(self) -> None:
        """Raise one ConfigError with all messages."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))


def resolve(suite: Suite, overrides: Mapping[str, Any], source_of: SourceOf) -> ResolvedSuite:
    """Look up models and datasets and take the settings apart.

    Raises:
        ConfigError: all problems of names and keys, each with file and line.
    """
    errors, resolver = Errors(), _Resolver(suite, source_of)
    changes = _changes(suite)
    base = errors.collect(lambda s: from_suite(suite, s, ("base",), strict=False), [suite.base])
    rows = errors.collect(lambda item: resolver.row(*item), enumerate(changes))
    datasets = errors.collect(resolver.dataset, range(len(suite.datasets)))
    scoped = errors.collect(resolver.override, range(len(suite.overrides)))
    exclusions = errors.collect(resolver.exclusion, range(len(suite.exclude)))
    command = errors.collect(from_overrides, [overrides])
    _check_labels(suite, changes, rows, errors)
    if len(datasets) == len(suite.datasets):
        _check_datasets(suite, base[0] if base else (), datasets, errors)
    layers = [*base, *command, *(s for _, s in datasets), *(s for _, s in scoped)]
    layers += [row.settings for row in rows]
    searched = suite.study.space if suite.study else ()
    layers.append(tuple(errors.collect(lambda key: searched_setting(suite, key), searched)))
    if len(rows) == len(changes):
        _check_options([s for layer in layers for s in layer if not s.strict], rows, errors)
    scopes: list[tuple[KeyPath, Scope]] = [
        *((("overrides", i, "when"), scope) for i, (scope, _) in enumerate(scoped)),
        *((("exclude", i), scope) for i, scope in enumerate(exclusions)),
    ]
    # One that could not be read is missing, and the others' places would be wrong.
    all_read = len(scopes) == len(suite.overrides) + len(suite.exclude)
    if all_read and len(rows) == len(changes) and len(datasets) == len(suite.datasets):
        _check_scopes(suite, rows, [source.card.name for source, _ in datasets], scopes, errors)
    errors.check()
    return ResolvedSuite(
        suite,
        base[0],
        tuple(rows),
        tuple(datasets),
        tuple(scoped),
        tuple(exclusions),
        command[0],
        _digest(overrides),
    )


def _digest(overrides: Mapping[str, Any]) -> str:
    """Return 8 hex digits that name the settings of the command line; "" without any."""
    leaves = dotted(overrides)
    if not leaves:
        return ""
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:8]


def _changes(suite: Suite) -> list[tuple[_Change, ...]]:
    """Return, for each row of the table, the row of the suite and the changes to it."""
    stacks: list[tuple[_Change, ...]] = [((("rows", i), row),) for i, row in enumerate(suite.rows)]
    if suite.ablation is not None:
        base: _Change = ("ablation", "base"), suite.ablation.base
        stacks.append((base,))
        for i, variant in enumerate(suite.ablation.variants):
            stacks.append((base, (("ablation", "variants", i), variant)))
    variations: list[_Change] = [(("vary", i), change) for i, change in enumerate(suite.vary)]
    varied: list[tuple[_Change, ...]] = []
    for stack in stacks:
        row = stack[0][1]
        fixed = not variations or (isinstance(row, Row) and not row.varied)
        varied += [stack] if fixed else [(*stack, variation) for variation in variations]
    return varied


@dataclass(frozen=True)
class _Resolver:
    suite: Suite
    source_of: SourceOf

    def row(self, position: int, changes: tuple[_Change, ...]) -> SuiteRow:
        (path, row), *row_changes = changes
        assert isinstance(row, Row)
        model = self._at((*path, "model"), lambda: MODELS.get(row.model))
        settings = self._settings(path, row.set, strict=True)
        label, drop = row.label or model.capabilities.title, row.drop
        for path, change in row_changes:
            settings += self._settings(path, change.set, strict=isinstance(change, Variant))
            if isinstance(change, Variant):
                label, drop = change.label, drop + change.drop
            else:
                label = f"{label}, {change.label}"
        return SuiteRow(position, label, row.model, model, settings, drop)

    def dataset(self, number: int) -> tuple[DatasetSource, Layer]:
        choice, path = self.suite.datasets[number], ("datasets", number)
        source = self._at((*path, "dataset"), lambda: self.source_of(choice.dataset))
        settings = self._settings(path, choice.set, strict=False)
        if choice.features is not None:
            origin = self.suite.origin((*path, "features"))
            features = Setting(("data", "features"), choice.features, origin)
            settings = (features, *settings)
        return source, settings

    def override(self, number: int) -> tuple[Scope, Layer]:
        override, path = self.suite.overrides[number], ("overrides", number)
        scope = self._scope(override.when, (*path, "when"))
        return scope, self._settings(path, override.set, strict=bool(scope.model or scope.label))

    def exclusion(self, number: int) -> Exclusion:
        return self._scope(self.suite.exclude[number], ("exclude", number))

    def _settings(self, path: KeyPath, settings: Mapping[str, Any], *, strict: bool) -> Layer:
        return from_suite(self.suite, settings, (*path, "set"), strict=strict)

    def _scope(self, scope: S, path: KeyPath) -> S:
        self._at((*path, "model"), lambda: [MODELS.get(name) for name in scope.model])
        return self._at((*path, "dataset"), lambda: canonical(scope, self.source_of))

    def _at(self, path: KeyPath, work: Callable[[], B]) -> B:
        """Put the line of the suite before the message of an error."""
        try:
            return work()
        except ConfigError as error:
            raise ConfigError(f"{self.suite.origin(path)}: {error}") from None


def searched_setting(suite: Suite, key: str, value: Any = None) -> Setting:
    """Return a value that the suite's study tries.

    Raises:
        ConfigError: it belongs to an axis of the suite.
    """
    origin = suite.origin(("study", "space", key))
    return check_axis(Setting(tuple(key.split(".")), value, origin, strict=False))


def _check_labels(
    suite: Suite, changes: list[tuple[_Change, ...]], rows: Iterable[SuiteRow], errors: Errors
) -> None:
    labels: set[str] = set()
    for row in rows:
        if row.label in labels:
            origin = suite.origin(changes[row.position][-1][0])
            errors.add(
                f"{origin}: two rows are called '{row.label}'; give one of them another label"
            )
        labels.add(row.label)


def _check_datasets(
    suite: Suite, base: Layer, datasets: Sequence[tuple[DatasetSource, Layer]], errors: Errors
) -> None:
    """Refuse a dataset that is given twice with the same features and settings."""
    features: dict[Path, Any] = {("data", "features"): DataSpec.model_fields["features"].default}
    features |= {s.path: s.value for s in base if s.path in features}
    earlier: list[tuple[str, dict[Path, Any]]] = []
    for number, (source, layer) in enumerate(datasets):
        choice = source.card.name, features | {setting.path: setting.value for setting in layer}
        if choice in earlier:
            origin = suite.origin(("datasets", number))
            errors.add(f"{origin}: '{source.card.name}' is given twice")
        earlier.append(choice)


def _check_scopes(
    suite: Suite,
    rows: Sequence[SuiteRow],
    datasets: Iterable[str],
    scopes: Iterable[tuple[KeyPath, Scope]],
    errors: Errors,
) -> None:
    """Refuse scopes of rows and datasets that the suite does not have.

    Included files are shared by suites with other rows and datasets.

    Args:
        suite: the suite.
        rows: its rows.
        datasets: names of its datasets.
        scopes: of its overrides and exclusions, with their places and the datasets' own names.
        errors: collects the messages.
    """
    present = {
        "label": ("no row is called", {row.label for row in rows}),
        "model": ("no row has the model", {row.model_name for row in rows}),
        "dataset": ("the suite has no dataset", set(datasets)),
    }
    for path, scope in scopes:
        for key, (message, names) in present.items():
            if suite.is_included((*path, key)):
                continue
            for name in getattr(scope, key):
                if name not in names:
                    origin = suite.origin((*path, key))
                    errors.add(f"{origin}: {message} '{name}'{suggest(name, names)}")


def _check_options(settings: Iterable[Setting], rows: Iterable[SuiteRow], errors: Errors) -> None:
    """Refuse options that are meant for the models that have them, and that no model has."""
    configs = {row.model_name: row.model.Config for row in rows}.values()
    fields = {field for config in configs for field in config.model_fields}
    for setting in settings:
        if setting.path[0] != "model" or setting.path[1] in fields:
            continue
        options = {key for config in configs for key in dotted_keys(config)}
        inner = [k for k in options if k.rsplit(".", 1)[-1] == setting.path[-1]]
        hint = f"; did you mean 'model.{inner[0]}'?" if inner else suggest(setting.path[1], fields)
        errors.add(
            f"{setting.origin}: no model of this suite has an option '{setting.path[1]}'{hint}"
        )
