"""Reasons of empty cells, with the command that fills them."""

from __future__ import annotations

from harness.analysis.costs import best_validation, is_timed, leaked_validation
from harness.analysis.results import RowResult, SuiteResults
from harness.evaluation.metrics import METRICS
from harness.report.definition import Definition, RowSpec
from harness.report.table import Column
from harness.store.records import MetricKey

__all__ = ["NOTHING_TO_SEARCH", "NO_TIMES", "missing_reason"]

NOTHING_TO_SEARCH = "learns nothing: there is nothing to search"
NO_TIMES = "the runs hold no times of epochs"


def missing_reason(
    definition: Definition,
    spec: RowSpec,
    column: Column,
    results: SuiteResults,
    target: float | None = None,
) -> str:
    """Return why a row has no value in a column.

    Args:
        definition: the table.
        spec: the row.
        column: the column.
        results: stored results of the suite.
        target: published MRR in percent, None where none is printed.
    """
    result = results.find(spec.label, column.dataset)
    if result is None:
        return _not_planned(definition, spec, column, results)
    failed = [run for run in result.runs if run.failure]
    if result.untested and result.records and column.split == "test":
        return f"validated and not tested: `{results.test_command}` tests it"
    if result.records and METRICS[column.metric].source == "costs":
        return _no_cost(result, column, target)
    if result.records:
        key = MetricKey(column.metric, column.bucket, column.split)
        return result.why_no_subset(key) or f"not measured: the runs hold no {column.title}"
    if failed:
        return f"failed: run {failed[0].run_id}: {failed[0].failure}"
    if result.untested:
        return "pruned: it fell behind, see `harness study show`"
    if result.damages:
        return result.damages[0]
    if not result.planned:
        return f"not run: {'; '.join(result.reasons)}"
    if any(run.resumable for run in result.runs):
        return f"interrupted, or still running: `{results.command}` resumes it"
    return _not_run(results, _model_of(spec, results) if results.records else "")


def _no_cost(result: RowResult, column: Column, target: float | None) -> str:
    """Return why no processor time can be counted of runs that succeeded."""
    if not any(map(is_timed, result.records)):
        return NO_TIMES
    if reason := leaked_validation(column.dataset):
        return reason
    if target is None:
        return "no published MRR"
    best = best_validation(result.records)
    reached = "not validated" if best is None else f"best validation MRR {best:.2f}"
    return f"{reached}, published {target:.2f}"


def _not_planned(
    definition: Definition, spec: RowSpec, column: Column, results: SuiteResults
) -> str:
    if column.dataset in results.unplaced:
        return results.unplaced[column.dataset]
    row = results.row(spec.label)
    if not row and not spec.model:
        return "not implemented"
    missing = _dataset_reason(definition, column.dataset)
    if missing:
        return f"not run: {missing}"
    if results.is_study and spec.label.lower() in map(str.lower, definition.floors):
        return NOTHING_TO_SEARCH
    if not results.results or results.is_study:  # a study does not plan its next trials
        return _not_run(results, "")
    if results.is_listed(spec.label, column.dataset):  # but not when the suite was last run
        return _not_run(results, "")
    return f"not in suite '{definition.suite}'"


def _dataset_reason(definition: Definition, name: str) -> str:
    return next((d.missing for d in definition.datasets if d.name == name), "")


def _not_run(results: SuiteResults, model: str) -> str:
    if results.left_out:
        return f"not shown: {results.left_out}"
    only = f" --only model={model}" if model else ""
    return f"not run: `{results.command}{only}`"


def _model_of(spec: RowSpec, results: SuiteResults) -> str:
    """Return the registered model of a row: what other runs of it say, or the definition."""
    row: tuple[RowResult, ...] = results.row(spec.label)
    return next((record.model for result in row for record in result.records), spec.model)
