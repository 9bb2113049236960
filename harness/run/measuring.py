"""Measurements of time and memory: epochs of a suite's rows, stages by size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench.timing import OnProgress, silent
from harness.environment import results_folder
from harness.errors import ConfigError
from harness.events import OnEvent, ignore
from harness.plan.complexity import load_complexity, measures
from harness.plan.suite import find_suite
from harness.run.digests import present
from harness.run.suite import Overrides, load_suite
from harness.store import open_home
from harness.store.benchmarks import BenchmarkRecord

if TYPE_CHECKING:
    from harness.bench.epochs import EpochTiming
    from harness.report.table import Table

__all__ = [
    "StagesEstimate",
    "import_measurements",
    "measure_epochs",
    "measure_stages",
    "measurement_tables",
    "stages_of",
]


@dataclass(frozen=True)
class StagesEstimate:
    """Time and memory of a measurement before it begins.

    Attributes:
        suite: name of the suite.
        cases: number of cases.
        time: estimated time in words.
        bytes: memory of the largest case.
        device: device that is measured.
        threads: CPU threads.
    """

    suite: str
    cases: int
    time: str
    bytes: float
    device: str
    threads: int


def stages_of(suite: str | Path) -> Path | None:
    """Return the file of a suite that measures stages, None for one of runs."""
    file = find_suite(suite)
    return file if measures(file) else None


def measure_epochs(
    suite: str | Path,
    overrides: Overrides = (),
    *,
    only: Sequence[str] = (),
    rounds: int = 3,
    on_event: OnEvent = ignore,
    on_progress: OnProgress = silent,
) -> list[EpochTiming]:
    """Measure an epoch of each trained row of a suite beside what its operations need at least.

    Args:
        suite, overrides, only: as for ``load_suite`` and ``run_suite``.
        rounds: measured repeats of each step.
        on_event: receives messages.
        on_progress: receives the steps done, their number and a text.
    """
    from harness.bench import epochs

    plan = present(load_suite(suite, overrides).select(only), on_event)
    runs = epochs.trainable_runs(plan.runs)
    if not runs:
        raise ConfigError(f"{suite}: no selected row is trained, so there is no epoch to measure")
    return list(epochs.measure(runs, rounds, on_progress))


def measure_stages(
    suite: str | Path,
    *,
    home: Path | str | None = None,
    device: str = "auto",
    threads: int = 0,
    dry_run: bool = False,
    on_estimate: Callable[[StagesEstimate], None] = lambda estimate: None,
    on_progress: OnProgress = silent,
) -> BenchmarkRecord | None:
    """Measure a suite of stages and store the measurement.

    Args:
        suite: suite file, or the name of a shipped one.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        device: "auto", "cpu", "cuda" or "cuda:0".
        threads: CPU threads; 0 for the default of torch.
        dry_run: estimate time and memory, and measure nothing.
        on_estimate: receives the estimate before anything is measured.
        on_progress: receives the cases done, their number and a text.

    Returns:
        None after a dry run.
    """
    from harness.bench.memory import ask_for_huge_pages

    content = load_complexity(find_suite(suite))
    ask_for_huge_pages()
    import torch

    from harness.bench import complexity
    from harness.bench.stages import measure_rates
    from harness.pipeline import resolve_device

    torch.set_num_threads(threads or torch.get_num_threads())
    unit = resolve_device(device)
    estimate = complexity.Estimate(content, measure_rates(unit))
    on_estimate(
        StagesEstimate(
            content.name,
            len(estimate.case_seconds),
            estimate.text(content),
            estimate.bytes,
            str(unit),
            torch.get_num_threads(),
        )
    )
    if dry_run:
        return None
    with contextlib.closing(open_home(results_folder(home))) as store:
        measured = complexity.measure(content, unit, estimate, on_progress)
        record = complexity.record(content, measured, unit)
        store.add_benchmark(record)
    return record


def import_measurements(
    files: Sequence[Path], home: Path | str | None = None
) -> list[BenchmarkRecord]:
    """Store measurements of another process or of pytest-benchmark; return them."""
    from harness.bench.pytest_json import read_measurement

    records = [read_measurement(file) for file in files]
    with contextlib.closing(open_home(results_folder(home))) as store:
        for record in records:
            store.add_benchmark(record)
    return records


def measurement_tables(record: BenchmarkRecord) -> list[Table]:
    """Return the tables of a measurement."""
    from harness.report import query

    return query.measurement_tables(record)
