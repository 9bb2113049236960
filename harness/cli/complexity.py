"""``harness bench complexity``, which ``harness run suites/complexity.yaml`` is too."""

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
    """Measure a suite of stages, keep the measurement and print its table.

    Args:
        file: the suite.
        results: the results folder.
        device: where: "auto", "cpu", "cuda", "cuda:0".
        threads: of the processor; 0: as many as torch takes.
        dry_run: say how long it takes and how much memory, and measure nothing.
        json_: gets the measurement too.
    """
    from harness.bench.memory import ask_for_huge_pages
    from harness.plan.complexity import load_complexity

    suite = load_complexity(file)
    ask_for_huge_pages()
    import torch

    from harness.bench import complexity as bench
    from harness.bench.costs import measure_rates
    from harness.bench.text import write_json
    from harness.cli.bench import progress
    from harness.pipeline import resolve_device
    from harness.store import DATABASE, open_store

    torch.set_num_threads(threads or torch.get_num_threads())
    place = resolve_device(device)
    expected = bench.Estimate(suite, measure_rates(place))
    typer.echo(
        f"{suite.name}: {len(expected.goes)} cases, about {expected.seconds / 60:.0f} min "
        f"on {place} with {torch.get_num_threads()} threads, {expected.bytes / 2**30:.1f} GiB",
        err=True,
    )
    if dry_run:
        return
    with contextlib.closing(open_store(results / DATABASE)) as store, progress() as tell:
        record = bench.record(suite, bench.measure(suite, place, expected, tell), place)
        store.add_benchmark(record)
    if json_:
        write_json(json_, record.model_dump(mode="json"))
    _show(record)


def import_measurements(files: list[Path], results: Path) -> None:
    """Add measurements that another process, or pytest-benchmark, wrote; the last is shown."""
    from harness.bench.pytest_json import read_measurement
    from harness.store import DATABASE, open_store

    records = [read_measurement(file) for file in files]
    with contextlib.closing(open_store(results / DATABASE)) as store:
        for file, record in zip(files, records, strict=True):
            store.add_benchmark(record)
            count = sum(len(sample.seconds) for sample in record.samples)
            typer.echo(
                f"{file}: {record.benchmark_id}, {len(record.samples)} cases of suite "
                f"'{record.suite}', {count} samples",
                err=True,
            )


def _show(record: BenchmarkRecord) -> None:
    """Print the table of a measurement: the first definition's that shows its suite."""
    from harness.report.query import measurement_tables
    from harness.report.render import render_all

    tables = measurement_tables(record)
    if tables:
        typer.echo(render_all(tables), nl=False)
