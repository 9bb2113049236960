"""RankComparison of several methods over several datasets by their ranks; pure functions of arrays.

Demsar 2006, "Statistical comparisons of classifiers over multiple data sets", JMLR 7: the test of
Friedman whether all methods are alike, then tests of pairs. Benavoli, Corani and Mangili 2016,
"Should we really use post-hoc tests based on mean-ranks?", JMLR 17: whether Nemenyi's test tells
two methods apart depends on the other methods of the pool; Wilcoxon's signed ranks with Holm's
correction do not.

scipy takes 0.7 s to import, so it is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.hypotheses import ALPHA
from harness.holm import holm

__all__ = [
    "LEAST_DATASETS",
    "RankComparison",
    "compare_ranks",
    "critical_difference",
    "minimum_datasets",
]

Values = NDArray[np.float64]
PairTest = Literal["nemenyi", "wilcoxon"]

LEAST_DATASETS = 5
"""Fewest datasets on which Friedman's test, whose p-value is that of large samples, is used."""


@dataclass(frozen=True)
class RankComparison:
    """Methods compared over datasets.

    Attributes:
        mean_ranks: mean rank of each method, 1 the best, ties shared.
        statistic: Iman and Davenport's F.
        p: probability of such ranks when all methods are alike.
        difference: critical difference of mean ranks; None for Wilcoxon's test.
        groups: methods that cannot be told apart, best first; maximal, each of at least two.
    """

    mean_ranks: tuple[float, ...]
    statistic: float
    p: float
    difference: float | None
    groups: tuple[tuple[int, ...], ...]


def compare_ranks(values: Values, test: PairTest, alpha: float = ALPHA) -> RankComparison:
    """Compare methods by their ranks on each dataset.

    Args:
        values: [datasets, methods], greater is better.
        test: test of pairs.
        alpha: level.
    """
    from scipy import stats

    datasets, methods = values.shape
    ranks = stats.rankdata(-values, axis=1)
    mean_ranks = ranks.mean(0)
    statistic, p = _friedman(ranks)
    order = np.argsort(mean_ranks, kind="stable")
    difference = None
    if test == "nemenyi":
        difference = critical_difference(methods, datasets, alpha)
        differs = np.abs(mean_ranks[:, None] - mean_ranks) >= difference
    else:
        differs = _wilcoxon(values, alpha)
    if p >= alpha:
        differs = np.zeros_like(differs)  # the test of pairs is made after Friedman's has rejected
    groups = tuple(_groups(order.tolist(), differs))
    return RankComparison(tuple(mean_ranks.tolist()), statistic, p, difference, groups)


def _friedman(ranks: Values) -> tuple[float, float]:
    """Return Iman and Davenport's F of ranks [datasets, methods] and its p-value.

    F = (n - 1) X / (n (k - 1) - X), X Friedman's chi-square corrected for ties, with k - 1 and
    (k - 1)(n - 1) degrees of freedom (Iman and Davenport 1980; Demsar 2006, 3.2.2).
    """
    from scipy import stats

    n, k = ranks.shape
    squares = float((ranks**2).sum()) - n * k * (k + 1) ** 2 / 4
    if squares == 0:
        return 0.0, 1.0  # all methods are equal on all datasets
    deviations = float(((ranks.sum(0) - n * (k + 1) / 2) ** 2).sum())
    chi = (k - 1) * deviations / squares
    denominator = n * (k - 1) - chi
    if denominator <= 1e-9:
        return math.inf, 0.0  # the same order on every dataset
    statistic = (n - 1) * chi / denominator
    return statistic, float(stats.f.sf(statistic, k - 1, (k - 1) * (n - 1)))


def critical_difference(methods: int, datasets: int, alpha: float = ALPHA) -> float:
    """Return the difference of mean ranks from which Nemenyi's test tells two methods apart.

    q sqrt(k (k + 1) / (6 n)), q the studentised range over sqrt 2 (Demsar 2006, 3.2.2).
    """
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def minimum_datasets(methods: int, test: PairTest, alpha: float = ALPHA) -> int:
    """Return the fewest datasets on which a test could tell a pair apart, were one always ahead."""
    if test == "wilcoxon":
        # The least p of n signed ranks is 2 / 2^n; Holm compares it with alpha over the pairs.
        minimum = math.ceil(math.log2(2 * math.comb(methods, 2) / alpha))
    else:
        minimum = math.floor((critical_difference(methods, 1, alpha) / (methods - 1)) ** 2) + 1
    return max(LEAST_DATASETS, minimum)


def _wilcoxon(values: Values, alpha: float) -> NDArray[np.bool_]:
    """Return which pairs Wilcoxon's signed ranks tell apart, p-values corrected by Holm."""
    from scipy import stats

    methods = values.shape[1]
    pairs = list(combinations(range(methods), 2))
    p_values = []
    for a, b in pairs:
        differences = values[:, a] - values[:, b]
        equal = not np.any(differences)
        p_values.append(1.0 if equal else float(stats.wilcoxon(differences).pvalue))
    differs = np.zeros((methods, methods), dtype=bool)
    for (a, b), p in zip(pairs, holm(p_values), strict=True):
        differs[a, b] = differs[b, a] = p < alpha
    return differs


def _groups(order: list[int], differs: NDArray[Any]) -> Iterator[tuple[int, ...]]:
    """Yield the longest runs of neighbours by rank of which no two are told apart."""
    last = 0
    for start in range(len(order)):
        end = start
        while end < len(order) and not any(
            differs[order[i], order[end]] for i in range(start, end)
        ):
            end += 1
        if end - start > 1 and end > last:
            yield tuple(order[start:end])
            last = end
