"""Takes over the records of another store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.store.base import STAGE, ResultStore
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell, RunRecord

__all__ = ["Taken", "take"]


@dataclass(frozen=True)
class Taken:
    """What a store took over.

    Attributes:
        added: ids of the records that it did not hold (or held from an earlier stage).
        kept: how many it held already; they are left as they are.
        refused: cells whose place in a suite another run holds.
        absent: cells whose runs are in none of the imported files, nor in the store.
    """

    added: Sequence[str]
    kept: int
    refused: Sequence[Cell] = ()
    absent: Sequence[Cell] = ()


def take(
    store: ResultStore, records: Iterable[RunRecord], benchmarks: Iterable[BenchmarkRecord] = ()
) -> Taken:
    """Add records that the store lacks, or holds from an earlier stage; measurements it lacks."""
    held = store.statuses()
    added, kept = [], 0
    for record in records:
        old = held.get(record.run_id)
        if old is not None and STAGE[record.status] <= STAGE[old]:
            kept += 1
            continue
        store.add(record)
        added.append(record.run_id)
    measured = {benchmark.benchmark_id for benchmark in store.benchmarks()}
    for benchmark in benchmarks:
        if benchmark.benchmark_id in measured:
            kept += 1
            continue
        store.add_benchmark(benchmark)
        added.append(benchmark.benchmark_id)
    return Taken(added, kept)
