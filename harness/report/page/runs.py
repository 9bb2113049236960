"""The runs behind a number, as values that the template prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis.statistics import summarise
from harness.evaluation.metrics import METRICS, RANK_METRICS
from harness.plan.spec import changed_values
from harness.report.page.charts import Chart, Series, lines
from harness.report.page.facts import FactTable, Pairs, flat, pairs, plain
from harness.report.page.ranks import RankSummary, rank_summary
from harness.report.repeat import repeat_commands
from harness.store.records import RunRecord

__all__ = ["Failure", "Location", "RunGroup", "Seed", "describe", "describe_failure"]

CURVES = (
    ("valid_mrr", "Validation MRR by epoch, percent", 100.0),
    ("loss", "Training loss by epoch", 1.0),
)
"""Key in the history, title and factor of the curves by epoch."""

Row = tuple[str, ...]


@dataclass(frozen=True)
class Location:
    """A row of a table, on one dataset, that the runs fill; ``anchor`` is the table's."""

    table: str
    anchor: str
    label: str
    dataset: str


@dataclass(frozen=True)
class Seed:
    """One run of a group.

    Attributes:
        seed, run_id: of the run.
        values: texts under the headings of ``RunGroup.measures``.
        commands: what executes it again.
    """

    seed: int
    run_id: str
    values: Row
    commands: tuple[str, ...]


