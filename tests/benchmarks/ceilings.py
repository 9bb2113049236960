"""Limits of the machine: its memory, and rates by micro-benchmarks on torch's threads.

The compiled loops share nothing with ``harness.kernels``: a ceiling must not move because a kernel
does. Each loop does one thing as fast as the compiler lets it and returns a number, so that nothing
is optimised away. Sums may be reordered and a reciprocal may be estimated and refined, as in the
kernels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from llvmlite import binding
from torch import Tensor

from harness import kernels
from harness.bench.epochs import SIDE
from harness.bench.text import between, note, short, table
from harness.bench.timing import OnProgress, Spread, Task, interleaved, silent
from harness.errors import MachineError

CACHED_NUMBERS = 4096
"""Numbers whose roots are taken again and again: 16 KiB stay in a core's first cache."""
STEPS, PASSES = 4_000_000, 2000
"""Two milliseconds each."""
CACHED_ROWS = 32
"""A table of this many rows of 512 numbers (64 KiB) stays in a core's own cache."""
QUERY_ROWS = 2048
"""Two queries for each of 1024 positives: the rows that the gradient of a table gathers."""
STREAMED = 2**26
"""Numbers read in order: 256 MiB, more than any cache of today."""
GATHERED = 2**16
"""Rows gathered: 128 MiB at 512 numbers."""
BUSY = 0.9
"""Below this share of free cores the machine is called busy."""
GIGA = 1e9


def require(need: int, items: str) -> None:
    """Refuse sizes that cannot fit, before hours of swapping or an allocator's traceback.

    Args:
        need: bytes needed at once, at least.
        items: what takes them, in the plural.

    Raises:
        MachineError: the machine has less memory.
    """
    total = int(psutil.virtual_memory().total)
    if need > total:
        raise MachineError(
            f"{items} take {need / 2**30:,.0f} GiB at least, this machine has {total / 2**30:,.0f}"
        )


# --- compiled loops -------------------------------------------------------------------------

_loose = numba.njit(
    nogil=True,
    fastmath={"reassoc", "contract", "arcp", "nsz"},
    error_model="numpy",
    boundscheck=False,
)


@numba.njit(nogil=True, boundscheck=False)
def ticks(steps):
    """Take 2 * steps processor cycles: an exclusive or and an addition, each waiting for the last.

    Both take one cycle on every processor that numba compiles for, and no compiler can fold the
    two (a chain of additions alone becomes one multiplication).
    """
    value = np.uint64(1)
    for i in range(np.uint64(steps)):
        value = (value ^ i) + np.uint64(0x9E3779B9)
    return value


@_loose
def total(values):
    """Add up values [n], reading them once."""
    result = np.float32(0)
    for i in range(values.shape[0]):
        result += values[i]
    return result


@_loose
def total_of_rows(table, rows):
    """Add up the listed rows of a table [n, w]."""
    result = np.float32(0)
    width = np.uint64(table.shape[1])
    for i in range(np.uint64(rows.shape[0])):
        row = np.uint64(rows[i])
        for k in range(width):
            result += table[row, k]
    return result


@_loose
def total_of_roots(values, passes):
    """Take the square root of all values [n], ``passes`` times."""
    result, shift = np.float32(0), np.float32(0)
    for _ in range(passes):
        for i in range(values.shape[0]):
            result += np.sqrt(values[i] + shift)
        shift += np.float32(1e-3)  # or the compiler would merge all passes
    return result


@_loose
def total_of_reciprocal_roots(values, passes):
    """Take one over the square root of all values [n], ``passes`` times."""
    result, shift, one = np.float32(0), np.float32(0), np.float32(1)
    for _ in range(passes):
        for i in range(values.shape[0]):
            result += one / np.sqrt(values[i] + shift)
        shift += np.float32(1e-3)
    return result


# --- one core -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Core:
    """One core in processor time, which other processes do not disturb.

    Attributes:
        processor: LLVM's name of the processor.
        clock: cycles per second.
        roots_per_cycle: fp32 square roots per cycle.
    """

    processor: str
    clock: float
    roots_per_cycle: float


