"""Numbers from ranks: pure functions of arrays.

Every metric is a mean over queries, which is what makes two models comparable query by query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "amri", "compute", "hits", "mean_rank", "mrr"]

Values = NDArray[np.float64]
Metric = Callable[[Values, Values], Values]
"""Ranks [n] and candidates [n] -> a value per query [n]."""


def mrr(ranks: Values, candidates: Values) -> Values:
    """Reciprocal rank, in (0, 1]; higher is better."""
    return 1.0 / ranks


def mean_rank(ranks: Values, candidates: Values) -> Values:
    """Rank, from 1; lower is better."""
    return ranks


def hits(k: int) -> Metric:
    """Return the metric "share of queries with rank <= k"."""

    def hits_at_k(ranks: Values, candidates: Values) -> Values:
        return (ranks <= k).astype(np.float64)

    return hits_at_k


def amri(ranks: Values, candidates: Values) -> Values:
    """Adjusted mean rank index: 1 perfect, 0 as good as chance, -1 worst.

    1 - sum(rank - 1) / sum(expected rank - 1) with expected rank (candidates + 1) / 2
    (Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation"); a query's share of it is
    1 - (rank - 1) / mean(expected rank - 1). 0 when every query has one candidate only.
    """
    expected = float(np.mean(candidates - 1.0)) / 2.0
    return 1.0 - (ranks - 1.0) / expected if expected else np.zeros(len(ranks))


METRICS: Mapping[str, Metric] = {
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
    return {name: float(np.mean(metric(ranks, candidates))) for name, metric in METRICS.items()}
