"""A measurement of time and memory, as values that the template prints."""

from __future__ import annotations

import shlex
import statistics
from dataclasses import dataclass

from harness.report.page.facts import FactTable, Pairs, pairs
from harness.report.repeat import checkout_commands
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample

__all__ = ["MeasurementDetails", "describe_measurement"]


@dataclass(frozen=True)
class MeasurementDetails:
    """Source of the numbers of a benchmark.

    Attributes:
        anchor: id of the element.
        suite, benchmark_id: of the measurement.
        samples: stages and sizes with medians and ranges over the rounds.
        settings: of the suite.
        environment: provenance.
        commands: what measures again; () for files of another program.
    """

    anchor: str
    suite: str
    benchmark_id: str
    samples: FactTable
    settings: Pairs
    environment: FactTable
    commands: tuple[str, ...]


def describe_measurement(record: BenchmarkRecord) -> MeasurementDetails:
    """Describe a measurement."""
    sizes = tuple(dict.fromkeys(name for sample in record.samples for name in sample.sizes))
    return MeasurementDetails(
        anchor=f"measured-{record.benchmark_id}",
        suite=record.suite,
        benchmark_id=record.benchmark_id,
        samples=FactTable(
            ("stage", "kind", *sizes, "ms", "least", "most", "rounds", "MiB"),
            tuple(_row(sample, sizes) for sample in record.samples),
        ),
        settings=pairs(record.settings),
        environment=FactTable(("", "all"), pairs(record.provenance)),
        commands=tuple(_commands(record)) if record.source == "harness" else (),
    )


def _row(sample: BenchmarkSample, sizes: tuple[str, ...]) -> tuple[str, ...]:
    values = (sample.sizes.get(name) for name in sizes)
    took = (statistics.median(sample.seconds), min(sample.seconds), max(sample.seconds))
    return (
        sample.stage,
        sample.name,
        *("" if size is None else f"{size:,}" for size in values),
        *(f"{1000 * seconds:,.2f}" for seconds in took),
        str(len(sample.seconds)),
        "" if sample.peak is None else f"{sample.peak / 2**20:,.1f}",
    )


def _commands(record: BenchmarkRecord) -> list[str]:
    checkout = checkout_commands(record.provenance)
    return [*checkout, f"harness bench complexity --suite {shlex.quote(record.suite)}"]