PUBLISHED = {
    "znver4": (16 / 10, "LLVM, X86ScheduleZnver4.td: WriteFSqrtZ takes Zn4FPFDiv 10 cycles"),
}
"""LLVM's name of a processor -> fp32 square roots per cycle of one core, and the source."""


def measure_core(repeats: int = 9) -> Core:
    """Measure one core, by the median of repeats; a tenth of a second after compilation."""
    values = np.linspace(1, 2, CACHED_NUMBERS, dtype=np.float32)
    clocks, roots = [], []
    for _ in range(repeats + 1):
        clocks.append(2 * STEPS / _processor_time(ticks, STEPS))
        roots.append(CACHED_NUMBERS * PASSES / _processor_time(total_of_roots, values, PASSES))
    clock = statistics.median(clocks[1:])  # the first run compiled
    return Core(binding.get_host_cpu_name(), clock, statistics.median(roots[1:]) / clock)


def _processor_time(function: Callable[..., object], *arguments: object) -> float:
    start = time.thread_time()
    function(*arguments)
    return time.thread_time() - start


# --- all threads ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """A micro-benchmark.

    Attributes:
        title: name of the rate.
        unit: unit of the rate, without the prefix giga.
        amount: units per run.
        tasks: alternatives; the fastest is the ceiling.
    """

    title: str
    unit: str
    amount: float
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Ceilings:
    """Rates of a machine.

    Attributes:
        threads: number of threads side by side.
        rates: name of a probe -> amount per second of all threads together, in elapsed time.
        probes: name of a probe -> (title, unit).
        core: one core, to check the rates against.
    """

    threads: int
    rates: Mapping[str, Spread]
    probes: Mapping[str, tuple[str, str]]
    core: Core

    @property
    def medians(self) -> dict[str, float]:
        """Median rate of each probe."""
        return {name: rate.median for name, rate in self.rates.items()}

    @property
    def free(self) -> float:
        """Square roots of all threads over those of as many undisturbed cores.

        Well below 1 where other processes want the cores too, or threads share one.
        """
        alone = self.core.roots_per_cycle * self.core.clock
        return self.rates["root"].median / (self.threads * alone)


def measure(
    rows: int = 15_000, width: int = 512, rounds: int = 7, on_progress: OnProgress = silent
) -> Ceilings:
    """Measure the machine's rates side by side; takes about 10 seconds on two cores.

    Args:
        rows, width: size of the table to gather rows from.
        rounds: measured repeats of each micro-benchmark.
        on_progress: progress callback.

    Raises:
        MachineError: the table does not fit into memory.
    """
    require(4 * rows * width, f"{rows:,} rows of {width} numbers")
    kernels.prepare("cpu")  # lays the table out in memory as in a run
    all_probes = probes(torch.rand(rows, width))
    return summarise(all_probes, interleaved(probe_tasks(all_probes), rounds, on_progress))


def probe_tasks(all_probes: Mapping[str, Probe]) -> dict[str, Task]:
    """Return the tasks of all probes by "name/number of the alternative"."""
    return {f"{name}/{i}": t for name, p in all_probes.items() for i, t in enumerate(p.tasks)}


def summarise(all_probes: Mapping[str, Probe], seconds: Mapping[str, Spread]) -> Ceilings:
    """Convert the times of ``probe_tasks`` to ceilings; other times are ignored."""
    rates = {}
    for name, probe in all_probes.items():
        of_tasks = [seconds[f"{name}/{i}"].rate(probe.amount) for i in range(len(probe.tasks))]
        rates[name] = max(of_tasks, key=lambda rate: rate.median)
    titles = {name: (probe.title, probe.unit) for name, probe in all_probes.items()}
    return Ceilings(torch.get_num_threads(), rates, titles, measure_core())


def probes(rows: Tensor) -> dict[str, Probe]:
    """Return the micro-benchmarks.

    Args:
        rows: [n, w] fp32 table to gather from; its layout in memory decides the rate.
    """
    return {
        "stream": _stream(),
        "gather table": _gather(rows),
        "gather queries": _gather(rows[:QUERY_ROWS]),
        "gather cached": _gather(rows[:CACHED_ROWS]),
        "root": _roots("square roots, fp32", total_of_roots),
        "reciprocal": _roots("reciprocal square roots, fp32", total_of_reciprocal_roots),
        "fp32": _product("matrix product, fp32", torch.float32),
        "bf16": _product("matrix product, bf16", torch.bfloat16),
    }


def _product(title: str, dtype: torch.dtype) -> Probe:
    left, right = (torch.rand(SIDE, SIDE).to(dtype) for _ in range(2))
    return Probe(title, "FLOP/s", 2.0 * SIDE**3, (lambda: left @ right,))


def _stream() -> Probe:
    chunks = [chunk.numpy() for chunk in torch.ones(STREAMED).chunk(torch.get_num_threads())]
    task = _in_parallel([(total, (chunk,)) for chunk in chunks])
    return Probe("read memory in order", "B/s", 4.0 * STREAMED, (task,))


def _gather(rows: Tensor) -> Probe:
    """A plain loop, faster in cache, and torch's, which prefetches rows."""
    ids = torch.randint(len(rows), (GATHERED,))
    chunks = [chunk.numpy() for chunk in ids.chunk(torch.get_num_threads())]
    plain = _in_parallel([(total_of_rows, (rows.numpy(), chunk)) for chunk in chunks])
    offsets = torch.arange(0, GATHERED, 64)

    def embedding_bag() -> Tensor:
        return torch.nn.functional.embedding_bag(ids, rows, offsets, mode="sum")

    title = f"gather rows, table of {len(rows):,}"
    return Probe(title, "B/s", 4.0 * rows.shape[1] * GATHERED, (plain, embedding_bag))


