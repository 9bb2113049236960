"""Suite -> plan: every run of the suite, checked before the first one starts.

Layers of settings, later ones win: ``base``, the dataset's ``set``, ``overrides`` in their order,
the row's ``set``, the variant's ``set``, ``--set``. A ``model.x`` among ``base``, a dataset's
``set``, ``overrides`` without a model and ``--set`` is for the models that have an option ``x``
(some row's model must); where a model is named, it must have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from harness.config.override import dotted
from harness.data.card import DatasetSource
from harness.data.load import source as dataset_source
from harness.errors import ConfigError, MissingDataError, suggest
from harness.plan.cell import Cell
from harness.plan.identity import run_id_of
from harness.plan.modalities import choose_data
from harness.plan.resolve import Errors, Layer, ResolvedSuite, SuiteRow, resolve
from harness.plan.select import SourceOf, canonical, matches, parse_only
from harness.plan.settings import build_spec, origin_of
from harness.plan.spec import DataSpec, RunSpec
from harness.plan.suite import Selector, Suite

__all__ = ["Plan", "cells_of", "expand", "identify", "without_missing"]


@dataclass(frozen=True)
class Plan:
    """Cells of a suite.

    Attributes:
        suite: name of the suite.
        title: its caption.
        variant: digest of the ``--set`` settings ("" without).
        cells: by dataset, row, seed.
        source: file or name that the suite was read by; "" for one run outside of any suite.
        settings: the ``--set`` settings by dotted key.
    """

    suite: str
    title: str
    variant: str
    cells: tuple[Cell, ...]
    source: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> tuple[Cell, ...]:
        """Cells that are run."""
        return tuple(cell for cell in self.cells if not cell.reason)

    @property
    def excluded(self) -> tuple[Cell, ...]:
        """Cells that are not run, each with its reason."""
        return tuple(cell for cell in self.cells if cell.reason)

    def select(self, only: Sequence[str], source_of: SourceOf = dataset_source) -> Plan:
        """Return the plan restricted to ``--only`` texts.

        Raises:
            ConfigError: a text is malformed, no cell has a value, or no run is left.
        """
        selector = canonical(parse_only(only), source_of)
        _check_values(selector, self)
        cells = tuple(cell for cell in self.cells if matches(selector, **cell.coordinates))
        plan = replace(self, cells=cells)
        if not plan.runs:
            reasons = [f"{x.label} on {x.dataset} is not run: {x.reason}" for x in plan.excluded]
            raise ConfigError(f"--only: {reasons[0] if reasons else 'no run has all of it'}")
        return plan


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
    plan = Plan(
        suite.name,
        suite.title,
        resolved.variant,
        _distinct(suite, (cell for group in groups for cell in group)),
        settings=dotted(overrides),
    )
    if not plan.runs:
        reason = plan.excluded[0].reason if plan.excluded else "it has no seed"
        raise ConfigError(f"suite '{suite.name}': all of its cells are excluded: {reason}")
    return plan.select(only, source_of) if only else plan


Digests = Callable[[DataSpec], tuple[str, str]]
"""Returns the digest of the graph and of the features ("" without) of a run's data."""


def identify(runs: Iterable[Cell], digests: Digests) -> tuple[Cell, ...]:
    """Return planned cells with the ids of their runs; cells that describe one run share its id.

    Args:
        runs: cells that are run.
        digests: see there.
    """
    digests = cache(digests)
    return tuple(
        run.model_copy(update={"run_id": run_id_of(run.spec, *digests(run.spec.data))})
        for run in runs
    )


def without_missing(plan: Plan, digests: Digests) -> Plan:
    """Return the plan in which runs whose data are not on this machine have that reason.

    Raises:
        MissingDataError: no run is left; the message says which command gets the data.
    """
    missing: dict[DataSpec, MissingDataError] = {}
    for data in dict.fromkeys(run.spec.data for run in plan.runs):
        try:
            digests(data)
        except MissingDataError as error:
            missing[data] = error
    cells = tuple(
        cell.model_copy(update={"reason": missing[cell.spec.data].brief})
        if not cell.reason and cell.spec.data in missing
        else cell
        for cell in plan.cells
    )
    available = replace(plan, cells=cells)
    if missing and not available.runs:
        raise next(iter(missing.values()))
    return available


def _check_values(selector: Selector, plan: Plan) -> None:
    """Refuse a value that no cell has, also when another value of its key is one's."""
    for key in Selector.model_fields:
        offered = {str(cell.coordinates[key]) for cell in plan.cells}
        for value in getattr(selector, key):
            if str(value) not in offered:
                hint = suggest(str(value), offered)
                raise ConfigError(f"--only {key}={value}: no run has it{hint}")


def cells_of(
    resolved: ResolvedSuite, dataset: tuple[DatasetSource, Layer], row: SuiteRow, extra: Layer = ()
) -> Iterator[Cell]:
    """Yield a row's cells on a dataset, one per seed.

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
    refusal = data if isinstance(data, str) else ""
    if not isinstance(data, str):
        spec = spec.model_copy(update={"data": data})
    names = [dataset.card.name for dataset, _ in resolved.datasets]
    position = list(dict.fromkeys(names)).index(name) * len(resolved.rows) + row.position
    for seed in suite.seeds:
        coordinates = {**cell, "features": spec.data.features, "seed": seed}
        hit = next((e for e in resolved.exclusions if matches(e, **coordinates)), None)
        yield Cell.of(
            spec.model_copy(update={"seed": seed}),
            row.label,
            position,
            suite=suite.name,
            variant=resolved.variant,
            reason=refusal or (hit.reason if hit else ""),
        )


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


def _distinct(suite: Suite, cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Keep one of equal cells (a structural model sees no difference between feature sets).

    Raises:
        ConfigError: two different runs would stand in one cell.
    """
    runs: dict[tuple[object, ...], Cell] = {}
    unique: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        if not cell.reason and runs.setdefault(cell.key, cell).spec != cell.spec:
            raise ConfigError(
                f"{suite.origin(('datasets',))}: '{cell.dataset}' with features "
                f"'{cell.features}' stands there twice with different settings"
            )
        unique.setdefault((cell.key, cell.reason), cell)
    return tuple(unique.values())
