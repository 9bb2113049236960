"""Time and peak memory of the stages of a step while one size grows at a time.

Each round runs every case, and runs cases of equal sizes on the same inputs, so that a disturbance
reaches all of them alike. Further rounds run the cases of exponents whose interval is still too
wide. Before the first round each case runs once for its memory, which warms it up; the time of a
slow case counts there too, since smaller sizes have warmed its code up.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch

from harness.bench.exponents import fit_all
from harness.bench.memory import allocated_peak, available
from harness.bench.stages import Rates, Workbench, cost
from harness.bench.text import machine
from harness.bench.timing import OnProgress, Task, silent
from harness.errors import MachineError
from harness.plan.complexity import Case, ComplexitySuite
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified

__all__ = [
    "QUICK",
    "SLOW",
    "Estimate",
    "fastest",
    "measure",
    "record",
    "run_once",
    "warm_up",
]

QUICK, MOST_REPEATS, ROUND_SECONDS = 3.0, 5, 0.2
"""Cases below ``QUICK`` seconds run once untimed in each round, since the first run at a size gets
fresh memory (a second per GiB), and are then repeated up to ``MOST_REPEATS`` times, until the round
lasts ``ROUND_SECONDS``."""
SLOW = 5.0
"""Seconds from which the warm-up counts as a measurement."""


class Estimate:
    """Time and memory of a suite, by the formulas and the device's rates.

    Attributes:
        case_seconds: case -> seconds of one run.
        seconds: time of the whole suite, without further rounds.
        bytes: memory of its largest case.

    Args:
        suite: cases to measure.
        rates: rates of the device.
    """

    def __init__(self, suite: ComplexitySuite, rates: Rates) -> None:
        self.case_seconds = {case: cost(case).seconds(rates) for case in suite.cases}
        self._rounds = {case: _rounds(suite, s) for case, s in self.case_seconds.items()}
        full = sum(self.all_rounds(case) for case in self.case_seconds)
        minimum = 2 * sum(self.case_seconds.values())
        self.seconds = min(full, max(60 * suite.minutes, minimum))
        self.bytes = max(cost(case).bytes for case in suite.cases)

    def text(self, suite: ComplexitySuite) -> str:
        """Return the estimated duration in words."""
        duration = f"about {self.seconds / 60:.0f} min"
        if suite.precision is None:
            return duration
        return (
            f"{duration}, and up to {suite.minutes:g} min until every exponent is known to "
            f"± {suite.precision:g}"
        )

    def all_rounds(self, case: Case) -> float:
        """Return the seconds of a case in all rounds and the warm-up."""
        return (1 + self._rounds[case]) * self.case_seconds[case]

    def check_memory(self, device: torch.device) -> None:
        """Check that the largest case fits in the free memory.

        Raises:
            MachineError: the case needs more.
        """
        free = available(device)
        if self.bytes > free:
            largest = max(self.case_seconds, key=lambda case: cost(case).bytes)
            raise MachineError(
                f"{largest.name} at {largest.sizes} needs {self.bytes / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; take smaller sizes in the suite"
            )


def measure(
    suite: ComplexitySuite,
    device: torch.device,
    estimate: Estimate,
    on_progress: OnProgress = silent,
) -> tuple[BenchmarkSample, ...]:
    """Measure all cases of a suite.

    Args:
        suite: cases to measure.
        device: device to measure on.
        estimate: cost of the suite, checked against the free memory and used for the progress.
        on_progress: progress callback, in hundredths.

    Raises:
        MachineError: there is not enough memory.
        ConfigError: a kind of fusion does not exist.
    """
    estimate.check_memory(device)
    start = time.monotonic()
    progress = _Progress(estimate, on_progress)
    peaks: dict[Case, int] = {}
    latest: dict[Case, float] = {}
    seconds: dict[Case, list[float]] = {case: [] for case in suite.cases}
    for bench, cases in _benches(suite.cases, device):
        for case in cases:
            with progress.of(case):
                peaks[case], latest[case] = warm_up(bench, case, estimate.case_seconds[case])
            if latest[case] >= SLOW:
                seconds[case].append(latest[case])
    for number in itertools.count():
        due = _due(suite, seconds, latest)
        end = time.monotonic() - start + sum(_round_seconds(latest[case]) for case in due)
        if not due or (number and end > 60 * suite.minutes):
            break
        for bench, cases in _benches(due, device):
            for case in cases:
                with progress.of(case):
                    latest[case] = fastest(bench.task(case), latest[case], device)
                seconds[case].append(latest[case])
    on_progress(100, 100, "")
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


def _due(
    suite: ComplexitySuite, seconds: Mapping[Case, Sequence[float]], latest: Mapping[Case, float]
) -> list[Case]:
    """Return the cases of the next round, [] if none is due.

    Args:
        suite: rounds, and the precision of exponents.
        seconds: measured times by case.
        latest: time of the latest run of each case.
    """
    due = [case for case in suite.cases if len(seconds[case]) < _rounds(suite, latest[case])]
    if due or suite.precision is None:
        return due
    imprecise: set[Case] = set()
    for factor, cases in suite.series():
        exponent = fit_all({getattr(case.sizes, factor): seconds[case] for case in cases})
        if exponent is None or exponent.half >= suite.precision:
            imprecise.update(cases)
    return [c for c in suite.cases if c in imprecise and len(seconds[c]) < suite.most_rounds]


def _benches(
    cases: Sequence[Case], device: torch.device
) -> Iterator[tuple[Workbench, Sequence[Case]]]:
    """Yield the inputs of each size with the cases that share them, then free the inputs."""
    for sizes, group in groupby(cases, key=lambda case: case.sizes):
        bench = Workbench(sizes, device)
        yield bench, list(group)
        bench.clear()


def record(
    suite: ComplexitySuite, samples: Sequence[BenchmarkSample], device: torch.device
) -> BenchmarkRecord:
    """Return the record of a measurement on this machine."""
    return identified(
        BenchmarkRecord(
            benchmark_id="none",
            suite=suite.name,
            settings=suite.model_dump(mode="json"),
            samples=tuple(samples),
            provenance=machine(device=device),
        )
    )


def warm_up(bench: Workbench, case: Case, expected: float) -> tuple[int, float]:
    """Return the peak memory of a case, inputs included, and its approximate seconds.

    Args:
        bench: inputs of the case's sizes.
        case: stage to run.
        expected: estimated seconds; a quick case runs twice, since its first run may compile.
    """
    seconds: list[float] = []
    inputs = bench.prepare(case.stage)

    def build_and_run() -> None:
        seconds.append(run_once(bench.task(case), bench.device))

    peak = allocated_peak(build_and_run, bench.device)
    if expected < QUICK:
        seconds.append(run_once(bench.task(case), bench.device))
    return inputs + peak, min(seconds)


def fastest(task: Task, latest: float, device: torch.device) -> float:
    """Return the minimum seconds over the repeats of one round.

    Args:
        task: task to time.
        latest: seconds of its latest run.
        device: device of its tensors.
    """
    if latest >= QUICK:
        return run_once(task, device)
    run_once(task, device)
    return min(run_once(task, device) for _ in range(_repeats(latest)))


def run_once(task: Task, device: torch.device) -> float:
    """Return the seconds of one run, including work queued on an accelerator."""
    _synchronise(device)
    start = time.perf_counter()
    task()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _repeats(latest: float) -> int:
    return max(1, min(MOST_REPEATS, int(ROUND_SECONDS / latest)))


def _round_seconds(latest: float) -> float:
    return latest if latest >= QUICK else (1 + _repeats(latest)) * latest


def _rounds(suite: ComplexitySuite, seconds: float) -> int:
    """Return the number of rounds of a case within the suite's patience, at least one."""
    return min(suite.rounds, max(1, math.ceil(suite.patience / _round_seconds(seconds))))


class _Progress:
    """Progress in hundredths of the estimated time."""

    def __init__(self, estimate: Estimate, on_progress: OnProgress) -> None:
        self._estimate, self._on_progress = estimate, on_progress
        self._total = sum(estimate.all_rounds(case) for case in estimate.case_seconds)
        self._finished = 0.0

    @contextlib.contextmanager
    def of(self, case: Case) -> Iterator[None]:
        """Report a case as running inside the ``with`` block."""
        self._on_progress(int(100 * min(0.99, self._finished / self._total)), 100, str(case))
        yield
        self._finished += self._estimate.case_seconds[case]
