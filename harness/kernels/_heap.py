"""Settings of the C library's allocator: freed memory stays with the process.

A training step frees and allocates the same tens of megabytes a hundred times a second. By default
the C library returns such blocks to the system, and each page of the next block causes a page
fault: a quarter of the time of a RotatE step on the CPU.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Set the allocator of this process to reuse freed blocks.

    Returns:
        False where the C library lacks or rejects a setting (only glibc has them); training is
        slower there, nothing else changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = {_M_MMAP_THRESHOLD: _NEVER, _M_TRIM_THRESHOLD: _NEVER, _M_TOP_PAD: 64 * 2**20}
    accepted = [library.mallopt(name, value) for name, value in settings.items()]
    return accepted == [1, 1, 1]
