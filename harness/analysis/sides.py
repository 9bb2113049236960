"""Names of the sides of a comparison, and the runs by seed that they stand for.

A side is a row of a suite, ``SUITE:ROW`` (``main:MoCME``), or runs, ``RUN`` or ``RUN,RUN``:

* SUITE is a suite of the store or an alias (a table of ``harness report``); ``SUITE@VARIANT`` means
  the runs of a suite with ``--set``, by the digest that ``harness run`` printed.
* ROW is a row's label in any case, or a registered model with one row in the suite.
* RUN is a run's id or its beginning; several runs are the seeds of one setting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from harness.analysis.differing import differing, flat
from harness.analysis.query import BUCKETS, Results, Selection, numbers_of
from harness.analysis.results import RowResult, RunValues, SeedRun, SuiteResults
from harness.config.listing import names_in
from harness.errors import ConfigError, suggest
from harness.evaluation.metrics import METRICS
from harness.store.base import ResultStore, readable_records, resolve_id, suite_of
from harness.store.records import Cell, RunRecord

__all__ = ["RANKED", "Side", "StoredSuites", "find_sides"]

RANKED = tuple(name for name, metric in METRICS.items() if metric.source == "metrics")
"""Metrics that are made of ranks: those that can be compared query by query."""
LISTED = 8
"""Names that one message lists."""
READ = tuple(f"{metric}/{bucket}" for metric in RANKED for bucket in BUCKETS)


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the runs of a row on a dataset, or runs that were named.

    Attributes:
        text: name that the user gave.
        source: its origin ("suite main_table", "runs 3f2a..., 91bc...").
        result: its runs by seed.
    """

    text: str
    source: str
    result: RowResult

    @property
    def label(self) -> str:
        """The row's label; the model of runs."""
        return self.result.label

    @cached_property
    def tested(self) -> Mapping[int, RunRecord]:
        """Records of the runs that were tested, by seed."""
        runs = self.result.runs
        return {r.seed: r.record for r in runs if r.record and r.record.status == "ok"}

    @property
    def protocol(self) -> str:
        """Protocol of its tested runs."""
        return next(iter(self.tested.values())).protocol

    @property
    def missing(self) -> Mapping[int, str]:
        """Reasons why other seeds cannot be compared, by seed."""
        return {r.seed: _why_not(r) for r in self.result.runs if r.seed not in self.tested}

    def run_values(self, metric: str, bucket: str) -> RunValues:
        """Return the tested runs that have a value, with it, by seed."""
        values = self.result.run_values(metric, bucket)
        return {seed: values[seed] for seed in self.tested if seed in values}


class StoredSuites:
    """Suites that sides may name, each read once.

    Args:
        store: any store.
        aliases: returns other names of suites (tables) with the suites that they stand for.
    """

    def __init__(
        self, store: ResultStore, aliases: Callable[[], Mapping[str, str]] = lambda: {}
    ) -> None:
        self.store, self.aliases = store, cache(aliases)
        self.read = cache(self._read)

    def _read(self, name: str, variant: str) -> SuiteResults:
        return Results(self.store, Selection(variant)).suite(name, READ)


def find_sides(
    suites: StoredSuites,
    first: str,
    second: str,
    dataset: str = "",
    seeds: Collection[int] | None = None,
) -> tuple[Side, Side]:
    """Return the runs that two names mean, on the same dataset, with a seed in common.

    Args:
        suites: suites of a store.
        first, second: names, see the module.
        dataset: needed when both have more than one; in any case.
        seeds: which seeds to use; all when None.

    Raises:
        ConfigError: a name means nothing (the nearest is offered) or more than one thing, or the
            two cannot be compared (what differs is named).
        StoreError: the runs of a suite cannot stand side by side.
    """
    a, b = (_on_datasets(suites, text, seeds) for text in (first, second))
    name = _dataset(a, b, dataset)
    sides = a[name], b[name]
    _refuse_incomparable(*sides)
    return sides


OnDatasets = Mapping[str, Side]
"""What a name means, by dataset."""


def _on_datasets(suites: StoredSuites, text: str, seeds: Collection[int] | None) -> OnDatasets:
    suite, colon, row = text.partition(":")
    if colon:
        return _row(suites, text, suite, row, seeds)
    return _runs(suites.store, text, seeds)


