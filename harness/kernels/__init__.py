"""Kernels: the operations that dominate a training step, with one version per backend.

Each kernel is defined in plain torch. Its versions for CPUs (loops compiled by numba) and for
accelerators (chunks) lie in the same module, and ``tests/unit/kernels`` compares them with the
definition. ``HARNESS_KERNELS`` (``auto`` or ``reference``) and the device select the version
(``backends``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.index import Pairs
from harness.kernels._heap import keep_freed_memory
from harness.kernels.attention import tanh_dot
from harness.kernels.backends import Backend, backend_name
from harness.kernels.comparisons import Op, VectorComparison, compare, score_all, score_pairs
from harness.kernels.counts import (
    Counts,
    Views,
    combined_score,
    count_competitors,
    count_in_scores,
)
from harness.kernels.draws import draw_free, dropout
from harness.kernels.fusion import HIDDEN, FusedTable
from harness.kernels.gated import Gated, gated_cosines
from harness.kernels.rotation import rotate

__all__ = [
    "HIDDEN",
    "Backend",
    "Counts",
    "FusedTable",
    "Gated",
    "Op",
    "Pairs",
    "VectorComparison",
    "Views",
    "backend_name",
    "combined_score",
    "compare",
    "count_competitors",
    "count_in_scores",
    "draw_free",
    "dropout",
    "gated_cosines",
    "prepare",
    "rotate",
    "score_all",
    "score_pairs",
    "tanh_dot",
    "without_denormals",
]


_SMALL = 1e-300
"""Times 1e-10 it is denormal. It has a name because Python multiplies constants at compile time."""


def prepare(device: str) -> None:
    """Prepare this process for training on a device type, before large tensors are allocated.

    On CPUs the process keeps freed memory from then on (see ``_heap``).
    """
    if device == "cpu":
        keep_freed_memory()


@contextmanager
def without_denormals() -> Iterator[None]:
    """Replace results of a magnitude below 1.2e-38 by zero (2.2e-308 in double precision).

    Weights of easy negatives are that small, and arithmetic with such numbers is a hundred times
    slower on some processors. The setting is this thread's, and that of threads that it starts
    meanwhile.
    """
    before = _SMALL * 1e-10 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
