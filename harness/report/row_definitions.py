"""Definitions of a suite's rows: quality against cost, learning, mean ranks, tuning effort."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.analysis.query import parse_metric
from harness.config.base import Config, SuiteName
from harness.evaluation.metrics import METRICS
from harness.report.definition import MetricName, ReportDefinition, SuiteDefinition, refuse_doubles

__all__ = [
    "Cost",
    "CriticalDifferenceDefinition",
    "LearningDefinition",
    "ParetoDefinition",
    "RowsDefinition",
    "ShownDataset",
    "TuningEffortDefinition",
]

Cost = Literal["cost.best", "cost.total", "cost.epoch", "train.epoch", "memory.peak", "parameters"]


class ShownDataset(Config):
    """A dataset of a figure."""

    name: str
    """Canonical dataset name: ``harness data list``."""
    title: str = ""
    """As printed; the name when not given."""
    note: str = ""
    """A setting that all runs on it share; printed with the figure."""


class RowsDefinition(SuiteDefinition):
    """A figure of the rows of a suite."""

    key = "figure"
    is_table = False
    is_figure = True

    rows_from: str = ""
    """Table (a name of ``harness report --list`` or a file) whose titles, groups and datasets are
    used. Default: the labels of the suite."""
    rows: tuple[str, ...] = ()
    """Labels of the rows to show, in order. Default: all."""
    datasets: tuple[ShownDataset, ...] = ()
    """Datasets to show, in order. Default: all."""
    width: Literal["column", "page"] = "column"
    """Width of the picture: 3.3 or 7 inches. Pareto fronts of several datasets, and fronts and
    ranks of more than 12 rows, always take 7."""

    @model_validator(mode="after")
    def _without_doubles(self) -> RowsDefinition:
        refuse_doubles("row", [label.lower() for label in self.rows])
        refuse_doubles("dataset", [dataset.name.lower() for dataset in self.datasets])
        return self


class ParetoDefinition(RowsDefinition):
    """Quality against cost, with the front of the rows that no other row beats in both."""

    figure: Literal["pareto"]
    """Kind of figure."""
    metric: MetricName = "mrr"
    """Quality, on the vertical axis."""
    cost: Cost = "cost.best"
    """Cost, on the horizontal axis."""

    @model_validator(mode="after")
    def _has_direction(self) -> ParetoDefinition:
        _check_direction(self.metric)
        return self


class LearningDefinition(RowsDefinition):
    """Validation MRR while training: against epochs and against seconds."""

    figure: Literal["learning"]
    """Kind of figure."""
    against: tuple[Literal["epochs", "seconds"], ...] = ("epochs", "seconds")
    """Horizontal axes: a panel each."""

    @model_validator(mode="after")
    def _distinct(self) -> LearningDefinition:
        refuse_doubles("axis", list(self.against))
        if not self.against:
            raise ValueError("against: name epochs, seconds or both")
        return self


class CriticalDifferenceDefinition(RowsDefinition):
    """Mean ranks of the rows over datasets, with the groups that cannot be told apart."""

    figure: Literal["critical_difference"]
    """Kind of figure."""
    metric: MetricName = "mrr"
    """Quality by which the rows are ranked on each dataset."""
    test: Literal["nemenyi", "wilcoxon"] = "nemenyi"
    """Test of pairs after Friedman's: Nemenyi's on mean ranks, or Wilcoxon's signed ranks with
    Holm's correction, which does not depend on the other rows and needs more datasets."""

    @model_validator(mode="after")
    def _has_direction(self) -> CriticalDifferenceDefinition:
        _check_direction(self.metric)
        return self


class TuningEffortDefinition(ReportDefinition):
    """A table of tuning effort: for each row of another table the settings that were tried, and
    their processor hours."""

    key = "studies"

    studies: Annotated[tuple[SuiteName, ...], Field(min_length=1)]
    """Names of the studies whose trials are counted."""
    settings_suites: tuple[SuiteName, ...] = ()
    """Names of suites whose rows are settings that were tried, without a study."""
    rows_from: str
    """Table (a name of ``harness report --list`` or a file) whose rows and datasets are shown. The
    file of its suite says which method each row trains."""

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the studies and suites whose runs are counted."""
        return self.studies + self.settings_suites

    @model_validator(mode="after")
    def _distinct(self) -> TuningEffortDefinition:
        refuse_doubles("study or suite", list(self.suites))
        return self


def _check_direction(metric: str) -> None:
    if METRICS[parse_metric(metric).metric].higher_is_better is None:
        raise ValueError(f"metric '{metric}' is neither good nor bad; take another, such as mrr")