def _row(
    suites: StoredSuites, text: str, suite: str, row: str, seeds: Collection[int] | None
) -> OnDatasets:
    name, _, variant = suite.partition("@")
    name = _suite(suites, text, name, variant)
    results = suites.read(name, variant)
    label = _label(text, row, results.results)
    source = f"suite {name}{suite_of(suites.store, name, variant).set_options}"
    return {r.dataset: Side(text, source, _with_seeds(r, seeds)) for r in results.row(label)}


def _with_seeds(result: RowResult, seeds: Collection[int] | None) -> RowResult:
    """Return the runs of some seeds; all when None."""
    return replace(result, runs=tuple(r for r in result.runs if seeds is None or r.seed in seeds))


def _suite(stored: StoredSuites, text: str, name: str, variant: str) -> str:
    """Return the suite of a name; the store has its variant."""
    stored_variants = {(suite, of) for suite, of, _ in stored.store.blocks()}
    suites = {suite for suite, _ in stored_variants}
    if name not in suites:
        tables = stored.aliases()
        names = suites | {table for table, suite in tables.items() if suite in suites}
        if name not in names:
            near = suggest(name, names) or "; the store has none"
            raise ConfigError(f"'{text}': no suite or table '{name}'{near}")
        name = tables[name]
    variants = {of for suite, of in stored_variants if suite == name}
    if variant not in variants:
        spellings = [f"{name}@{of}" if of else name for of in variants]
        requested = f"{name}@{variant}" if variant else f"{name} without --set"
        raise ConfigError(f"'{text}': no results of {requested}{suggest(requested, spellings)}")
    return name


def _label(text: str, row: str, results: Sequence[RowResult]) -> str:
    """Return the label of the row that is meant."""
    labels = {result.label.lower(): result.label for result in results}
    if row.lower() in labels:
        return labels[row.lower()]
    models: dict[str, dict[str, None]] = {}
    for result in results:
        for record in result.records:
            models.setdefault(record.model, {})[result.label] = None
    of_model = list(models.get(row.lower(), ()))
    if len(of_model) > 1:
        raise ConfigError(
            f"'{text}': several rows are of model '{row}'; choose from {_list(of_model)}"
        )
    if not of_model:
        names = [*labels.values(), *(model for model in models if model not in labels)]
        raise ConfigError(f"'{text}': no row '{row}'{suggest(row, names)}")
    return of_model[0]


def _runs(store: ResultStore, text: str, seeds: Collection[int] | None) -> OnDatasets:
    """Return the side of runs that are named one by one."""
    pieces = names_in(text, "runs") or ("",)
    ids = list(dict.fromkeys(_run_id(store, piece) for piece in pieces))
    by_id, problems = readable_records(store, ids, numbers_of(READ))
    for problem in problems.values():
        raise ConfigError(problem)
    records = [by_id[run_id] for run_id in ids]
    _refuse_mixture(text, records)
    runs = tuple(SeedRun(r.seed, r.run_id, r) for r in sorted(records, key=lambda r: r.seed))
    run = records[0]
    source = f"run{'s' * (len(ids) > 1)} {', '.join(ids)}"
    label = f"{run.model} {run.run_id}" + f" and {len(ids) - 1} more" * (len(ids) > 1)
    result = RowResult(label, run.dataset, run.features, runs)
    return {run.dataset: Side(text, source, _with_seeds(result, seeds))}


def _run_id(store: ResultStore, text: str) -> str:
    """Return the id that a text means; where it is a row's label, say how rows are named."""
    if text and not store.ids(text):
        cells = store.cells()
        labels = {cell.label for cell in cells}
        rows = [_row_name(cell) for cell in cells if cell.label.lower() == text.lower()]
        if rows:
            raise ConfigError(
                f"'{text}' is no run; rows are named with their suite: "
                f"{_list(list(dict.fromkeys(rows)))}"
            )
        if "did you mean" in (near := suggest(text, labels)):
            raise ConfigError(f"'{text}' is no run; rows are named SUITE:ROW{near}")
    return resolve_id(store, text)


