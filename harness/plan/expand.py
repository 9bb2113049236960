"""Suite -> plan: every run it asks for, checked, before the first one starts.

Layers of settings, later ones win: ``base``, the dataset's ``set``, ``overrides`` in their order,
the row's ``set``, the variant's ``set``, ``--set``. A ``model.x`` among ``base``, a dataset's
``set``, ``overrides`` without a model and ``--set`` is for the models that have an option ``x``
(some row's model must); where a model is named, it must have it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.config.override import flatten
from harness.data.load import source as dataset_source
from harness.errors import ConfigError, MissingDataError, suggest
from harness.plan.identity import run_id_of
from harness.plan.modalities import choose_data
from harness.plan.parts import Column, Errors, Line, Parts, resolve
from harness.plan.select import Cell, SourceOf, canonical, matches, parse_only
from harness.plan.settings import Setting, build_spec, where_set
from harness.plan.spec import DataSpec, RunSpec
from harness.plan.suite import Selector, Suite

__all__ = [
    "Excluded",
    "Plan",
    "PlannedRun",
    "asked_for",
    "cells_of",
    "expand",
    "identify",
    "without_missing",
]


@dataclass(frozen=True)
class PlannedRun:
    """One cell of the suite's table: a run and the row it stands in.

    Attributes:
        spec: the resolved run specification.
        label: row label.
        position: row number, from 0.
    """

    spec: RunSpec
    label: str
    position: int


@dataclass(frozen=True)
class Excluded:
    """Cells that are not run, for all seeds or one, and why."""

    label: str
    position: int
    dataset: str
    features: str
    reason: str
    seed: int | None = None
    model: str = ""

    @classmethod
    def of(cls, run: PlannedRun, reason: str) -> Excluded:
        """Return the cells of a run's row on its dataset."""
        data = run.spec.data
        place = run.label, run.position, data.dataset, data.features
        return cls(*place, reason, model=run.spec.model.name)


@dataclass(frozen=True)
class Plan:
    """What a suite asks for.

    Attributes:
        suite: name of the suite.
        title: its caption.
        variant: digest of the ``--set`` settings ("" without).
        runs: by dataset, row, seed.
        excluded: what is not run, and why.
    """

    suite: str
    title: str
    variant: str
    runs: tuple[PlannedRun, ...]
    excluded: tuple[Excluded, ...] = ()

    def select(self, only: Sequence[str], source_of: SourceOf = dataset_source) -> Plan:
        """Return the plan with what ``--only`` texts ask for.

        Raises:
            ConfigError: a text is malformed, no cell has a value, or no run is left.
        """
        selector = canonical(parse_only(only), source_of)
        _check_values(selector, self)
        runs = tuple(run for run in self.runs if matches(selector, _cell_of(run)))
        excluded = asked_for(self.excluded, selector)
        if not runs:
            why = [f"{one.label} on {one.dataset} is not run: {one.reason}" for one in excluded]
            raise ConfigError(f"--only: {why[0] if why else 'no run has all of it'}")
        return replace(self, runs=runs, excluded=excluded)


def asked_for(excluded: Iterable[Excluded], selector: Selector) -> tuple[Excluded, ...]:
    """Return, of what is left out, what ``--only`` asks for.

    Args:
        excluded: of all rows and datasets.
        selector: ``--only``, with canonical names.
    """

    def asked(one: Excluded) -> bool:
        seed = one.seed if one.seed is not None else next(iter(selector.seed), None)
        return matches(selector, Cell(one.model, one.dataset, one.label, one.features, seed))

    return tuple(one for one in excluded if asked(one))


def expand(
    suite: Suite,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    *,
    source_of: SourceOf = dataset_source,
) -> Plan:
    """Return the runs of a suite. The models must have been loaded (``harness.catalog``).

    Nothing is read but, where a run leaves modalities out, names some or needs some, the feature
    set's list of modalities.

    Args:
        suite: what to run.
        overrides: nested settings of the command line (``parse_overrides``).
        only: ``--only`` texts.
        source_of: finds datasets.

    Raises:
        ConfigError: an unknown model, dataset, feature set, modality, option or key, or a bad
            value; all that were found, each with file and line.
        DataError: a feature set that must be looked at is wrong.
    """
    overrides = overrides or {}
    parts = resolve(suite, overrides, source_of)
    errors = Errors()
    pairs = [(column, line) for column in parts.columns for line in parts.lines]
    found = errors.each(lambda pair: list(cells_of(parts, suite, *pair)), pairs)
    errors.check()
    cells = [cell for cells in found for cell in cells]
    runs = _distinct(suite, (cell for cell in cells if isinstance(cell, PlannedRun)))
    if not runs:
        why = next((cell.reason for cell in cells if isinstance(cell, Excluded)), "it has no seed")
        raise ConfigError(f"suite '{suite.name}': all of its cells are excluded: {why}")
    excluded = dict.fromkeys(cell for cell in cells if isinstance(cell, Excluded))
    plan = Plan(suite.name, suite.title, _digest(overrides), runs, tuple(excluded))
    return plan.select(only, source_of) if only else plan


