"""Memory: what this process takes now, the most it took since a moment, and what is too much."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from harness.errors import MachineError

__all__ = ["forget_peak", "peak", "require", "resident"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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


def forget_peak() -> bool:
    """Let ``peak`` start anew; return False where the system cannot (only Linux can)."""
    try:
        _CLEAR.write_text("5")  # man 5 proc: resets the peak resident set size
    except OSError:
        return False
    return True


def peak() -> int:
    """Return the most bytes that were in memory since ``forget_peak`` (or since the start)."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
