"""Suite -> plan: every run of the suite, checked before the first one starts.

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

from harness.config.override import dotted
from harness.data.card import DatasetSource
from harness.data.load import source as dataset_source
from harness.errors import ConfigError, MissingDataError, suggest
from harness.plan.identity import run_id_of
from harness.plan.modalities import choose_data
from harness.plan.resolve import Errors, Layer, ResolvedSuite, SuiteRow, resolve
from harness.plan.select import SourceOf, canonical, matches, parse_only
from harness.plan.settings import build_spec, origin_of
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
    """One cell of the suite's table: a run and its row.

    Attributes:
        spec: the resolved run specification.
        label: row label.
        position: row number, from 0.
    """

    spec: RunSpec
    label: str
    position: int

    @property
    def coordinates(self) -> dict[str, object]:
        """Values that ``--only`` selects by."""
        data = self.spec.data
        cell = {"model": self.spec.model.name, "dataset": data.dataset, "label": self.label}
        return {**cell, "features": data.features, "seed": self.spec.seed}


@dataclass(frozen=True)
class Excluded:
    """Cells that are not run, for all seeds or one, and the reason."""

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
        data, model = run.spec.data, run.spec.model.name
        return cls(run.label, run.position, data.dataset, data.features, reason, model=model)

    @property
    def coordinates(self) -> dict[str, object]:
        """Values that ``--only`` selects by; all seeds where none is named."""
        cell = {"model": self.model, "dataset": self.dataset, "label": self.label}
        seed = {} if self.seed is None else {"seed": self.seed}
        return {**cell, "features": self.features, **seed}


@dataclass(frozen=True)
class Plan:
    """Runs of a suite.

    Attributes:
        suite: name of the suite.
        title: its caption.
        variant: digest of the ``--set`` settings ("" without).
        runs: by dataset, row, seed.
        excluded: cells that are not run.
        source: file or name that the suite was read by; "" for one run outside of any suite.
    """

    suite: str
    title: str
    variant: str
    runs: tuple[PlannedRun, ...]
    excluded: tuple[Excluded, ...] = ()
    source: str = ""

    def select(self, only: Sequence[str], source_of: SourceOf = dataset_source) -> Plan:
        """Return the plan restricted to ``--only`` texts.

        Raises:
            ConfigError: a text is malformed, no cell has a value, or no run is left.
        """
        selector = canonical(parse_only(only), source_of)
        _check_values(selector, self)
        runs = tuple(run for run in self.runs if matches(selector, **run.coordinates))
        excluded = asked_for(self.excluded, selector)
        if not runs:
            reasons = [f"{x.label} on {x.dataset} is not run: {x.reason}" for x in excluded]
            raise ConfigError(f"--only: {reasons[0] if reasons else 'no run has all of it'}")
        return replace(self, runs=runs, excluded=excluded)


def asked_for(excluded: Iterable[Excluded], selector: Selector) -> tuple[Excluded, ...]:
    """Return the excluded cells that ``--only`` selects.

    Args:
        excluded: excluded cells of all rows and datasets.
        selector: ``--only``, with canonical names.
    """
    return tuple(cell for cell in excluded if matches(selector, **cell.coordinates))


def expand(
    suite: Suite,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    *,
    source_of: SourceOf = dataset_source,
) -> Plan:
    """Return the runs of a suite. The models must have been loaded (``harness.catalog``).

    No data are read but, where a run leaves modalities out, names some or needs some, the feature
    set's list of modalities.

    Args:
        suite: what to run.
        overrides: nested settings of the command line (``parse_overrides``).
        only: ``--only`` texts.
        source_of: finds datasets.

    Raises:
        ConfigError: an unknown model, dataset, feature set, modality, option or key, or a bad
            value; all problems at once, each with file and line.
        DataError: a feature set that must be looked at is wrong.
    """
    overrides = overrides or {}
    resolved = resolve(suite, overrides, source_of)
    errors = Errors()
    pairs = [(dataset, row) for dataset in resolved.datasets for row in resolved.rows]
    groups = errors.collect(lambda pair: list(cells_of(resolved, *pair)), pairs)
    errors.check()
    cells = [cell for group in groups for cell in group]
    runs = _distinct(suite, (cell for cell in cells if isinstance(cell, PlannedRun)))
    excluded = tuple(dict.fromkeys(cell for cell in cells if isinstance(cell, Excluded)))
    if not runs:
        reason = excluded[0].reason if excluded else "it has no seed"
        raise ConfigError(f"suite '{suite.name}': all of its cells are excluded: {reason}")
    plan = Plan(suite.name, suite.title, _digest(overrides), runs, excluded)
    return plan.select(only, source_of) if only else plan


def identify(
    plan: Plan, digests: Callable[[DataSpec], tuple[str, str]]
) -> tuple[tuple[str, PlannedRun], ...]:
    """Return each run with its identity; rows that describe the same run share one.

    Args:
        plan: what to run.
        digests: returns the digest of the graph and of the features ("" without) of a run's data.
    """
    by_data = {data: digests(data) for data in dict.fromkeys(run.spec.data for run in plan.runs)}
    identified = []
    for run in plan.runs:
        dataset, features = by_data[run.spec.data]
        identified.append((run_id_of(run.spec, dataset, features), run))
    return tuple(identified)


def without_missing(plan: Plan, digests: Callable[[DataSpec], tuple[str, str]]) -> Plan:
    """Return the plan with the runs whose data are not on this machine moved to ``excluded``.

    Raises:
        MissingDataError: no run is left; the message says which command gets the data.
    """
    missing: dict[DataSpec, MissingDataError] = {}
    for data in dict.fromkeys(run.spec.data for run in plan.runs):
        try:
            digests(data)
        except MissingDataError as error:
            missing[data] = error
    runs = tuple(run for run in plan.runs if run.spec.data not in missing)
    if missing and not runs:
        raise next(iter(missing.values()))
    excluded = [
        Excluded.of(run, missing[run.spec.data].brief)
        for run in plan.runs
        if run.spec.data in missing
    ]
    return replace(plan, runs=runs, excluded=tuple(dict.fromkeys([*plan.excluded, *excluded])))


def _check_values(selector: Selector, plan: Plan) -> None:
    """Refuse a value that no cell has, also when another value of its key is one's."""
    cells = [run.coordinates for run in plan.runs]
    cells += [cell.coordinates for cell in plan.excluded]
    for key in Selector.model_fields:
        offered = {str(cell[key]) for cell in cells if key in cell} - {""}
        for value in getattr(selector, key):
            if str(value) not in offered:
                hint = suggest(str(value), offered)
                raise ConfigError(f"--only {key}={value}: no run has it{hint}")