def _roots(title: str, loop: Callable[..., object]) -> Probe:
    threads, values = torch.get_num_threads(), torch.rand(CACHED_NUMBERS).numpy()
    task = _in_parallel([(loop, (values, PASSES))] * threads)
    return Probe(title, "1/s", float(threads * PASSES * CACHED_NUMBERS), (task,))


def _in_parallel(calls: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> Task:
    """Return a task that makes each call on a thread of its own."""
    pool = ThreadPoolExecutor(len(calls))

    def task() -> list[object]:
        futures = [pool.submit(function, *arguments) for function, arguments in calls]
        return [future.result() for future in futures]

    return task


# --- text -----------------------------------------------------------------------------------


def ceilings_text(ceilings: Ceilings) -> str:
    """Format the rates and their checks."""
    rows = []
    for name, rate in ceilings.rates.items():
        title, unit = ceilings.probes[name]
        rows.append([title, short(rate.median / GIGA), between(rate, GIGA), f"G{unit}"])
    rates = table(["ceiling", "median", "range", "unit"], rows)
    threads = "1 thread" if ceilings.threads == 1 else f"{ceilings.threads} threads together"
    return "\n".join([rates, "", note(f"Rates of {threads}."), *check_lines(ceilings)])


def check_lines(ceilings: Ceilings) -> list[str]:
    """Check the rates against published ones, and against free cores."""
    return [note(roots_check(ceilings.core)), *busy_note(ceilings)]


def roots_check(core: Core) -> str:
    """Compare the measured rate of square roots with the published one."""
    text = (
        f"Check, in processor time of one core at {core.clock / GIGA:.2f} GHz: "
        f"{core.roots_per_cycle:.2f} square roots per cycle"
    )
    if core.processor not in PUBLISHED:
        return f"{text}; no published rate of '{core.processor}' was looked up."
    rate, source = PUBLISHED[core.processor]
    return f"{text}; published: {rate:.2f} ({source})."


def busy_note(ceilings: Ceilings) -> list[str]:
    """Warn where other processes took the cores too."""
    if ceilings.free >= BUSY:
        return []
    reached = f"{100 * ceilings.free:.0f} %"
    warning = (
        f"Busy: {ceilings.threads} threads took square roots at {reached} of what as many free "
        "cores would; other processes were running, or threads share a core. Elapsed times are "
        "too long and rates too low."
    )
    return [note(warning)]
