"""Metrics: formulas as pure functions of ranks, and the printed form of every number of a record.

Every rank metric is a mean over queries, so two models can be compared query by query.

Reports import this module, so it imports numpy only for type checking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["METRICS", "RANK_METRICS", "Metric", "amri", "compute", "hits", "mean_rank", "mrr"]

RankMetric = Callable[["Values", "Values"], "Values"]
"""Function of ranks [n] and candidates [n] that returns a value per query [n]."""


def mrr(ranks: Values, candidates: Values) -> Values:
    """Reciprocal rank, in (0, 1]; higher is better."""
    return 1.0 / ranks


def mean_rank(ranks: Values, candidates: Values) -> Values:
    """Rank, from 1; lower is better."""
    return ranks


def hits(k: int) -> RankMetric:
    """Return the metric "share of queries with rank <= k"."""

    def hits_at_k(ranks: Values, candidates: Values) -> Values:
        return (ranks <= k).astype("float64")

    return hits_at_k


def amri(ranks: Values, candidates: Values) -> Values:
    """Adjusted mean rank index: 1 perfect, 0 as good as chance, -1 worst.

    1 - sum(rank - 1) / sum(expected rank - 1) with expected rank (candidates + 1) / 2
    (Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation"); a query's share of it is
    1 - (rank - 1) / mean(expected rank - 1). 0 when every query has one candidate only.
    """
    expected = float((candidates - 1.0).mean()) / 2.0
    return 1.0 - (ranks - 1.0) / expected if expected else 0.0 * ranks


RANK_METRICS: Mapping[str, RankMetric] = {
    "mrr": mrr,
    "mr": mean_rank,
    "hits@1": hits(1),
    "hits@3": hits(3),
    "hits@10": hits(10),
    "amri": amri,
}
"""Name -> formula, in the order of the records."""


def compute(ranks: Values, candidates: Values) -> dict[str, float]:
    """Return metric name -> mean over the queries; {} without queries."""
    if not len(ranks):
        return {}
    means = {n: float(metric(ranks, candidates).mean()) for n, metric in RANK_METRICS.items()}
    # Each query's share is rounded, so with every rank last their mean can be an ulp below -1.
    means["amri"] = max(-1.0, means["amri"])
    return means


@dataclass(frozen=True)
class Metric:
    """Source of a number in a record, and its printed form.

    Attributes:
        title: column title.
        factor: printed value = stored value times factor (fractions become percent).
        higher_is_better: False for ranks, None for numbers that are neither good nor bad.
        decimals: printed decimals.
        source: the record's ranking metrics, the last epoch of its history, its diagnostics, its
            timings (the mean of several samples), or its processor time.
    """

    title: str
    factor: float = 100.0
    higher_is_better: bool | None = True
    decimals: int = 2
    source: Literal["metrics", "history", "diagnostics", "timings", "costs"] = "metrics"


METRICS: Mapping[str, Metric] = {
    "mrr": Metric("MRR"),
    "hits@1": Metric("Hit@1"),
    "hits@3": Metric("Hit@3"),
    "hits@10": Metric("Hit@10"),
    "amri": Metric("AMRI"),
    "mr": Metric("MR", factor=1.0, higher_is_better=False),
    "easy": Metric("Easy", higher_is_better=None, decimals=1, source="history"),
    "ambiguous": Metric("Ambiguous", higher_is_better=None, decimals=1, source="history"),
    "hard": Metric("Hard", higher_is_better=None, decimals=1, source="history"),
    "parameters": Metric("Parameters (k)", 1e-3, None, 0, "diagnostics"),
    "backbone_parameters": Metric("Backbone (k)", 1e-3, None, 0, "diagnostics"),
    "train.epoch": Metric("s/epoch", 1.0, None, 1, "timings"),
    "memory.peak": Metric("Memory (MiB)", 2**-20, None, 0, "timings"),
    "cost.best": Metric("CPU h to best", 1 / 3600, None, 3, "costs"),
    "cost.total": Metric("CPU h, all", 1 / 3600, None, 3, "costs"),
    "cost.epoch": Metric("CPU s/epoch", 1.0, None, 1, "costs"),
    "cost.published": Metric("CPU h to paper", 1 / 3600, None, 3, "costs"),
}
"""Name in the records -> printed form, for every number in tables and figures."""
