"""Memory that was used once stays with the process.

A training step frees and asks again for the same tens of megabytes a hundred times a second. The C
library gives such blocks back to the system, and every page of the next one is faulted in anew: a
quarter of a RotatE step on the CPU.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks for the next use, for the life of the process.

    Returns:
        False where the library does not know or refuses one of the wishes (only glibc knows them);
        training is slower there, nothing else.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    wishes = {_M_MMAP_THRESHOLD: _NEVER, _M_TRIM_THRESHOLD: _NEVER, _M_TOP_PAD: 64 * 2**20}
    answers = [library.mallopt(name, value) for name, value in wishes.items()]
    return answers == [1, 1, 1]
