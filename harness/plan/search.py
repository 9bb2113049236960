"""A suite's study -> its searches: the space of each row on each dataset, all checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from harness.config.override import Setting
from harness.config.search import Domain, declared
from harness.data.card import DatasetSource
from harness.data.load import source as dataset_source
from harness.errors import ConfigError, InconsistentError
from harness.model import Model
from harness.plan.cell import Cell
from harness.plan.expand import Plan, cells_of
from harness.plan.resolve import (
    Errors,
    Layer,
    ResolvedSuite,
    SuiteRow,
    resolve,
    searched_setting,
)
from harness.plan.select import SourceOf
from harness.plan.settings import has_effect
from harness.plan.spec import ADAGRAD_LR, RunSpec
from harness.plan.study import Requirement, Study
from harness.plan.suite import Suite
from harness.procedure import STRATEGIES

__all__ = ["Point", "Search", "searches"]

Point = Mapping[str, Any]
"""Searched key -> the value that is tried."""

MOST_POINTS = 10_000
"""Largest grid; a slip of the finger must not fill the memory."""


@dataclass(frozen=True)
class Search:
    """The search for one row of a suite on one dataset.

    Attributes:
        position: orders the searches of a suite by dataset, then row.
        base: the row's own runs, one per seed; values that are not searched are theirs.
        space: searched key -> domain.
        study: how to search.
    """

    position: int
    base: tuple[Cell, ...]
    space: Mapping[str, Domain]
    study: Study
    _resolved: ResolvedSuite
    _dataset: tuple[DatasetSource, Layer]
    _row: SuiteRow

    @property
    def label(self) -> str:
        """Row label."""
        return self._row.label

    @property
    def spec(self) -> RunSpec:
        """The specification of the first of the row's own runs."""
        return self.base[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of a trial."""
        return tuple(run.spec.seed for run in self.base)

    @property
    def title(self) -> str:
        """Name of the search for people."""
        data = self.spec.data
        features = "" if data.features == "none" else f" [{data.features}]"
        return f"{self.label} on {data.dataset}{features}"

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """Searched key -> its values in order, for the sampler "grid"."""
        return {key: domain.points() for key, domain in self.space.items()}

    @property
    def trials(self) -> int:
        """Number of trials, a grid's invalid points included."""
        if self.study.trials is not None:
            return self.study.trials
        return math.prod(len(values) for values in self.grid.values())

    def points(self) -> Iterator[Point]:
        """Yield the points of a grid, also those that are not valid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def valid_runs(self, point: Point) -> tuple[Cell, ...]:
        """Return the runs of a trial, () when its values do not go together."""
        try:
            return self.runs(point)
        except InconsistentError:
            return ()

    def runs(self, point: Point) -> tuple[Cell, ...]:
        """Return the runs of a trial, one per seed.

        Raises:
            InconsistentError: the values do not go together.
        """
        for requirement in self.study.require:
            if set(requirement.keys) <= point.keys() and not requirement.holds(point):
                raise InconsistentError(f"the study requires {requirement}")
        layer = tuple(self._layer(point))
        cells = list(cells_of(self._resolved, self._dataset, self._row, layer))
        runs = tuple(cell for cell in cells if not cell.reason and cell.seed in self.seeds)
        if not runs:
            raise InconsistentError(cells[0].reason)
        return runs

    def _layer(self, point: Point) -> Iterator[Setting]:
        """Yield the settings of a point; items of one list become that list."""
        lists: dict[str, list[Any]] = {}
        for key, value in point.items():
            list_key, _, last = key.rpartition(".")
            default = self._value(list_key) if last.isdecimal() else None
            if not isinstance(default, list | tuple):
                yield searched_setting(self._resolved.suite, key, value)
                continue
            items = lists.setdefault(list_key, list(default))
            if int(last) >= len(items):
                origin = self._origin("space", key)
                raise ConfigError(f"{origin}: '{list_key}' has {len(items)} items, from 0")
            items[int(last)] = value
        for list_key, items in lists.items():
            keys = (key for key in point if key.rpartition(".")[0] == list_key)
            origin = self._origin("space", next(keys))
            yield Setting(tuple(list_key.split(".")), items, origin, strict=False)

    def _origin(self, *path: str) -> str:
        return self._resolved.suite.origin(("study", *path))

    def _value(self, key: str) -> Any:
        """Return a value of the row's own settings, None where there is none."""
        names = key.split(".")
        value: Any = self.spec
        if names[0] == "model":
            value = self._row.model.Config.model_validate(self.spec.model.options)
            names = names[1:]
        for name in names:
            exists = isinstance(value, BaseModel) and name in type(value).model_fields
            value = getattr(value, name) if exists else None
        return value


def searches(
    suite: Suite,
    overrides: Mapping[str, Any],
    plan: Plan,
    *,
    source_of: SourceOf = dataset_source,
) -> tuple[tuple[Search, ...], tuple[Cell, ...]]:
    """Return the searches of a suite's study, in the order of its table, and the rows on datasets
    that have nothing to search.

    Args:
        suite: has a study.
        overrides: nested settings of the command line.
        plan: the suite expanded with these; excluded cells are not searched.
        source_of: finds datasets.

    Raises:
        ConfigError: there is no study, a searched key is unknown, a value is not valid, a grid has
            no points or too many; all problems at once, each with file and line.
    """
    study = suite.study
    if study is None:
        raise ConfigError(
            f"{suite.origin(('name',))}: suite '{suite.name}' has no section 'study'; "
            "`harness run` executes it"
        )
    resolved = resolve(suite, overrides, source_of)
    studied: list[Search] = []
    unsearched: list[Cell] = []
    planned = set(map(_key, plan.runs))
    for position, (dataset, row) in enumerate(itertools.product(resolved.datasets, resolved.rows)):
        cells = cells_of(resolved, dataset, row)
        base = [c for c in cells if not c.reason and _key(c) in planned]
        planned -= set(map(_key, base))
        if not base:
            continue
        if space := _space(study, base[0].spec, row.model):
            studied.append(Search(position, tuple(base), space, study, resolved, dataset, row))
        else:
            unsearched += [cell.model_copy(update={"reason": _NO_SPACE}) for cell in base]
    errors = Errors()
    errors.collect(_check_values, studied)
    errors.collect(lambda item: _check_requirement(suite, studied, item), enumerate(study.require))
    errors.check()
    if not studied:
        raise ConfigError(f"suite '{suite.name}': no row has anything to search")
    return tuple(studied), tuple(unsearched)


def _key(run: Cell) -> tuple[int, str]:
    return run.position, run.spec.model_dump_json()


_NO_SPACE = "nothing to search: no setting of the study matters to it"


def _space(study: Study, spec: RunSpec, model: type[Model]) -> dict[str, Domain]:
    """Return the searched settings that a row can have."""
    if not study.space:
        return declared_space(spec, model)
    fields = model.Config.model_fields
    space = {
        key: domain
        for key, domain in study.space.items()
        if not key.startswith("model.") or key.split(".")[1] in fields
    }
    if not model.capabilities.trainable:
        space = {key: domain for key, domain in space.items() if has_effect(spec, model, key)}
    return space


def declared_space(spec: RunSpec, model: type[Model]) -> dict[str, Domain]:
    """Return the domains that harness, model and strategy declare, of settings with an effect."""
    # Settings that all models share come first: then their draws of them are the same.
    space = declared(RunSpec) | declared(model.Config, "model.")
    if strategy := spec.negatives.strategy.name:
        space |= declared(STRATEGIES.get(strategy).Config, "negatives.strategy.")
    if spec.optimiser.name == "adagrad":
        space["optimiser.lr"] = ADAGRAD_LR
    return {key: domain for key, domain in space.items() if has_effect(spec, model, key)}


def _check_values(search: Search) -> None:
    """Try each value by itself; combinations are checked trial by trial.

    Raises:
        ConfigError: a value can stand in no run, or the grid cannot be listed.
    """
    errors = Errors()
    for key, domain in search.space.items():
        for value in domain.ends:
            try:
                search.runs({key: value})
            except InconsistentError:
                continue
            except ConfigError as error:
                errors.add(str(error))
    errors.check()
    if search.study.sampler == "grid":
        errors.collect(lambda item: _check_points(search, *item), search.space.items())
        errors.check()
        if search.trials > MOST_POINTS:
            origin = search._origin("space")
            raise ConfigError(f"{origin}: a grid of {search.trials} points; at most {MOST_POINTS}")


def _check_points(search: Search, key: str, domain: Domain) -> None:
    try:
        domain.points()
    except ValueError as error:
        raise ConfigError(f"{search._origin('space', key)}: {error}") from None


def _check_requirement(
    suite: Suite, studied: Iterable[Search], item: tuple[int, Requirement]
) -> None:
    number, requirement = item
    if not any(set(requirement.keys) <= search.space.keys() for search in studied):
        origin = suite.origin(("study", "require", number))
        raise ConfigError(f"{origin}: '{requirement}' compares values that are not searched")
