"""Costs of a failure on a cluster: epochs that are trained again, seconds until the next one."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from harness import catalog
from harness.run.cluster import attempts
from harness.run.cluster.ray import RayExecutor
from harness.run.cluster.settings import RaySettings, SlurmSettings
from harness.run.cluster.slurm import SlurmExecutor
from harness.run.jobs import Executor, Job, Needs
from tests.cluster.engines import Slurm
from tests.executing import SLOW_MODEL, make_job

__all__ = ["Recovery", "failures_text", "measure_ray", "measure_slurm"]

EPOCH_S = 0.1
"""Seconds of an epoch."""
AT_EPOCH = 101
"""Epoch after which a run is hit."""


@dataclass(frozen=True)
class Recovery:
    """A failure and its cost.

    Attributes:
        executor: name of the executor.
        failure: the failure.
        lost: epochs that were trained again.
        noticed: seconds until the next attempt began.
        resumed: seconds until the first further epoch had ended.
    """

    executor: str
    failure: str
    lost: int
    noticed: float
    resumed: float


def failures_text(recoveries: list[Recovery]) -> str:
    """Return the measurements as text."""
    lines = ["executor   failure                    epochs lost   next attempt   next epoch"]
    lines += [
        f"{r.executor:<10} {r.failure:<26} {r.lost:>11} {r.noticed:>12.1f} s {r.resumed:>10.1f} s"
        for r in recoveries
    ]
    return "\n".join(lines)


def measure_slurm(slurm: Slurm) -> Iterator[Recovery]:
    """Yield the costs of failures on a running cluster, whose waits after a requeue are cut."""

    def preempt(job: Job) -> None:
        node = attempts.read(job.folder)[-1].attempt.node
        words = f"--partition=high --nodelist={node} --mem=500M --output=/dev/null --wrap=true"
        slurm.command("sbatch", *words.split())

    def die(job: Job) -> None:
        slurm.kill_node(attempts.read(job.folder)[-1].attempt.node)

    executor = SlurmExecutor(SlurmSettings(poll=2, partition="low"))
    with _started_at_once(slurm):
        for failure, action in (
            ("preempted", preempt),
            ("relay killed", _kill_relay),
            ("node dead", die),
        ):
            yield _recovery("slurm", failure, executor, action)
    for name in slurm.nodes:
        if name not in slurm.processes:
            slurm.start_node(name)


def measure_ray() -> Iterator[Recovery]:
    """Yield the costs of failures; Ray is connected."""
    yield _recovery("ray", "relay killed", RayExecutor(RaySettings()), _kill_relay)


def _kill_relay(job: Job) -> None:
    path = str(job.folder / "job.json")
    for process in psutil.process_iter(["cmdline"]):
        if path in (process.info["cmdline"] or ()):
            psutil.Process(process.ppid()).kill()
            return


def _recovery(
    name: str, failure: str, executor: Executor, action: Callable[[Job], None]
) -> Recovery:
    with tempfile.TemporaryDirectory() as folder, _slow_model(Path(folder)) as models:
        needs = Needs(memory=500) if name == "slurm" else Needs()
        job = make_job(
            Path(folder) / "home", "slow", epochs=200, model_folders=(models,), needs=needs
        )
        times: dict[str, float] = {}
        epochs: list[int] = []

        def hear(job: Job, kind: str, values: dict[str, Any]) -> None:
            now = time.monotonic()
            if kind == "attempt" and "failed" in times:
                times.setdefault("noticed", now)
            elif kind == "epoch":
                if "noticed" in times:
                    times.setdefault("resumed", now)
                epochs.append(int(values["epoch"]))
                if len(epochs) == AT_EPOCH:
                    times["failed"] = now
                    action(job)

        outcomes = list(executor.run([job], hear, lambda: False))
        assert outcomes[0].status == "ok", outcomes[0]
        began = times["failed"]
        repeated = len(epochs) - len(set(epochs))
        return Recovery(name, failure, repeated, times["noticed"] - began, times["resumed"] - began)


@contextmanager
def _slow_model(folder: Path) -> Iterator[Path]:
    from harness.model import MODELS

    models = folder / "models"
    models.mkdir()
    (models / "slow.py").write_text(SLOW_MODEL)
    catalog.load_folder(models)
    os.environ["HARNESS_SLOW_S"] = str(EPOCH_S)
    yield models
    del MODELS._entries["slow"], os.environ["HARNESS_SLOW_S"]


@contextmanager
def _started_at_once(slurm: Slurm) -> Iterator[None]:
    """Start requeued jobs at once; Slurm makes them wait for two minutes."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            slurm.start_held_jobs()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    done.set()
    thread.join()
