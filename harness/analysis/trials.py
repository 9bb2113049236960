"""The trials of a study as rows of a table: of each row the best by validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.analysis.results import RowResult, SeedRun, SuiteResults
from harness.plan.study import trial_of

__all__ = ["best_trials"]


def best_trials(results: SuiteResults, seeds: Collection[int] | None = None) -> SuiteResults:
    """Return a study's rows, each with the runs of its best trial.

    The best is the complete trial with the highest mean validation MRR over all its seeds, the
    earliest of equals, as ``harness study promote`` chooses: whether trials were tested, and what
    came of it, plays no part. Where it was not tested its runs hold no test value.

    Args:
        results: of a study, read with "valid:mrr".
        seeds: whose runs are kept, after the choice; all when None.
    """
    # Rows that are not searched say why.
    best_rows = [r for r in results.results if not r.planned]
    rows: dict[tuple[str, str, str], dict[int, RowResult]] = defaultdict(dict)
    for result in results.results:
        if parsed := trial_of(result.label):
            label, number = parsed
            rows[label, result.dataset, result.features][number] = result
    best_rows += [_row(*key, [trials[n] for n in sorted(trials)]) for key, trials in rows.items()]
    selected = (
        replace(row, runs=tuple(run for run in row.runs if _selected(run, seeds)))
        for row in best_rows
    )
    return replace(results, results=tuple(row for row in selected if row.runs), searched=True)


def _selected(run: SeedRun, seeds: Collection[int] | None) -> bool:
    return seeds is None or bool(run.reason) or run.seed in seeds


def _row(label: str, dataset: str, features: str, trials: Sequence[RowResult]) -> RowResult:
    n_runs = max(len(trial.runs) for trial in trials)
    complete = [trial for trial in trials if len(_validated(trial)) == n_runs]
    if complete:
        runs = max(complete, key=_value).runs
    else:
        runs = (SeedRun(0, "", None, reason=f"none of {len(trials)} trials is complete"),)
    return RowResult(label, dataset, features, runs, tried=len(trials))


def _validated(trial: RowResult) -> dict[int, float]:
    """Return the validation MRRs by seed; a pruned run, which has some, does not count."""
    return trial.values("mrr", split="valid")


def _value(trial: RowResult) -> float:
    values = _validated(trial).values()
    return math.fsum(values) / len(values)
