"""A thread pool that runs a compiled function over the parts of a range.

The compiled functions release the interpreter lock, so plain threads suffice. Unlike numba's
parallel loops, the pool can be used from several threads at once, survives ``fork``, and adds no
second OpenMP runtime beside torch's.

One call writes each output element in a fixed order, so results do not depend on the number of
threads.
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
"""More parts than threads, so that threads do not wait for the one with a slow part."""
SMALL = 1 << 16
"""Number of elementary operations below which waking threads costs more than it saves."""


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


# A forked child has none of its parent's threads: submitting to the inherited pool would hang.
os.register_at_fork(after_in_child=_pool.cache_clear)


def even_parts(length: int, work: int) -> list[int]:
    """Return boundaries that cut ``range(length)`` into parts of equal length.

    Args:
        length: end of the range.
        work: total number of elementary operations; small calls stay on one thread.
    """
    parts = _count(work, length)
    return [length * i // parts for i in range(parts + 1)]


def parts_by_work(offsets: NDArray[np.int64], per_item: int) -> list[int]:
    """Return boundaries that cut the groups of a CSR into parts of about equal work.

    Args:
        offsets: [groups + 1] the CSR's indptr.
        per_item: elementary operations per item of a group.
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
    ranges = iter(list(pairwise(boundaries)))

    def work() -> None:
        # All threads share one list iterator; its next() is atomic, so each part runs once.
        for low, high in ranges:
            if low < high:
                function(*arguments, low, high)

    threads = torch.get_num_threads()
    workers = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for worker in workers:
            worker.result()
