"""What the machine can do: rates measured by micro-benchmarks, on as many threads as torch uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.bench import memory
from harness.bench.core import HELD, PASSES, Core, measure_core
from harness.bench.timing import Spread, Tell, interleaved

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ceilings", "Probe", "measure", "probes", "summarise"]

CACHED_ROWS = 32
"""A table of so many rows of 512 numbers (64 KiB) stays in a core's own cache."""
QUERY_ROWS = 2048
"""Two queries for each of 1024 positives: the rows that the gradient of a table gathers."""
READ_ONCE = 2**26
"""Numbers that are streamed: 256 MiB, more than any cache of today."""
MATRIX = 4096
GATHERED = 2**16
"""Rows gathered: 128 MiB at 512 numbers."""


@dataclass(frozen=True)
class Probe:
    """A micro-benchmark.

    Attributes:
        title: what it measures.
        unit: of its rate, with the prefix giga.
        amount: what one go does, in units without prefix.
        works: ways of doing it; the fastest is the ceiling.
    """

    title: str
    unit: str
    amount: float
    works: tuple[Callable[[], object], ...]


@dataclass(frozen=True)
class Ceilings:
    """The rates of a machine.

    Attributes:
        threads: that worked side by side.
        rates: probe's name -> amount per second of all threads together, in elapsed time.
        probes: name -> (title, unit).
        core: what the rates are checked against.
    """

    threads: int
    rates: Mapping[str, Spread]
    probes: Mapping[str, tuple[str, str]]
    core: Core

    @property
    def medians(self) -> dict[str, float]:
        """The middle rate of each probe."""
        return {name: rate.median for name, rate in self.rates.items()}

    @property
    def free(self) -> float:
        """Roots that all threads took, by those of as many cores each by itself.

        Well below 1 where other processes want the cores too, or threads share one.
        """
        alone = self.core.roots_per_cycle * self.core.clock
        return self.rates["root"].median / (self.threads * alone)


def measure(
    rows: int = 15_000,
    width: int = 512,
    rounds: int = 7,
    tell: Tell = lambda done, total, text: None,
) -> Ceilings:
    """Measure the machine's rates, side by side; takes about 10 seconds on two cores.

    Args:
        rows, width: size of the table that rows are gathered from.
        rounds: measured goes of each micro-benchmark.
        tell: told of the progress.

    Raises:
        MachineError: no such table fits into memory.
    """
    import torch

    from harness import kernels

    memory.require(4 * rows * width, f"{rows:,} rows of {width} numbers")
    kernels.prepare("cpu")  # or the table would not lie in memory as a run's does
    table = torch.rand(rows, width)
    found = probes(table)
    works = {f"{name}/{i}": w for name, probe in found.items() for i, w in enumerate(probe.works)}
    return summarise(found, interleaved(works, rounds, tell))


def summarise(found: Mapping[str, Probe], seconds: Mapping[str, Spread]) -> Ceilings:
    """Return the ceilings that measured times amount to.

    Args:
        found: the probes.
        seconds: "name/number of the way" -> times; others are ignored.
    """
    import torch

    rates = {}
    for name, probe in found.items():
        ways = [seconds[f"{name}/{i}"].rate(probe.amount) for i in range(len(probe.works))]
        rates[name] = max(ways, key=lambda rate: rate.median)
    titles = {name: (probe.title, probe.unit) for name, probe in found.items()}
    return Ceilings(torch.get_num_threads(), rates, titles, measure_core())


def probes(table: Tensor) -> dict[str, Probe]:
    """Return the micro-benchmarks.

    Args:
        table: [n, w] fp32 rows to gather from: how it lies in memory decides the rate.
    """
    import torch

    from harness.bench import _loops

    threads = torch.get_num_threads()
    values = torch.rand(HELD).numpy()
    n = len(table)
    return {
        "stream": _stream(_loops),
        "gather table": _gather(_loops, f"gather rows, table of {n:,}", table),
        "gather queries": _gather(
            _loops, f"gather rows, table of {QUERY_ROWS:,}", table[:QUERY_ROWS]
        ),
        "gather cached": _gather(
            _loops, f"gather rows, table of {CACHED_ROWS}", table[:CACHED_ROWS]
        ),
        "root": Probe(
            "square roots, fp32",
            "1/s",
            float(threads * PASSES * HELD),
            (_each(_loops.total_of_roots, values, PASSES),),
        ),
        "reciprocal": Probe(
            "reciprocal square roots, fp32",
            "1/s",
            float(threads * PASSES * HELD),
            (_each(_loops.total_of_reciprocal_roots, values, PASSES),),
        ),
        "fp32": _product("matrix product, fp32", torch.float32),
        "bf16": _product("matrix product, bf16", torch.bfloat16),
    }


def _product(title: str, dtype: Any) -> Probe:
    import torch

    left, right = (torch.rand(MATRIX, MATRIX).to(dtype) for _ in range(2))
    return Probe(title, "FLOP/s", 2.0 * MATRIX**3, (lambda: left @ right,))


def _stream(loops: Any) -> Probe:
    import torch

    parts = [part.numpy() for part in torch.ones(READ_ONCE).chunk(torch.get_num_threads())]
    work = _side_by_side([(loops.total, (part,)) for part in parts])
    return Probe("read memory in order", "B/s", 4.0 * READ_ONCE, (work,))


def _gather(loops: Any, title: str, table: Tensor) -> Probe:
    """Two ways: a plain loop, faster in cache, and torch's, which asks for rows ahead of time."""
    import torch

    rows = torch.randint(len(table), (GATHERED,))
    parts = [part.numpy() for part in rows.chunk(torch.get_num_threads())]
    plain = _side_by_side([(loops.total_of_rows, (table.numpy(), part)) for part in parts])
    offsets = torch.arange(0, GATHERED, 64)

    def summed() -> Tensor:
        return torch.nn.functional.embedding_bag(rows, table, offsets, mode="sum")

    return Probe(title, "B/s", 4.0 * table.shape[1] * GATHERED, (plain, summed))


def _each(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """Return a work that does the same on every thread."""
    import torch

    return _side_by_side([(function, arguments)] * torch.get_num_threads())


def _side_by_side(
    calls: list[tuple[Callable[..., object], tuple[object, ...]]],
) -> Callable[[], object]:
    """Return a work that makes each call on a thread of its own."""
    pool = ThreadPoolExecutor(len(calls))

    def work() -> list[object]:
        waiting = [pool.submit(function, *arguments) for function, arguments in calls]
        return [future.result() for future in waiting]

    return work
