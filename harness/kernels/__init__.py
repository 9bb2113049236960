"""Operations whose speed matters, each with one signature and a version per backend.

A kernel is defined in plain torch; compiled loops for CPUs and chunks for accelerators lie beside
the definition in the same module, and ``tests/unit/kernels`` holds them to it. ``HARNESS_KERNELS``
(``auto`` or ``reference``) and the device decide which is computed (``backends``).
"""

from __future__ import annotations

from harness.index import Pairs
from harness.kernels._heap import keep_freed_memory
from harness.kernels.attention import tanh_dot
from harness.kernels.backends import Backend, backend_name
from harness.kernels.comparisons import Comparison, Op, compare, score_all, score_pairs
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
    "Comparison",
    "Counts",
    "FusedTable",
    "Gated",
    "Op",
    "Pairs",
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
]


def prepare(device: str) -> None:
    """Prepare this process for training on a device type, before anything large is made.

    On CPUs memory that is freed is kept from then on (see ``_heap``).
    """
    if device == "cpu":
        keep_freed_memory()
