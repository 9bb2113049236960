"""A suite's study -> its searches: what may be tried for each row on each dataset, all checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from harness.config.search import Domain, declared
from harness.data.load import source as dataset_source
from harness.errors import ConfigError, InconsistentError
from harness.model import Model
from harness.plan.expand import Excluded, Plan, PlannedRun, cells_of
from harness.plan.parts import Column, Errors, Line, Parts, resolve, searched_setting
from harness.plan.select import SourceOf
from harness.plan.settings import Setting, is_idle
from harness.plan.spec import ADAGRAD_LR, RunSpec
from harness.plan.study import Study
from harness.plan.suite import Suite
from harness.procedure import STRATEGIES

__all__ = ["Point", "Search", "declared_space", "searches"]

Point = Mapping[str, Any]
"""Searched key -> the value that is tried."""

MOST_POINTS = 10_000
"""Largest grid; a slip of the finger must not fill the memory."""


@dataclass(frozen=True)
class Search:
    """One row of a suite on one dataset, and what is tried for it.

    Attributes:
        place: orders the searches of a suite by dataset, then row.
        base: the row's own runs, one per seed; values that are not searched are theirs.
        space: searched key -> domain.
        study: how to search.
    """

    place: int
    base: tuple[PlannedRun, ...]
    space: Mapping[str, Domain]
    study: Study
    _suite: Suite
    _parts: Parts
    _column: Column
    _line: Line

    @property
    def label(self) -> str:
        """Row label."""
        return self._line.label

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
        """What a person calls the search."""
        data = self.spec.data
        features = "" if data.features == "none" else f" [{data.features}]"
        return f"{self.label} on {data.dataset}{features}"

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """Searched key -> its values in order, for the sampler "grid"."""
        return {key: domain.points() for key, domain in self.space.items()}

    @property
    def trials(self) -> int:
        """How many trials are asked for; those of a grid's invalid points among them."""
        if self.study.trials is not None:
            return self.study.trials
        return math.prod(len(values) for values in self.grid.values())

    def points(self) -> Iterator[Point]:
        """Yield the points of a grid, also those that are not valid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def valid_runs(self, point: Point) -> tuple[PlannedRun, ...]:
        """Return the runs of a trial, () when its values do not go together."""
        try:
            return self.runs(point)
        except InconsistentError:
            return ()

    def runs(self, point: Point) -> tuple[PlannedRun, ...]:
        """Return the runs of a trial, one per seed.

        Raises:
            InconsistentError: the values do not go together.
        """
        for requirement in self.study.require:
            if set(requirement.keys) <= point.keys() and not requirement.holds(point):
                raise InconsistentError(f"the study requires {requirement}")
        layer = tuple(self._layer(point))
        cells = list(cells_of(self._parts, self._suite, self._column, self._line, layer))
        seeds, runs = self.seeds, []
        for cell in cells:
            if isinstance(cell, Excluded) and cell.seed is None:
                raise InconsistentError(cell.reason)
            if isinstance(cell, PlannedRun) and cell.spec.seed in seeds:
                runs.append(cell)
        return tuple(runs)

    def _layer(self, point: Point) -> Iterator[Setting]:
        """Yield the settings of a point; items of one list become that list."""
        lists: dict[str, list[Any]] = {}
        for key, value in point.items():
            whole, _, last = key.rpartition(".")
            found = self._value(whole) if last.isdecimal() else None
            if not isinstance(found, list | tuple):
                yield searched_setting(self._suite, key, value)
                continue
            items = lists.setdefault(whole, list(found))
            if int(last) >= len(items):
                where = self._suite.where(("study", "space", key))
                raise ConfigError(f"{where}: '{whole}' has {len(items)} items, from 0")
            items[int(last)] = value
        for whole, items in lists.items():
            keys = (key for key in point if key.rpartition(".")[0] == whole)
            where = self._suite.where(("study", "space", next(keys)))
            yield Setting(tuple(whole.split(".")), items, where, strict=False)

    def _value(self, key: str) -> Any:
        """Return a value of the row's own settings, None where there is none."""
        first, *rest = key.split(".")
        here: Any = self.spec
        if first == "model":
            here = self._line.model.Config.model_validate(self.spec.model.options)
        else:
            rest = [first, *rest]
        for name in rest:
            known = isinstance(here, BaseModel) and name in type(here).model_fields
            here = getattr(here, name) if known else None
        return here


