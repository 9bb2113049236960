"""Memory: what this process takes now, the most that a work took, and what is too much."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import MachineError

if TYPE_CHECKING:
    import torch

__all__ = [
    "allocated_peak",
    "ask_for_huge_pages",
    "available",
    "require",
    "resident",
]


def require(need: int, what: str) -> None:
    """Refuse what cannot fit, before hours of swapping or a traceback of the allocator.

    Args:
        need: bytes that are held at once, at least.
        what: what takes them, in the plural.

    Raises:
        MachineError: the machine has less memory than that.
    """
    import psutil  # type: ignore[import-untyped]

    held = int(psutil.virtual_memory().total)
    if need > held:
        raise MachineError(
            f"{what} take {need / 2**30:,.0f} GiB at least, this machine has {held / 2**30:,.0f}"
        )


def resident() -> int:
    """Return the bytes that are in memory now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def available(device: torch.device) -> int:
    """Return the bytes that a device has left."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return int(psutil.virtual_memory().available)


def ask_for_huge_pages() -> None:
    """Let torch ask the system for huge pages; before its first tensor, or it does nothing.

    Large tensors come from the system anew each time, and in small pages faulting them in takes
    longer than filling them. Linux has them where
    ``/sys/kernel/mm/transparent_hugepage/enabled`` is not "never".
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def allocated_peak(work: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes of tensors that were alive at once among those that ``work`` made.

    Exact, and untouched by what the process keeps of freed memory: counted by torch's allocators.
    Tensors that were there before do not count.

    Args:
        work: what is done, once.
        device: where its tensors lie.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # The profiler prints when it starts and stops; it reads this when it is first used.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        work()
    results = profile.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most
