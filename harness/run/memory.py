"""Runs that cannot fit the memory: listed in a dry run, refused before any run starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.events import Message, OnEvent, ignore
from harness.run.jobs import Job, Outcome

__all__ = ["MemoryNeed", "divide", "readable_size", "shortage"]


class MemoryNeed(NamedTuple):
    """Memory of a run.

    Attributes:
        title: row and dataset.
        size: bytes.
        remedy: setting that makes it smaller.
    """

    title: str
    size: float
    remedy: str


def readable_size(size: float) -> str:
    """Return bytes as MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 1000 * 2**20 else f"{size / 2**30:.1f} GiB"


def shortage(needs: Iterable[MemoryNeed], limit: float, workers: int = 1) -> list[str]:
    """Return lines that name the runs that need more memory than there is; none when all fit.

    Args:
        needs: memory of every run.
        limit: bytes of memory there are.
        workers: runs at the same time.
    """
    needs = list(needs)
    heading = f"more memory than there is ({readable_size(limit)}):"
    large = [
        f"  {need.title}: {readable_size(need.size)}\n    {need.remedy}"
        for need in needs
        if need.size > limit
    ]
    if large:
        return [heading, *dict.fromkeys(large)]
    together = sum(sorted((need.size for need in needs), reverse=True)[:workers])
    if together > limit:
        return [
            f"{heading} {workers} runs at a time need {readable_size(together)}",
            "  use fewer --workers",
        ]
    return []


def divide(
    jobs: Sequence[Job], workers: int, on_event: OnEvent = ignore
) -> tuple[list[Job], list[Outcome]]:
    """Return the jobs to start, and as failed those whose least memory is more than there is.

    Jobs that fit alone but not ``workers`` at a time are started, with a warning.

    Args:
        jobs: at least one.
        workers: runs at the same time on one device.
        on_event: receives the warning, line by line.
    """
    from harness.pipeline import resolve_device
    from harness.plan.memory import memory_limit

    device = resolve_device(jobs[0].device)
    limit = memory_limit(device)
    needs = _needs(jobs, device.type)
    refused = {run_id: need for run_id, need in needs.items() if need.size > limit}
    able = [job for job in jobs if job.run_id not in refused]
    for line in shortage((needs[j.run_id] for j in able if j.run_id in needs), limit, workers):
        on_event(Message(line))
    return able, [
        Outcome(
            run_id=run_id,
            status="failed",
            message=f"needs at least {readable_size(need.size)} of memory, more than there is "
            f"({readable_size(limit)}); {need.remedy}",
        )
        for run_id, need in refused.items()
    ]


def _needs(jobs: Sequence[Job], device: str) -> dict[str, MemoryNeed]:
    """Return the least memory of each run, by id; a run that cannot be built fails by itself."""
    from harness.plan.memory import data_size, least_memory

    needs = {}
    for job in jobs:
        with contextlib.suppress(Exception):  # a model of a user's own may raise anything
            bound = least_memory(job.spec, data_size(job.spec.data), device)
            title = f"{job.label} on {job.spec.data.dataset}"
            needs[job.run_id] = MemoryNeed(title, *bound)
    return needs
