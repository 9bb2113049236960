"""Overhead of executors: seconds per trivial job, and the command's share with jobs that wait.

The worker of a trivial job ends before it imports anything, so the time is the executor's alone.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from harness.run.cluster.ray import RayExecutor, connect
from harness.run.cluster.settings import RaySettings, SlurmSettings
from harness.run.cluster.slurm import SlurmExecutor
from harness.run.jobs import Executor, Job, Needs
from harness.run.processes import ProcessExecutor
from tests.benchmarks.cluster_failures import (
    Recovery,
    failures_text,
    measure_ray,
    measure_slurm,
)
from tests.cluster.engines import missing_ray, missing_slurm, slurm_cluster
from tests.executing import make_job

__all__ = ["Measurement", "Waiting", "clusters_text", "measure"]

TRIVIAL = """
import os, sys
if "harness.run.processes" in sys.orig_argv:
    print('{"kind": "outcome", "status": "ok", "message": ""}', flush=True)
    os._exit(0)
"""
"""A ``sitecustomize.py``, which Python imports first."""
OnProgress = Callable[[str], None]
Started = tuple[Callable[[], Executor] | None, Iterable[Recovery]]
"""Makes an executor, None where it is not installed; and the costs of failures."""


@dataclass(frozen=True)
class Measurement:
    """Trivial jobs, two at a time.

    Attributes:
        executor: name of the executor.
        jobs: number of jobs.
        seconds: from the call to the last outcome.
    """

    executor: str
    jobs: int
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """A command whose jobs wait in the queue.

    Attributes:
        executor: name of the executor.
        jobs: number of jobs.
        submission: seconds until all are submitted.
        cpu: share of one core that the command uses while it waits.
        memory: bytes of the command, and those before the submission.
    """

    executor: str
    jobs: int
    submission: float
    cpu: float
    memory: int
    before: int


def measure(
    counts: Sequence[int], waiting: int, on_progress: OnProgress
) -> tuple[list[Measurement], list[Waiting], list[Recovery]]:
    """Measure processes, and Slurm and Ray as far as they are installed.

    Args:
        counts: numbers of trivial jobs.
        waiting: number of jobs that wait.
        on_progress: told what is measured.
    """
    measurements, shares, recoveries = [], [], list[Recovery]()
    for name, cluster in _CLUSTERS.items():
        with _trivial_workers(), cluster() as started:
            make, _ = started
            for count in counts if make else ():
                on_progress(f"{name}: {count} jobs")
                measurements.append(_measure(name, count, make()))
        with cluster() as started:
            make, failures = started
            if make and name != "processes":
                on_progress(f"{name}: {waiting} waiting jobs")
                shares.append(_wait(name, waiting, make()))
            for recovery in failures:
                on_progress(f"{name}: {recovery.failure}")
                recoveries.append(recovery)
    return measurements, shares, recoveries


def clusters_text(
    measurements: Sequence[Measurement], shares: Sequence[Waiting], recoveries: list[Recovery]
) -> str:
    """Return the measurements as text."""
    lines = ["executor     jobs  seconds  per job"]
    lines += [
        f"{m.executor:<10} {m.jobs:>6} {m.seconds:>8.1f} {m.seconds / m.jobs:>8.2f}"
        for m in measurements
    ]
    lines += ["", "executor   waiting  submission  CPU of a core  memory  before"]
    lines += [
        f"{w.executor:<10} {w.jobs:>7} {w.submission:>9.1f} s {100 * w.cpu:>12.1f} % "
        f"{w.memory / 2**20:>5.0f} MiB {w.before / 2**20:>5.0f} MiB"
        for w in shares
    ]
    return "\n".join([*lines, "", failures_text(recoveries)])


def _measure(name: str, count: int, executor: Executor) -> Measurement:
    with tempfile.TemporaryDirectory() as home:
        jobs, began = _jobs(Path(home), count), time.monotonic()
        outcomes = list(executor.run(jobs, lambda *_: None, lambda: False))
        assert all(outcome.status == "ok" for outcome in outcomes), outcomes
        return Measurement(name, count, time.monotonic() - began)


def _wait(name: str, count: int, executor: Executor) -> Waiting:
    """Measure the command for 30 s while its jobs need more than there is."""
    process, stop = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    needs = Needs(cpus=1, memory=3900) if name == "slurm" else Needs(cpus=1)
    with tempfile.TemporaryDirectory() as home:
        blockers = _jobs(Path(home), count, epochs=1_000_000, needs=needs)
        began, samples = time.monotonic(), list[tuple[float, float, int]]()

        def watch() -> None:
            for _ in range(2):
                times = process.cpu_times()
                used = times.user + times.system
                samples.append((time.monotonic(), used, process.memory_info().rss))
                stop.wait(30)
            stop.set()

        submitted = list[float]()

        def should_stop() -> bool:
            if not submitted and time.monotonic() - began > 0.01:
                submitted.append(time.monotonic() - began)
            elif submitted and len(submitted) == 1:
                submitted.append(0.0)
                threading.Thread(target=watch).start()
            return stop.is_set()

        list(executor.run(blockers, lambda *_: None, should_stop))
    (t0, used0, _), (t1, used1, memory) = samples
    return Waiting(name, count, submitted[0], (used1 - used0) / (t1 - t0), memory, before)


def _jobs(home: Path, count: int, epochs: int = 1, needs: Needs | None = None) -> list[Job]:
    return [
        make_job(home, lr=1e-3 * (1 + i / 1000), epochs=epochs, needs=needs or Needs(memory=500))
        for i in range(count)
    ]


@contextmanager
def _trivial_workers() -> Iterator[None]:
    """Let workers that are started in the block end at once."""
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(TRIVIAL)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, before]))
        yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@contextmanager
def _processes() -> Iterator[Started]:
    yield lambda: ProcessExecutor(workers=2, threads=1), ()


@contextmanager
def _slurm() -> Iterator[Started]:
    if missing_slurm():
        yield None, ()
        return
    with slurm_cluster() as cluster:
        os.environ["SLURM_CONF"] = cluster.environment["SLURM_CONF"]
        settings = SlurmSettings(on_interrupt="cancel")
        yield lambda: SlurmExecutor(settings), measure_slurm(cluster)
        del os.environ["SLURM_CONF"]


@contextmanager
def _ray() -> Iterator[Started]:
    if missing_ray():
        yield None, ()
        return
    ray = connect(RaySettings(), at_once=2)
    yield lambda: RayExecutor(RaySettings()), measure_ray()
    ray.shutdown()


_CLUSTERS: dict[str, Callable[[], AbstractContextManager[Started]]] = {
    "processes": _processes,
    "slurm": _slurm,
    "ray": _ray,
}
