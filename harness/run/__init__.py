"""Suites, studies and single runs: planned, executed, and used afterwards.

What these functions report while they work are the events of :mod:`harness.run.events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.lazy import attach

if TYPE_CHECKING:
    from harness.plan.expand import Plan as Plan
    from harness.plan.search import Search as Search
    from harness.run.database import check_results as check_results
    from harness.run.database import export_results as export_results
    from harness.run.database import import_results as import_results
    from harness.run.database import merge_results as merge_results
    from harness.run.database import upgrade_results as upgrade_results
    from harness.run.executors import Execution as Execution
    from harness.run.executors import ExecutionOptions as ExecutionOptions
    from harness.run.executors import devices_of as devices_of
    from harness.run.executors import make_executor as make_executor
    from harness.run.external import score_file as score_file
    from harness.run.forecast import Forecast as Forecast
    from harness.run.forecast import ForecastRow as ForecastRow
    from harness.run.forecast import ModelCosts as ModelCosts
    from harness.run.forecast import PlanProgress as PlanProgress
    from harness.run.forecast import dry_run as dry_run
    from harness.run.forecast import dry_run_study as dry_run_study
    from harness.run.forecast import model_costs as model_costs
    from harness.run.inference import Predictions as Predictions
    from harness.run.inference import Run as Run
    from harness.run.inference import load_run as load_run
    from harness.run.logs import RunLog as RunLog
    from harness.run.logs import run_logs as run_logs
    from harness.run.measuring import StagesEstimate as StagesEstimate
    from harness.run.measuring import import_measurements as import_measurements
    from harness.run.measuring import measure_epochs as measure_epochs
    from harness.run.measuring import measure_stages as measure_stages
    from harness.run.measuring import measurement_tables as measurement_tables
    from harness.run.measuring import stages_of as stages_of
    from harness.run.models import ModelDetails as ModelDetails
    from harness.run.models import ModelListing as ModelListing
    from harness.run.models import describe_model as describe_model
    from harness.run.models import list_models as list_models
    from harness.run.models import list_strategies as list_strategies
    from harness.run.runs import failure_hint as failure_hint
    from harness.run.runs import find_runs as find_runs
    from harness.run.runs import forget_failures as forget_failures
    from harness.run.runs import get_record as get_record
    from harness.run.runs import open_store as open_store
    from harness.run.runs import remove_run as remove_run
    from harness.run.runs import resolve_run as resolve_run
    from harness.run.runs import retest_run as retest_run
    from harness.run.study import StudyPlan as StudyPlan
    from harness.run.study import StudyResult as StudyResult
    from harness.run.study import export_trials as export_trials
    from harness.run.study import list_studies as list_studies
    from harness.run.study import load_study as load_study
    from harness.run.study import load_study_results as load_study_results
    from harness.run.study import promote_trials as promote_trials
    from harness.run.study import run_study as run_study
    from harness.run.suite import SuiteResult as SuiteResult
    from harness.run.suite import load_suite as load_suite
    from harness.run.suite import plan_run as plan_run
    from harness.run.suite import run_suite as run_suite
    from harness.store.ingest import Taken as Taken

_NAMES = {
    "harness.plan.expand": ["Plan"],
    "harness.plan.search": ["Search"],
    "harness.run.database": [
        *("check_results", "export_results", "import_results", "merge_results"),
        "upgrade_results",
    ],
    "harness.run.forecast": [
        *("Forecast", "ForecastRow", "ModelCosts", "PlanProgress", "dry_run", "dry_run_study"),
        "model_costs",
    ],
    "harness.run.executors": ["Execution", "ExecutionOptions", "devices_of", "make_executor"],
    "harness.run.external": ["score_file"],
    "harness.run.inference": ["Predictions", "Run", "load_run"],
    "harness.run.logs": ["RunLog", "run_logs"],
    "harness.run.measuring": [
        *("StagesEstimate", "import_measurements", "measure_epochs", "measure_stages"),
        *("measurement_tables", "stages_of"),
    ],
    "harness.run.models": [
        *("ModelDetails", "ModelListing", "describe_model", "list_models", "list_strategies"),
    ],
    "harness.run.runs": [
        "failure_hint",
        *("find_runs", "forget_failures", "get_record", "open_store", "remove_run"),
        *("resolve_run", "retest_run"),
    ],
    "harness.run.study": [
        *("StudyPlan", "StudyResult", "export_trials", "list_studies", "load_study"),
        *("load_study_results", "promote_trials", "run_study"),
    ],
    "harness.run.suite": ["SuiteResult", "load_suite", "plan_run", "run_suite"],
    "harness.store.ingest": ["Taken"],
}
__all__ = sorted(name for names in _NAMES.values() for name in names)
__getattr__, __dir__ = attach(__name__, _NAMES)