def _row_name(cell: Cell) -> str:
    """Return the name of a cell's row."""
    return f"{cell.suite}{f'@{cell.variant}' * bool(cell.variant)}:{cell.label}"


def _refuse_mixture(text: str, records: Sequence[RunRecord]) -> None:
    """Refuse runs that differ in more than their seed."""
    first, by_seed = records[0], {records[0].seed: records[0]}
    for record in records[1:]:
        if record.seed in by_seed:
            raise ConfigError(
                f"'{text}': {by_seed[record.seed].run_id} and {record.run_id} both have seed "
                f"{record.seed}; a side is one setting with several seeds"
            )
        by_seed[record.seed] = record
        if differences := differing(_identity(first), _identity(record)):
            raise ConfigError(
                f"'{text}': {first.run_id} and {record.run_id} differ in more than the seed: "
                f"{_in_words(differences)}"
            )


def _identity(record: RunRecord) -> dict[str, Any]:
    """Return the settings that the runs of one side share, by dotted key."""
    digests = {"dataset_digest": record.dataset_digest, "feature_digest": record.feature_digest}
    spec = record.spec.model_dump(mode="json", exclude={"seed"})
    return {**flat(spec), **digests, "protocol": record.protocol}


def _dataset(first: OnDatasets, second: OnDatasets, requested: str) -> str:
    """Return the requested dataset, or the only one that both sides have."""
    if requested:
        for side in (first, second):
            if requested.lower() not in {name.lower() for name in side}:
                text = next(iter(side.values())).text
                raise ConfigError(
                    f"'{text}' has no dataset '{requested}'{suggest(requested, side)}"
                )
        return next(name for name in first if name.lower() == requested.lower())
    common = [name for name in first if name in second]
    usable = [name for name in common if first[name].tested and second[name].tested] or common
    if not usable:
        (a, on_a), (b, on_b) = ((next(iter(s.values())).text, s) for s in (first, second))
        raise ConfigError(
            f"no dataset in common: '{a}' is on {_list(on_a)}, '{b}' is on {_list(on_b)}"
        )
    if len(usable) > 1:
        raise ConfigError(f"both sides are on {_list(usable)}: name a dataset (--dataset)")
    return usable[0]


def _refuse_incomparable(first: Side, second: Side) -> None:
    """Refuse sides that have no seed in common, or were not tested alike."""
    for side in (first, second):
        if not side.tested:
            raise ConfigError(f"'{side.text}' has no tested run: {_seeds_of(side)}")
    if {r.run_id for r in first.tested.values()} == {r.run_id for r in second.tested.values()}:
        raise ConfigError(f"'{first.text}' and '{second.text}' are the same runs")
    a, b = (next(iter(side.tested.values())) for side in (first, second))
    if differences := differing(_conditions(a), _conditions(b)):
        raise ConfigError(
            f"'{first.text}' and '{second.text}' cannot be compared: they differ in "
            f"{_in_words(differences)}"
        )
    if not first.tested.keys() & second.tested.keys():
        raise ConfigError(
            "no seed in common, and only the same seeds can be paired: "
            f"'{first.text}' has {_seeds_of(first)}; '{second.text}' has {_seeds_of(second)}"
        )


def _conditions(record: RunRecord) -> dict[str, Any]:
    """Return the conditions under which ranks can be compared query by query."""
    return {"dataset version": record.dataset_digest, "protocol": record.protocol}


def _seeds_of(side: Side) -> str:
    """Return which seeds a side has, and why it has not the others."""
    phrases = [f"seeds {_list(map(str, side.tested))}"] if side.tested else []
    phrases += [f"seed {seed} {reason}" for seed, reason in side.missing.items()]
    return ", ".join(phrases) or "none of these seeds"


def _why_not(run: SeedRun) -> str:
    if run.failure:
        return f"failed ({run.failure})"
    if run.untested:
        return "was validated only"
    return run.damage or run.reason or "was not run"


def _in_words(differences: Mapping[str, Sequence[object]]) -> str:
    return "; ".join(f"{key} ({a} and {b})" for key, (a, b) in differences.items())


def _list(names: Iterable[str]) -> str:
    every_name = list(names)
    return ", ".join(every_name[:LISTED]) + (", ..." if len(every_name) > LISTED else "")
