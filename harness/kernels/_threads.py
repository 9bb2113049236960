"""Runs a compiled function over parts of a range, one part per thread at a time.

The compiled functions release the interpreter lock, so plain threads are enough. Unlike
the compiler's own parallel loops this may be called from several threads at once, survives
``fork``, and adds no second OpenMP runtime beside torch's.

Every output element is written by one call in a fixed order, so results do not depend on how many
threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["even_parts", "over", "parts_by_work"]

PARTS_PER_THREAD = 8
"""More parts than threads, so that a slow part does not leave the others waiting."""
SMALL = 1 << 16
"""Below this many elementary operations waking threads costs more than it saves."""


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


# A child has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def even_parts(length: int, work: int) -> list[int]:
    """Return boundaries that cut ``range(length)`` into parts of equal length.

    Args:
        length: end of the range.
        work: elementary operations in all, to keep small calls on one thread.
    """
    parts = _count(work, length)
    return [length * i // parts for i in range(parts + 1)]


def parts_by_work(offsets: NDArray[np.int64], per_item: int) -> list[int]:
    """Return boundaries that cut the groups of a CSR into parts of about equal size.

    Args:
        offsets: [groups + 1].
        per_item: elementary operations per listed item.
    """
    groups, items = len(offsets) - 1, int(offsets[-1])
    parts = _count(items * per_item, groups)
    inner = np.searchsorted(offsets, [items * i // parts for i in range(1, parts)])
    return [0, *inner.tolist(), groups]


def _count(work: int, length: int) -> int:
    threads = torch.get_num_threads()
    if threads == 1 or work < SMALL:
        return 1
    return max(1, min(length, threads * PARTS_PER_THREAD))


def over(boundaries: Sequence[int], function: Callable[..., Any], *arguments: Any) -> None:
    """Call ``function(*arguments, low, high)`` for each part, on torch's number of threads."""
    if len(boundaries) == 2:
        function(*arguments, boundaries[0], boundaries[1])
        return
    parts = iter(list(pairwise(boundaries)))

    def work() -> None:
        for low, high in parts:  # the iterator of a list hands out each part once
            if low < high:
                function(*arguments, low, high)

    threads = torch.get_num_threads()
    others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
