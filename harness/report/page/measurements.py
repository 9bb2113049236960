"""A measurement of time and memory, as values that the template prints."""

from __future__ import annotations

import shlex
import statistics
from dataclasses import dataclass

from harness.report.page.facts import Facts, Pairs, pairs
from harness.report.repeat import checkout_commands
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample

__all__ = ["Measurement", "describe_measurement"]


@dataclass(frozen=True)
class Measurement:
    """What is behind the numbers of a benchmark.

    Attributes:
        anchor: id of the element.
        suite, benchmark_id: of the measurement.
        samples: what was measured at which sizes, medians and ranges of the turns.
        settings: of the suite.
        environment: provenance.
        commands: what measures again; () for files of another program.
    """

    anchor: str
    suite: str
    benchmark_id: str
    samples: Facts
    settings: Pairs
    environment: Facts
    commands: tuple[str, ...]


def describe_measurement(record: BenchmarkRecord) -> Measurement:
    """Return what a page says of a measurement."""
    sizes = tuple(dict.fromkeys(name for sample in record.samples for name in sample.sizes))
    return Measurement(
        anchor=f"measured-{record.benchmark_id}",
        suite=record.suite,
        benchmark_id=record.benchmark_id,
        samples=Facts(
            ("stage", "kind", *sizes, "ms", "least", "most", "turns", "MiB"),
            tuple(_row(sample, sizes) for sample in record.samples),
        ),
        settings=pairs(record.settings),
        environment=Facts(("", "all"), pairs(record.provenance)),
        commands=tuple(_commands(record)) if record.source == "harness" else (),
    )


def _row(sample: BenchmarkSample, sizes: tuple[str, ...]) -> tuple[str, ...]:
    held = (sample.sizes.get(name) for name in sizes)
    took = (statistics.median(sample.seconds), min(sample.seconds), max(sample.seconds))
    return (
        sample.stage,
        sample.name,
        *("" if size is None else f"{size:,}" for size in held),
        *(f"{1000 * seconds:,.2f}" for seconds in took),
        str(len(sample.seconds)),
        "" if sample.peak is None else f"{sample.peak / 2**20:,.1f}",
    )


def _commands(record: BenchmarkRecord) -> list[str]:
    checkout = checkout_commands(record.provenance)
    return [*checkout, f"harness bench complexity --suite {shlex.quote(record.suite)}"]
