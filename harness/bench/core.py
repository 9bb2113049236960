"""One core by itself, and what is published of it: the check of the other measurements.

Everything here is in processor time, so other processes do not disturb it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["DOCUMENTED", "Core", "Documented", "measure_core"]

HELD = 4096
"""Numbers whose roots are taken again and again: 16 KiB stay next to the core."""
STEPS, PASSES = 4_000_000, 2000
"""Two milliseconds each."""


@dataclass(frozen=True)
class Core:
    """One core by itself, in processor time, which other processes do not touch.

    Attributes:
        processor: LLVM's name of it.
        clock: cycles per second.
        roots_per_cycle: fp32 square roots.
    """

    processor: str
    clock: float
    roots_per_cycle: float


@dataclass(frozen=True)
class Documented:
    """What is published of a processor, in vector instructions of 16 fp32 numbers.

    Attributes:
        cycles_per_root: the divider is busy with one square root for so many cycles.
        source: where that is written.
    """

    cycles_per_root: float
    source: str

    @property
    def roots_per_cycle(self) -> float:
        """Square roots per cycle of one core."""
        return 16 / self.cycles_per_root


DOCUMENTED = {
    "znver4": Documented(10.0, "LLVM, X86ScheduleZnver4.td: WriteFSqrtZ takes Zn4FPFDiv 10 cycles"),
}
"""LLVM's name of a processor -> what is published of it."""


def measure_core(goes: int = 9) -> Core:
    """Measure one core; takes a tenth of a second after compilation.

    Args:
        goes: of which the middle one counts.
    """
    import numpy as np
    from llvmlite import binding

    from harness.bench import _loops

    values = np.linspace(1, 2, HELD, dtype=np.float32)
    clocks, roots = [], []
    for _ in range(goes + 1):
        clocks.append(2 * STEPS / _processor_time(_loops.ticks, STEPS))
        roots.append(HELD * PASSES / _processor_time(_loops.total_of_roots, values, PASSES))
    clock = statistics.median(clocks[1:])  # the first go compiled
    return Core(binding.get_host_cpu_name(), clock, statistics.median(roots[1:]) / clock)


def _processor_time(function: Callable[..., object], *arguments: object) -> float:
    used = time.thread_time()
    function(*arguments)
    return time.thread_time() - used