def identify(
    plan: Plan, digests: Callable[[DataSpec], tuple[str, str]]
) -> tuple[tuple[str, PlannedRun], ...]:
    """Return each run with its identity; rows that describe the same run share one.

    Args:
        plan: what to run.
        digests: returns the digest of the graph and of the features ("" without) of a run's data.
    """
    known: dict[str, tuple[str, str]] = {}
    found = []
    for run in plan.runs:
        key = run.spec.data.model_dump_json()
        if key not in known:
            known[key] = digests(run.spec.data)
        dataset, features = known[key]
        found.append((run_id_of(run.spec, dataset, features), run))
    return tuple(found)


def without_missing(plan: Plan, digests: Callable[[DataSpec], tuple[str, str]]) -> Plan:
    """Return the plan with the runs whose data are not on this machine moved to ``excluded``.

    Raises:
        MissingDataError: none is left; the message says which command gets the data.
    """
    missing: dict[str, str] = {}
    first: MissingDataError | None = None
    for data in {run.spec.data.model_dump_json(): run.spec.data for run in plan.runs}.values():
        try:
            digests(data)
        except MissingDataError as error:
            first = first or error
            missing[data.model_dump_json()] = error.brief
    runs, excluded = [], dict.fromkeys(plan.excluded)
    for run in plan.runs:
        data = run.spec.data
        reason = missing.get(data.model_dump_json())
        if reason is None:
            runs.append(run)
        else:
            excluded[Excluded.of(run, reason)] = None
    if first is not None and not runs:
        raise first
    return replace(plan, runs=tuple(runs), excluded=tuple(excluded))


def _cell_of(run: PlannedRun) -> Cell:
    data = run.spec.data
    return Cell(run.spec.model.name, data.dataset, run.label, data.features, run.spec.seed)


def _check_values(selector: Selector, plan: Plan) -> None:
    """Refuse a value that no cell has, also when another value of its key is one's."""
    cells = [*map(_cell_of, plan.runs), *plan.excluded]
    for key in Selector.model_fields:
        offered = {str(getattr(cell, key)) for cell in cells} - {"", "None"}
        for wanted in getattr(selector, key):
            if str(wanted) not in offered:
                hint = suggest(str(wanted), offered)
                raise ConfigError(f"--only {key}={wanted}: no run has it{hint}")


def cells_of(
    parts: Parts, suite: Suite, column: Column, line: Line, further: Sequence[Setting] = ()
) -> Iterator[PlannedRun | Excluded]:
    """Yield a row's cells on a dataset: one per seed, or one that says why there is none.

    Args:
        parts, suite: where the settings are.
        column, line: the dataset and the row.
        further: settings that win over all others.

    Raises:
        ConfigError: as ``expand``; InconsistentError where each value by itself would do.
        DataError: a feature set that must be looked at is wrong.
    """
    name = column.source.card.name
    place = Cell(line.name, name, line.label)
    layers = [*parts.base, *column.settings]
    layers += [s for o in parts.overrides if matches(o.scope, place) for s in o.settings]
    layers += [*line.settings, *parts.command, *further]
    spec = build_spec(layers, name=line.name, model=line.model, dataset=name, seed=suite.seeds[0])
    if suite.study is not None:
        spec = _blind(spec, layers)
    data = choose_data(spec, line, column.source, layers)
    if isinstance(data, str):
        here = line.label, line.position, name, spec.data.features
        yield Excluded(*here, data, model=line.name)
        return
    for seed in suite.seeds:
        cell = place._replace(features=data.features, seed=seed)
        hit = next((e for e in parts.exclusions if matches(e, cell)), None)
        if hit is None:
            run = spec.model_copy(update={"data": data, "seed": seed})
            yield PlannedRun(run, line.label, line.position)
        else:
            only_seed = seed if hit.seed else None
            here = line.label, line.position, name, data.features
            yield Excluded(*here, hit.reason, only_seed, line.name)


def _blind(spec: RunSpec, layers: Sequence[Setting]) -> RunSpec:
    """Return the specification of a trial: validation ranks owe nothing to the test split."""
    if spec.audit.shadow_test:
        where = where_set(layers, ("audit", "shadow_test"))
        raise ConfigError(
            f"{where}: a study never looks at the test split; leave the audit out, and turn it on "
            "for the run that was chosen"
        )
    protocol = spec.protocol
    if "test" in (protocol.valid_filter or ()):
        where = where_set(layers, ("protocol", "valid_filter"))
        raise ConfigError(f"{where}: a study never looks at the test split; leave 'test' out")
    if "test" not in protocol.filter_of("valid"):
        return spec
    others = tuple(split for split in protocol.filter if split != "test")
    blind = protocol.model_copy(update={"valid_filter": others})
    return spec.model_copy(update={"protocol": blind})


def _distinct(suite: Suite, runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Keep one of equal cells (a structural model sees no difference between feature sets).

    Raises:
        ConfigError: two different runs would stand in one cell.
    """
    found: dict[tuple[object, ...], PlannedRun] = {}
    for run in runs:
        data = run.spec.data
        key = (run.position, data.dataset, data.features, run.spec.seed)
        other = found.setdefault(key, run)
        if other != run:
            raise ConfigError(
                f"{suite.where(('datasets',))}: '{data.dataset}' with features "
                f"'{data.features}' stands there twice with different settings"
            )
    return tuple(found.values())


def _digest(overrides: Mapping[str, Any]) -> str:
    """Return 8 hex digits that name the settings of the command line; "" without any."""
    leaves = {".".join(leaf.path): leaf.value for leaf in flatten(overrides)}
    if not leaves:
        return ""
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:8]
