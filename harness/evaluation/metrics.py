"""Numbers from ranks: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "amri", "compute", "hits", "mean_rank", "mrr"]

Values = NDArray[np.float64]


def mrr(ranks: Values, candidates: Values) -> float:
    """Mean reciprocal rank, in (0, 1]; higher is better."""
    return float(np.mean(1.0 / ranks))


def mean_rank(ranks: Values, candidates: Values) -> float:
    """Mean rank, from 1; lower is better."""
    return float(np.mean(ranks))


def hits(k: int) -> Callable[[Values, Values], float]:
    """Return the metric "share of queries with rank <= k"."""

    def hits_at_k(ranks: Values, candidates: Values) -> float:
        return float(np.mean(ranks <= k))

    return hits_at_k


def amri(ranks: Values, candidates: Values) -> float:
    """Adjusted mean rank index: 1 perfect, 0 as good as chance, -1 worst.

    1 - sum(rank - 1) / sum(expected rank - 1) with expected rank (candidates + 1) / 2
    (Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation"). 0 when every query has
    one candidate only.
    """
    expected = float(np.sum(candidates - 1.0)) / 2.0
    return 1.0 - float(np.sum(ranks - 1.0)) / expected if expected else 0.0


METRICS: Mapping[str, Callable[[Values, Values], float]] = {
    "mrr": mrr,
    "mr": mean_rank,
    "hits@1": hits(1),
    "hits@3": hits(3),
    "hits@10": hits(10),
    "amri": amri,
}


def compute(ranks: Values, candidates: Values) -> dict[str, float]:
    """Return every metric; {} when there is no query."""
    if not len(ranks):
        return {}
    return {name: metric(ranks, candidates) for name, metric in METRICS.items()}