def cells_of(
    resolved: ResolvedSuite, dataset: tuple[DatasetSource, Layer], row: SuiteRow, extra: Layer = ()
) -> Iterator[PlannedRun | Excluded]:
    """Yield a row's cells on a dataset: one per seed, or one with the reason why there is none.

    Args:
        resolved: the suite.
        dataset: one of its datasets.
        row: one of its rows.
        extra: settings that win over all others.

    Raises:
        ConfigError: as ``expand``; InconsistentError where each value by itself would do.
        DataError: a feature set that must be looked at is wrong.
    """
    source, dataset_settings = dataset
    suite, name = resolved.suite, source.card.name
    cell = {"model": row.model_name, "dataset": name, "label": row.label}
    layers = [*resolved.base, *dataset_settings]
    layers += [s for scope, layer in resolved.overrides if matches(scope, **cell) for s in layer]
    layers += [*row.settings, *resolved.command, *extra]
    spec = build_spec(
        layers, name=row.model_name, model=row.model, dataset=name, seed=suite.seeds[0]
    )
    if suite.study is not None:
        spec = _blind(spec, layers)
    data = choose_data(spec, row, source, layers)
    excluded = Excluded(row.label, row.position, name, spec.data.features, "", model=row.model_name)
    if isinstance(data, str):
        yield replace(excluded, reason=data)
        return
    excluded = replace(excluded, features=data.features)
    for seed in suite.seeds:
        coordinates = {**cell, "features": data.features, "seed": seed}
        hit = next((e for e in resolved.exclusions if matches(e, **coordinates)), None)
        if hit is None:
            run = spec.model_copy(update={"data": data, "seed": seed})
            yield PlannedRun(run, row.label, row.position)
        else:
            yield replace(excluded, reason=hit.reason, seed=seed if hit.seed else None)


def _blind(spec: RunSpec, layers: Layer | list[Any]) -> RunSpec:
    """Return the specification of a trial: validation ranks owe nothing to the test split."""
    if spec.audit.shadow_test:
        origin = origin_of(layers, ("audit", "shadow_test"))
        raise ConfigError(
            f"{origin}: a study never looks at the test split; leave the audit out, and turn it on "
            "for the run that was chosen"
        )
    protocol = spec.protocol
    if "test" in (protocol.valid_filter or ()):
        origin = origin_of(layers, ("protocol", "valid_filter"))
        raise ConfigError(f"{origin}: a study never looks at the test split; leave 'test' out")
    if "test" not in protocol.filter_of("valid"):
        return spec
    splits = tuple(split for split in protocol.filter if split != "test")
    blind = protocol.model_copy(update={"valid_filter": splits})
    return spec.model_copy(update={"protocol": blind})


def _distinct(suite: Suite, runs: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Keep one of equal cells (a structural model sees no difference between feature sets).

    Raises:
        ConfigError: two different runs would stand in one cell.
    """
    cells: dict[tuple[object, ...], PlannedRun] = {}
    for run in runs:
        data = run.spec.data
        key = (run.position, data.dataset, data.features, run.spec.seed)
        if cells.setdefault(key, run) != run:
            raise ConfigError(
                f"{suite.origin(('datasets',))}: '{data.dataset}' with features "
                f"'{data.features}' stands there twice with different settings"
            )
    return tuple(cells.values())


def _digest(overrides: Mapping[str, Any]) -> str:
    """Return 8 hex digits that name the settings of the command line; "" without any."""
    leaves = dotted(overrides)
    if not leaves:
        return ""
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:8]
