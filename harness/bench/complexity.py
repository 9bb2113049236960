"""Time and peak memory of the stages of a step while one size grows at a time.

Every round takes all cases in turn, those of equal sizes on the same inputs, so that whatever
disturbs one disturbs all. Before the first round each case is done once for its memory, which also
warms it up; of one that takes long this go counts as well, since its code is warm by then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch

from harness import kernels, provenance
from harness.bench.costs import Rates, cost
from harness.bench.memory import allocated_peak, available
from harness.bench.stages import Workbench
from harness.bench.timing import Tell
from harness.errors import MachineError
from harness.plan.complexity import Case, ComplexitySuite
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified

__all__ = ["QUICK", "SLOW", "Estimate", "described", "measure", "once", "record", "turn", "warm_up"]

QUICK, MOST_GOES, TURN = 3.0, 5, 0.2
"""Below so many seconds a turn begins with a go that does not count, for the first go at a size has
its memory given to it anew (a second per GiB); then a go is repeated, at most so often, until the
turn lasts so many seconds."""
SLOW = 5.0
"""From so many seconds on the first go counts."""


class Estimate:
    """How long a suite takes and how much memory, by the formulas and the device's rates.

    Attributes:
        goes: case -> seconds of one go.
        seconds: of the whole suite.
        bytes: of its largest case.

    Args:
        suite: what is measured.
        rates: of the device.
    """

    def __init__(self, suite: ComplexitySuite, rates: Rates) -> None:
        self.goes = {case: cost(case).seconds(rates) for case in suite.cases}
        self.turns = {case: _turns(suite, seconds) for case, seconds in self.goes.items()}
        every = sum(self.units(case) for case in self.goes)
        least = 2 * sum(self.goes.values())
        self.seconds = min(every, max(60 * suite.minutes, least))
        self.bytes = max(cost(case).bytes for case in suite.cases)

    def units(self, case: Case) -> float:
        """Return the seconds of a case in all rounds and the one before them."""
        return (1 + self.turns[case]) * self.goes[case]

    def check_memory(self, device: torch.device) -> None:
        """Refuse what the machine has no memory for.

        Raises:
            MachineError: the largest case needs more than is free.
        """
        free = available(device)
        if self.bytes > free:
            largest = max(self.goes, key=lambda case: cost(case).bytes)
            raise MachineError(
                f"{largest.name} at {largest.sizes} needs {self.bytes / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; take smaller sizes in the suite"
            )


def measure(
    suite: ComplexitySuite,
    device: torch.device,
    expected: Estimate,
    tell: Tell = lambda done, total, text: None,
) -> tuple[BenchmarkSample, ...]:
    """Measure all cases of a suite.

    Args:
        suite: what is measured.
        device: where.
        expected: what it is going to take, for the progress.
        tell: told of the progress, in hundredths.

    Raises:
        MachineError: there is not enough memory.
        ConfigError: a kind of fusion does not exist.
    """
    expected.check_memory(device)
    began = time.monotonic()
    progress = _Progress(expected, tell)
    peaks: dict[Case, int] = {}
    last: dict[Case, float] = {}
    seconds: dict[Case, list[float]] = {case: [] for case in suite.cases}
    for bench, members in _benches(suite.cases, device):
        for case in members:
            progress.say(case)
            peaks[case], last[case] = warm_up(bench, case, expected.goes[case])
            if last[case] >= SLOW:
                seconds[case].append(last[case])
            progress.done += expected.goes[case]
    for number in range(suite.rounds):
        due = [case for case in suite.cases if len(seconds[case]) < _turns(suite, last[case])]
        end = time.monotonic() - began + sum(_lasts(last[case]) for case in due)
        if not due or (number and end > 60 * suite.minutes):
            break
        for bench, members in _benches(due, device):
            for case in members:
                progress.say(case)
                last[case] = turn(bench.work(case), last[case], device)
                seconds[case].append(last[case])
                progress.done += expected.goes[case]
    tell(100, 100, "")
    return tuple(
        BenchmarkSample(
            stage=case.stage,
            name=case.name,
            sizes=case.sizes.model_dump(),
            seconds=tuple(seconds[case]),
            peak=peaks[case],
        )
        for case in suite.cases
    )


def _benches(
    cases: Sequence[Case], device: torch.device
) -> Iterator[tuple[Workbench, Sequence[Case]]]:
    """Yield the inputs of each size, one at a time, and the cases that share them."""
    for sizes, group in groupby(cases, key=lambda case: case.sizes):
        bench = Workbench(sizes, device)
        yield bench, list(group)
        bench.clear()


def record(
    suite: ComplexitySuite, samples: Sequence[BenchmarkSample], device: torch.device
) -> BenchmarkRecord:
    """Return what is kept of a measurement made on this machine."""
    return identified(
        BenchmarkRecord(
            benchmark_id="none",
            suite=suite.name,
            settings=suite.model_dump(mode="json"),
            samples=tuple(samples),
            provenance=described(device),
        )
    )


def described(device: torch.device) -> dict[str, Any]:
    """Return what a number was measured on: code, versions, processor, device, threads, kernels."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return provenance.describe(
        device=name, threads=torch.get_num_threads(), kernels=kernels.backend_name(device.type)
    )


def warm_up(bench: Workbench, case: Case, expected: float) -> tuple[int, float]:
    """Return the peak memory of a case, its inputs included, and about how long it takes.

    Args:
        bench: of the case's sizes.
        case: what is done.
        expected: seconds it may take; what is quick is done twice, for the first go may compile.
    """
    took: list[float] = []
    inputs = bench.prepare(case.stage)

    def whole() -> None:
        took.append(once(bench.work(case), bench.device))

    peak = allocated_peak(whole, bench.device)
    if expected < QUICK:
        took.append(once(bench.work(case), bench.device))
    return inputs + peak, min(took)


def turn(work: Callable[[], object], last: float, device: torch.device) -> float:
    """Return the least seconds of the goes of one turn.

    Args:
        work: what is timed.
        last: seconds that a go took the last time.
        device: where its tensors lie.
    """
    if last >= QUICK:
        return once(work, device)
    once(work, device)
    return min(once(work, device) for _ in range(_goes(last)))


def once(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one go, until an accelerator has finished it."""
    _synchronise(device)
    began = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _goes(last: float) -> int:
    return max(1, min(MOST_GOES, int(TURN / last)))


def _lasts(last: float) -> float:
    """Return the seconds of a turn."""
    return last if last >= QUICK else (1 + _goes(last)) * last


def _turns(suite: ComplexitySuite, seconds: float) -> int:
    """Return how many turns a case has: as long as the suite has patience, one at least."""
    return min(suite.rounds, max(1, math.ceil(suite.patience / _lasts(seconds))))


class _Progress:
    """Hundredths of the estimated work."""

    def __init__(self, expected: Estimate, tell: Tell) -> None:
        self.total = sum(expected.units(case) for case in expected.goes)
        self.done = 0.0
        self._tell = tell

    def say(self, case: Case) -> None:
        share = min(0.99, self.done / self.total)
        self._tell(int(100 * share), 100, str(case))
