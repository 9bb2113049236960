"""Free memory of a device, and peak memory of a task."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from harness.bench.timing import Task

__all__ = ["allocated_peak", "ask_for_huge_pages", "available"]


def available(device: torch.device) -> int:
    """Return the free bytes of a device."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    import psutil  # type: ignore[import-untyped]

    return int(psutil.virtual_memory().available)


def ask_for_huge_pages() -> None:
    """Make torch request huge pages; without effect after its first tensor.

    Each large tensor gets fresh memory, whose page faults take longer than filling it if pages are
    small. Linux has huge pages unless ``/sys/kernel/mm/transparent_hugepage/enabled`` is "never".
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def allocated_peak(task: Task, device: torch.device) -> int:
    """Return the peak bytes of the tensors that a task allocates, without earlier tensors.

    The count of torch's allocators is exact: freed memory that the process keeps does not count.

    Args:
        task: task to run once.
        device: device of its tensors.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        task()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Silences the profiler's messages; read on its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        task()
    results = profile.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    allocated = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        highest = max(highest, allocated)
    return highest
