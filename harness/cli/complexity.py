"""Shared by ``harness bench complexity`` and ``harness run suites/complexity.yaml``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.store.benchmarks import BenchmarkRecord

__all__ = ["import_measurements", "run_complexity"]


def run_complexity(
    file: Path,
    results: Path,
    *,
    device: str = "auto",
    threads: int = 0,
    dry_run: bool = False,
    json_: Path | None = None,
) -> None:
    """Measure a suite of stages, store the measurement and print its table.

    Args:
        file: suite file.
        results: results folder.
        device: "auto", "cpu", "cuda" or "cuda:0".
        threads: CPU threads; 0: torch's default.
        dry_run: print the estimated time and memory, and measure nothing.
        json_: further file for the measurement.
    """
    from harness.bench.memory import ask_for_huge_pages
    from harness.plan.complexity import load_complexity

    suite = load_complexity(file)
    ask_for_huge_pages()
    import torch

    from harness.bench import complexity as bench
    from harness.bench.stages import measure_rates
    from harness.bench.text import progress, write_json
    from harness.pipeline import resolve_device
    from harness.store import open_home

    torch.set_num_threads(threads or torch.get_num_threads())
    unit = resolve_device(device)
    estimate = bench.Estimate(suite, measure_rates(unit))
    typer.echo(
        f"{suite.name}: {len(estimate.case_seconds)} cases, {estimate.text(suite)}, "
        f"on {unit} with {torch.get_num_threads()} threads, {estimate.bytes / 2**30:.1f} GiB",
        err=True,
    )
    if dry_run:
        return
    with contextlib.closing(open_home(results)) as store, progress() as on_progress:
        record = bench.record(suite, bench.measure(suite, unit, estimate, on_progress), unit)
        store.add_benchmark(record)
    if json_:
        write_json(json_, record.model_dump(mode="json"))
    _show(record)


def import_measurements(files: list[Path], results: Path) -> None:
    """Add measurements from files of another process or of pytest-benchmark."""
    from harness.bench.pytest_json import read_measurement
    from harness.store import open_home

    records = [read_measurement(file) for file in files]
    with contextlib.closing(open_home(results)) as store:
        for file, record in zip(files, records, strict=True):
            store.add_benchmark(record)
            count = sum(len(sample.seconds) for sample in record.samples)
            typer.echo(
                f"{file}: {record.benchmark_id}, {len(record.samples)} cases of suite "
                f"'{record.suite}', {count} samples",
                err=True,
            )


def _show(record: BenchmarkRecord) -> None:
    """Print the table of a measurement, by the first definition of its suite."""
    from harness.report.query import measurement_tables
    from harness.report.render import render_all

    tables = measurement_tables(record)
    if tables:
        typer.echo(render_all(tables), nl=False)