def searches(
    suite: Suite,
    overrides: Mapping[str, Any],
    plan: Plan,
    *,
    source_of: SourceOf = dataset_source,
) -> tuple[tuple[Search, ...], tuple[Excluded, ...]]:
    """Return the searches of a suite's study, in the order of its table, and what has nothing to
    search.

    Args:
        suite: has a study.
        overrides: nested settings of the command line.
        plan: the suite expanded with these; what it leaves out is not searched.
        source_of: finds datasets.

    Raises:
        ConfigError: there is no study, a searched key is unknown, a value is not valid, a grid has
            no points or too many; all that were found, each with file and line.
    """
    study = suite.study
    if study is None:
        raise ConfigError(
            f"{suite.where(('name',))}: suite '{suite.name}' has no section 'study'; "
            "`harness run` executes it"
        )
    parts = resolve(suite, overrides, source_of)
    found: list[Search] = []
    idle: list[Excluded] = []
    planned = set(map(_key, plan.runs))
    for number, column in enumerate(parts.columns):
        for line in parts.lines:
            cells = cells_of(parts, suite, column, line)
            base = [c for c in cells if isinstance(c, PlannedRun) and _key(c) in planned]
            planned -= set(map(_key, base))
            if not base:
                continue
            place = number * len(parts.lines) + line.position
            search = _search(suite, study, parts, column, line, place, base)
            if search.space:
                found.append(search)
            else:
                idle.append(_nothing_to_search(base[0]))
    errors = Errors()
    errors.each(_check_values, found)
    errors.each(lambda item: _check_requirement(suite, found, item), enumerate(study.require))
    errors.check()
    if not found:
        raise ConfigError(f"suite '{suite.name}': no row has anything to search")
    return tuple(found), tuple(idle)


def _key(run: PlannedRun) -> tuple[int, str]:
    return run.position, run.spec.model_dump_json()


def _nothing_to_search(run: PlannedRun) -> Excluded:
    return Excluded.of(run, "nothing to search: no setting of the study matters to it")


def _search(
    suite: Suite,
    study: Study,
    parts: Parts,
    column: Column,
    line: Line,
    place: int,
    base: Sequence[PlannedRun],
) -> Search:
    options = line.model.Config
    if study.space:
        given = study.space.items()
        space = {k: d for k, d in given if not k.startswith("model.") or _has(options, k)}
        if not line.model.capabilities.trainable:
            space = {k: d for k, d in space.items() if not is_idle(base[0].spec, line.model, k)}
    else:
        space = declared_space(base[0].spec, line.model)
    return Search(place, tuple(base), space, study, suite, parts, column, line)


def declared_space(spec: RunSpec, model: type[Model]) -> dict[str, Domain]:
    """Return what harness, model and strategy of negatives declare that a run looks at."""
    # What all models share comes first: then their draws of it are the same.
    space = declared(RunSpec) | declared(model.Config, "model.")
    if strategy := spec.negatives.strategy.name:
        space |= declared(STRATEGIES.get(strategy).Config, "negatives.strategy.")
    if spec.optimiser.name == "adagrad":
        space["optimiser.lr"] = ADAGRAD_LR
    return {key: domain for key, domain in space.items() if not is_idle(spec, model, key)}


def _has(options: type[BaseModel], key: str) -> bool:
    return key.split(".")[1] in options.model_fields


def _check_values(search: Search) -> None:
    """Try each value by itself; that some do not go together is found out trial by trial.

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
        errors.each(lambda item: _listed(search, *item), search.space.items())
        errors.check()
        if search.trials > MOST_POINTS:
            where = search._suite.where(("study", "space"))
            raise ConfigError(f"{where}: a grid of {search.trials} points; at most {MOST_POINTS}")


def _listed(search: Search, key: str, domain: Domain) -> None:
    try:
        domain.points()
    except ValueError as error:
        where = search._suite.where(("study", "space", key))
        raise ConfigError(f"{where}: {error}") from None


def _check_requirement(suite: Suite, found: Iterable[Search], item: tuple[int, Any]) -> None:
    number, requirement = item
    if not any(set(requirement.keys) <= search.space.keys() for search in found):
        where = suite.where(("study", "require", number))
        raise ConfigError(f"{where}: '{requirement}' compares values that are not searched")