@dataclass(frozen=True)
class RunGroup:
    """The runs behind one cell of a table; they differ in their seed.

    Attributes:
        anchor: id of the element.
        locations: where the numbers stand.
        dataset, features, model: of all runs.
        headline: metric and "mean ± sd" of the test split.
        notes: footnotes of the cells, and notes of the runs on their data.
        measures: headings of the seeds' values.
        seeds: run by run.
        subsets: metrics by split, side and bucket, over the seeds.
        curves: by epoch, a line per seed.
        ranks: summary of the stored ranks, or the reason why there is none.
        settings: all settings as they were stored.
        changed: those that differ from the defaults; None when they do not fit this version.
        diagnostics: model diagnostics by seed.
        environment: provenance; a column per run where runs differ.
    """

    anchor: str
    locations: tuple[Location, ...]
    dataset: str
    features: str
    model: str
    headline: Pairs
    notes: tuple[str, ...]
    measures: Row
    seeds: tuple[Seed, ...]
    subsets: FactTable
    curves: tuple[Chart, ...]
    ranks: RankSummary | str
    settings: Pairs
    changed: Pairs | None
    diagnostics: FactTable
    environment: FactTable

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Legend of the curves, which the template of the page writes."""
        return tuple(f"seed {seed.seed}" for seed in self.seeds)

    @property
    def label(self) -> str:
        """Label of the row in the first table."""
        return self.locations[0].label


@dataclass(frozen=True)
class Failure:
    """A failed run; ``rows`` are the rows of suites that lack it."""

    anchor: str
    record: RunRecord
    rows: tuple[str, ...]
    message: str
    commands: tuple[str, ...]


def describe(
    anchor: str,
    locations: Sequence[Location],
    records: Sequence[RunRecord],
    notes: Sequence[str],
    runs: Path,
) -> RunGroup:
    """Describe the runs behind a number.

    Args:
        anchor: id of the element that shows it.
        locations: where the number stands; at least one.
        records: the runs, ``cells`` filled; at least one.
        notes: the number's footnotes.
        runs: folder of the run folders, which hold the ranks.
    """
    first = records[0]
    measures = _measures(records)
    return RunGroup(
        anchor=anchor,
        locations=tuple(locations),
        dataset=first.dataset,
        features=_features(first),
        model=first.model,
        headline=tuple(_headline(records)),
        notes=tuple(dict.fromkeys((*notes, *(n for record in records for n in record.notes)))),
        measures=tuple(title for title, _ in measures),
        seeds=tuple(
            Seed(
                record.seed,
                record.run_id,
                tuple(text(record) for _, text in measures),
                tuple(repeat_commands(record)),
            )
            for record in records
        ),
        subsets=_metrics_by_subset(records),
        curves=tuple(_curves(records)),
        ranks=rank_summary(records, runs),
        settings=_settings(first.written_spec),
        changed=_settings(changed_values(first.spec)),
        diagnostics=_diagnostics(records),
        environment=_environment(records),
    )


def describe_failure(record: RunRecord) -> Failure:
    """Describe a failed run, ``cells`` filled."""
    lines = (record.error or "").strip().splitlines()
    return Failure(
        anchor=f"failed-{record.run_id}",
        record=record,
        rows=tuple(
            f"{cell.suite}{f' ({cell.variant})' if cell.variant else ''}: {cell.label}"
            for cell in record.cells
        ),
        message=lines[0] if lines else "no message",
        commands=tuple(repeat_commands(record)),
    )


def _features(record: RunRecord) -> str:
    modalities = ", ".join(record.modalities)
    return record.features + (f" ({modalities})" if modalities else "")


def _headline(records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    for name in ("mrr", "hits@10"):
        values = [value for r in records if (value := r.metric(name)) is not None]
        if values:
            yield METRICS[name].title, _over_seeds(name, values)


def _measures(records: Sequence[RunRecord]) -> list[tuple[str, Callable[[RunRecord], str]]]:
    """Return the columns of the table of seeds that some run has a value for."""

    def metric(name: str, split: str) -> Callable[[RunRecord], str]:
        return lambda record: _number(name, record.metric(name, split))

    def diagnostic(name: str) -> Callable[[RunRecord], str]:
        return lambda record: _count(record.diagnostics.get(name))

    columns = [
        *((METRICS[name].title, metric(name, "test")) for name in RANK_METRICS),
        ("valid MRR", metric("mrr", "valid")),
        ("best epoch", diagnostic("best_epoch")),
        ("epochs", lambda record: _count(float(len(record.history)) or None)),
        ("train, s", lambda record: _count(_total(record, "train.epoch"))),
        ("peak, MiB", lambda record: _count(_total(record, "memory.peak"), 2**20)),
    ]
    return [(title, text) for title, text in columns if any(text(r) for r in records)]


def _metrics_by_subset(records: Sequence[RunRecord]) -> FactTable:
    """Return the metrics over the seeds, a row for every split, side and bucket."""
    names = list(dict.fromkeys(m.metric for r in records for m in r.metrics))
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    queries: dict[tuple[str, str, str], int] = {}
    for record in records:
        for m in record.metrics:
            subset = (m.split, m.side, m.bucket)
            values.setdefault(subset, {}).setdefault(m.metric, []).append(m.value)
            queries[subset] = max(m.queries, queries.get(subset, 0))
    ordered = sorted(values, key=lambda subset: subset[0] != "test")
    rows = [
        (
            *subset,
            *(_over_seeds(n, values[subset].get(n, [])) for n in names),
            f"{queries[subset]:,}",
        )
        for subset in ordered
    ]
    titles = [METRICS[name].title if name in METRICS else name for name in names]
    return FactTable(("split", "side", "part", *titles, "queries"), tuple(rows))


def _curves(records: Sequence[RunRecord]) -> Iterator[Chart]:
    for key, title, factor in CURVES:
        chart = lines(
            title,
            [
                Series(
                    f"seed {record.seed}",
                    [
                        (e["epoch"], factor * e[key])
                        for e in record.history
                        if {"epoch", key} <= e.keys()
                    ],
                    record.diagnostics.get("best_epoch"),
                )
                for record in records
            ],
        )
        if chart is not None:
            yield chart


def _settings(values: Mapping[str, Any]) -> Pairs:
    """Return settings without the seed, which tells the runs of a group apart."""
    return tuple(pair for pair in pairs(values) if pair[0] != "seed")


def _diagnostics(records: Sequence[RunRecord]) -> FactTable:
    names = dict.fromkeys(name for record in records for name in record.diagnostics)
    return FactTable(
        ("", *(f"seed {record.seed}" for record in records)),
        tuple(
            (name, *(plain(record.diagnostics.get(name)) for record in records)) for name in names
        ),
    )


def _environment(records: Sequence[RunRecord]) -> FactTable:
    """Return the provenance of the runs: one column when they differ in their times alone."""
    provenances = [flat(record.provenance) for record in records]
    names = list(dict.fromkeys(name for values in provenances for name in values))
    finished = [str(values["finished"]) for values in provenances if "finished" in values]
    lasting = [name for name in names if not _is_time(name)]
    if all(
        values.get(name) == provenances[0].get(name) for values in provenances for name in lasting
    ):
        rows = [(name, plain(provenances[0].get(name))) for name in lasting]
        until = f"{min(finished)} to {max(finished)}" if len(finished) > 1 else "".join(finished)
        return FactTable(("", "all runs"), (*rows, *([("finished", until)] if finished else [])))
    return FactTable(
        ("", *(f"seed {record.seed}" for record in records)),
        tuple((n, *(plain(values.get(n)) for values in provenances)) for n in names),
    )


def _is_time(name: str) -> bool:
    """Tell whether a key of a provenance holds a time of day: no two runs share one."""
    return name == "finished" or (
        name.startswith("test_split.") and name.endswith((".first", ".last"))
    )


def _over_seeds(metric: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    summary = summarise(values)
    spread = f" ± {_number(metric, summary.sd)}" if summary.sd else ""
    return _number(metric, summary.mean) + spread


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    if metric not in METRICS:
        return f"{value:.4g}"
    factor = METRICS[metric].factor
    return f"{factor * value:.{1 if factor == 1 else 2}f}"


def _total(record: RunRecord, name: str) -> float | None:
    return sum(sample.value for sample in record.timings if sample.name == name) or None


def _count(value: float | None, unit: float = 1) -> str:
    """Return a number of units without a fraction, but for small ones."""
    if value is None:
        return ""
    number = value / unit
    return f"{number:,.0f}" if number >= 10 or number.is_integer() else f"{number:.2g}"
