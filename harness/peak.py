"""Peak memory of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

__all__ = ["forget_peak", "peak"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> bool:
    """Reset ``peak``; return False where the system does not support it (only Linux does)."""
    try:
        _CLEAR.write_text("5")  # man 5 proc: resets the peak resident set size
    except OSError:
        return False
    return True


def peak() -> int:
    """Return the peak resident memory in bytes since ``forget_peak``, or since the start."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    # A fallback: the value of a child process is at least its parent's. In KiB on Linux, in bytes
    # on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
