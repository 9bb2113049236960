"""Stored ranks of the runs of a table, with the reasons why some have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.query import Results, Selection
from harness.analysis.results import RowResult, SuiteResults
from harness.analysis.statistics import SeedSummary, summarise
from harness.errors import ConfigError, suggest
from harness.store.records import RunRecord

__all__ = [
    "Gathered",
    "GeneralReason",
    "gather",
    "selected_datasets",
    "tested_suite",
]

NAMED = 3
"""Runs that a footnote names."""


class GeneralReason(str):
    """A reason that lies in a rule or a protocol, not in this run or that."""

    __slots__ = ()


@dataclass
class Gathered:
    """Values of the runs of a row by seed, and the problems of the others.

    Attributes:
        values: seed -> value.
        runs: their ids.
        problems: problem -> ids of the runs that have it.
    """

    values: dict[int, float] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """The problems in words, with the runs."""
        return tuple(
            str(problem)
            if isinstance(problem, GeneralReason) and not self.values
            else _with_runs(problem, runs)
            for problem, runs in self.problems.items()
        )

    def summary(self) -> SeedSummary | None:
        """Return mean and spread over seeds, None without a value."""
        return summarise(list(self.values.values())) if self.values else None


def _with_runs(problem: str, runs: Sequence[str]) -> str:
    remainder = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return f"{problem}: run{'s' * (len(runs) > 1)} {', '.join(runs[:NAMED])}{remainder}"


def gather(result: RowResult | None, value: Callable[[RunRecord], float | str | None]) -> Gathered:
    """Ask each tested run of a row for a value; a text says why it has none.

    Args:
        result: the row on a dataset; None where it has none.
        value: returns a run's value, None where there is nothing to average.
    """
    gathered = Gathered()
    for run in result.records if result else ():
        if run.status != "ok":
            continue
        outcome = value(run)
        if isinstance(outcome, str):
            gathered.problems.setdefault(outcome, []).append(run.run_id)
        elif outcome is not None:
            gathered.values[run.seed] = outcome
            gathered.runs.append(run.run_id)
    return gathered


def tested_suite(results: Results, suite: str, metrics: Sequence[str]) -> SuiteResults:
    """Return the results of the suite that is meant: the named one, or the only one with tests.

    Raises:
        ConfigError: there is no such suite, or several have tests and none is named.
        StoreError: its runs cannot stand in one table.
    """
    blocks, variant = results.store.blocks(), results.selection.variant
    names = sorted({name for name, of, _ in blocks if of == variant})
    if suite and suite not in names:
        raise ConfigError(f"--suite {suite}: no runs of it here{suggest(suite, names)}")
    if suite:
        return results.suite(suite, metrics)
    suites = [results.suite(name, metrics) for name in names]
    tested = [f for f in suites if any(run.status == "ok" for run in f.records)]
    if len(tested) == 1:
        return tested[0]
    if not tested:
        raise ConfigError("no run was tested here; `harness run quickstart` makes some")
    listing = ", ".join(results.suite for results in tested)
    raise ConfigError(f"give one of the suites with tested runs, --suite NAME: {listing}")


def selected_datasets(results: SuiteResults, selection: Selection) -> tuple[str, ...]:
    """Return the datasets of a suite that are to be shown.

    Raises:
        ConfigError: the suite has no such dataset.
    """
    datasets: Mapping[str, str] = {name.lower(): name for name in results.datasets}
    for name in selection.datasets:
        if name.lower() not in datasets:
            raise ConfigError(
                f"suite '{results.suite}' has no dataset '{name}'{suggest(name, datasets.values())}"
            )
    selected = {name.lower() for name in selection.datasets}
    return tuple(name for low, name in datasets.items() if not selected or low in selected)
