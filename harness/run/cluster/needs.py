"""Needs of runs: measured time and memory of earlier runs, else the engine file's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness.run.cluster.settings import DefaultNeeds
from harness.run.jobs import Job, Needs

if TYPE_CHECKING:
    from harness.plan.spec import RunSpec
    from harness.run.costs import Cost, CostTable

__all__ = ["cluster_costs", "gpus_of", "groups", "needs_of", "with_needs"]

MEMORY_FACTOR, TIME_FACTOR = 1.5, 2.0
"""Needs relative to what was measured, perhaps on another machine."""
BOUND_FACTOR = 2.0
"""Needs relative to the lower bound of the memory."""
LEAST_MIB, LEAST_MINUTES = 1024, 10
"""Needs are these times a power of two, so that few arrays differ."""


def with_needs(jobs: Sequence[Job], defaults: DefaultNeeds, threads: int = 0) -> list[Job]:
    """Return jobs with their needs, and as many threads as they have CPUs.

    Args:
        jobs: at least one, all of one results folder and device.
        defaults: section ``needs`` of the engine file.
        threads: CPU threads of each run, 0 for ``defaults.cpus``.
    """
    gpus = gpus_of(jobs[0].device, defaults)
    cpus = threads or defaults.cpus
    costs = cluster_costs(jobs[0].home, jobs[0].device, defaults, threads)
    by_work: dict[str, Needs] = {}
    changed = []
    for job in jobs:
        key = job.spec.model_copy(update={"seed": 0}).model_dump_json()
        if key not in by_work:
            bound = 0.0 if gpus else _least_memory(job.spec)
            by_work[key] = needs_of(costs.cost(job.spec), job.spec, defaults, cpus, gpus, bound)
        changed.append(job.model_copy(update={"needs": by_work[key], "threads": cpus}))
    return changed


def needs_of(
    cost: Cost | None, spec: RunSpec, defaults: DefaultNeeds, cpus: int, gpus: int, bound: float
) -> Needs:
    """Return the needs of a run.

    Args:
        cost: measured time and memory; None where nothing comparable was measured.
        spec: the run.
        defaults: section ``needs`` of the engine file.
        cpus, gpus: number of each.
        bound: lower bound of the memory in bytes; 0 where there is none.
    """
    memory, minutes = defaults.memory, defaults.minutes
    if cost is not None:
        minutes = _doubled(LEAST_MINUTES, TIME_FACTOR * cost.seconds(spec.training) / 60)
        if not gpus:  # of a GPU the memory is the device's
            memory = _doubled(LEAST_MIB, MEMORY_FACTOR * cost.memory / 2**20)
    elif bound:
        memory = max(memory, _doubled(LEAST_MIB, BOUND_FACTOR * bound / 2**20))
    if defaults.max_minutes:
        minutes = min(minutes or defaults.max_minutes, defaults.max_minutes)
    return Needs(cpus=cpus, gpus=gpus, memory=memory, minutes=minutes)


def groups(jobs: Sequence[Job], size: int) -> Iterator[tuple[Needs, list[Job]]]:
    """Yield jobs with equal needs together, at most ``size`` at a time, in their order."""
    by_needs: Mapping[Needs, list[Job]] = {
        needs: [job for job in jobs if job.needs == needs]
        for needs in dict.fromkeys(job.needs for job in jobs)
    }
    for needs, alike in by_needs.items():
        remaining = iter(alike)
        while batch := list(islice(remaining, size)):
            yield needs, batch


def cluster_costs(home: Path, device: str, defaults: DefaultNeeds, threads: int = 0) -> CostTable:
    """Return the costs of earlier runs, whatever machine they were measured on.

    Args:
        home: results folder.
        device: "auto", "cpu", "cuda"; decides whether runs on GPUs count.
        defaults, threads: as for ``with_needs``.
    """
    from harness.run.costs import CostTable, Platform

    cpus = threads or defaults.cpus
    platform = Platform("", 0, "GPU" if gpus_of(device, defaults) else "cpu", cpus)
    return CostTable(home, threads=cpus, platform=platform)


def gpus_of(device: str, defaults: DefaultNeeds) -> int:
    """Return the number of GPUs of each run."""
    if device.startswith("cuda"):
        return max(1, defaults.gpus)
    return 0 if device == "cpu" else defaults.gpus


def _least_memory(spec: RunSpec) -> float:
    """Return the lower bound of a run's memory; 0 for a model that cannot be built."""
    from harness.plan.memory import data_size, least_memory

    with contextlib.suppress(Exception):  # a model of a user's own may raise anything
        return least_memory(spec, data_size(spec.data)).size
    return 0.0


def _doubled(minimum: int, value: float) -> int:
    """Return ``minimum`` times the smallest power of two that reaches a value."""
    while minimum < value:
        minimum *= 2
    return minimum
