"""Whether runs fit the machine's memory: said in a dry run, and checked before a run starts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.execution.base import Job, Outcome
    from harness.plan.estimator import Estimator

__all__ = ["Need", "divide", "readable_size", "shortage"]


class Need(NamedTuple):
    """What a run takes.

    Attributes:
        where: row and dataset.
        size: bytes.
        remedy: what makes it smaller.
    """

    where: str
    size: float
    remedy: str


def readable_size(size: float) -> str:
    """Return bytes as MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 1000 * 2**20 else f"{size / 2**30:.1f} GiB"


def shortage(needs: Iterable[Need], limit: float, workers: int = 1) -> list[str]:
    """Return the lines that say which runs need more memory than there is; none when all fit.

    Args:
        needs: of every run.
        limit: bytes there are.
        workers: runs at the same time.
    """
    needs = list(needs)
    there = readable_size(limit)
    large = {f"  {n.where}: {readable_size(n.size)}\n    {n.remedy}": 0
             for n in needs if n.size > limit}  # fmt: skip
    if large:
        return [f"more memory than there is ({there}):", *large]
    together = sum(sorted((need.size for need in needs), reverse=True)[:workers])
    if together > limit:
        return [
            f"more memory than there is ({there}): {workers} runs at a time need "
            f"{readable_size(together)}",
            "  use fewer --workers",
        ]
    return []


def divide(jobs: Sequence[Job], workers: int) -> tuple[list[Job], list[Outcome]]:
    """Return the jobs to start, and as failed those that cannot fit the memory.

    A job cannot fit when it needs more than there is even if its estimate is too large by as much
    as estimates are. Of those that may not fit stderr is told.

    Args:
        jobs: at least one.
        workers: runs at the same time.
    """
    from harness.execution.base import Outcome
    from harness.pipeline import resolve_device
    from harness.plan.budget import ACCURACY
    from harness.plan.machine import memory_limit

    device = resolve_device(jobs[0].device)
    limit = memory_limit(device)
    needs = _needs(jobs, str(device))
    refused = {id_: need for id_, need in needs.items() if need.size > ACCURACY * limit}
    able = [job for job in jobs if job.run_id not in refused]
    for line in shortage((needs[j.run_id] for j in able if j.run_id in needs), limit, workers):
        print(line, file=sys.stderr)
    return able, [
        Outcome(
            run_id=run_id,
            status="failed",
            message=f"needs {readable_size(need.size)} of memory, more than there is "
            f"({readable_size(limit)}); {need.remedy}",
        )
        for run_id, need in refused.items()
    ]


def _needs(jobs: Sequence[Job], device: str) -> dict[str, Need]:
    """Return what each run takes, by id; one without an estimate is left to say what is wrong."""
    from harness.data import folders

    estimator = _estimator(device, folders.roots())
    needs = {}
    for job in jobs:
        with contextlib.suppress(Exception):  # a model of a user's own may raise anything
            size, remedy = estimator.memory(job.spec, job.label)
            needs[job.run_id] = Need(f"{job.label} on {job.spec.data.dataset}", size, remedy)
    return needs


@cache
def _estimator(device: str, roots: tuple[Path, ...]) -> Estimator:
    """Return the estimator of this process: a study asks it in every round.

    ``roots`` is part of the key alone: another data folder may hold another copy.
    """
    from harness.plan.estimator import Estimator
    from harness.training.beside import look

    return Estimator(device, look)
