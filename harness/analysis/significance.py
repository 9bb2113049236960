"""Tests, intervals and effect sizes of paired values: is one model better than another?

Pure functions of arrays. They take *differences* d [..., seeds, triples]: model A minus model B
with the same seed on the same test triple, each value the mean over the triple's queries, for the
two questions of a triple are one observation and not two. Leading axes are independent comparisons.

Differences vary between seeds (training again gives another model) and between triples (other test
triples would favour the models otherwise). :func:`over_triples` leaves out the one,
:func:`over_seeds` the other, :func:`over_both` counts both; :func:`verdict` is what tables mark by.
``docs/statistics.md`` says which answers what, and how each keeps its level.

scipy takes 0.7 s to import and statsmodels 1 s, so they are imported where they are used.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import CONFIDENCE

__all__ = [
    "DifferenceTest",
    "Effect",
    "effect",
    "half_of_triples",
    "over_both",
    "over_seeds",
    "over_triples",
    "permuted_seeds",
    "seeds_to_settle",
    "triples_suffice",
    "verdict",
]

Array = NDArray[np.float64]

POWER = 0.8
"""Chance with which :func:`seeds_to_settle` wants a difference of the size seen to be found."""
RESAMPLES = 9999
MOST_SEEDS = 1000
AT_ONCE = 2**22
"""Numbers held at once by resampling (32 MiB)."""


@dataclass(frozen=True)
class DifferenceTest:
    """A two-sided test of "no difference" with the interval that belongs to it.

    Attributes:
        difference: mean difference.
        low, high: interval that covers the difference with probability 0.95.
        p: probability of a difference at least as large when there is none.

    All have the leading axes of the differences; they are floats when there are none.
    """

    difference: Any
    low: Any
    high: Any
    p: Any


@dataclass(frozen=True)
class Effect:
    """Size of a difference relative to its variation between triples.

    Attributes:
        dz: mean over standard deviation of the triples' differences (Cohen 1988, section 2.3.5).
        better, worse: share of the triples on which A is ahead of, and behind, B.
    """

    dz: float
    better: float
    worse: float


def over_seeds(d: Array) -> DifferenceTest:
    """Test over seeds on the test triples as they are: the paired t-test, seeds - 1 degrees.

    Answers "would A be ahead when both are trained again with other seeds?", on these triples.

    Args:
        d: [..., seeds, triples] with at least two seeds.
    """
    from scipy import stats

    seeds = np.asarray(d).mean(-1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds that agree have no variance
        test = stats.ttest_1samp(seeds, 0.0, axis=-1)
        interval = test.confidence_interval(CONFIDENCE)
    mean = seeds.mean(-1)
    constant = np.ptp(seeds, axis=-1) == 0
    return DifferenceTest(
        mean,
        np.where(constant, mean, interval.low)[()],
        np.where(constant, mean, interval.high)[()],
        np.where(constant, mean == 0, test.pvalue)[()].astype(float),
    )


def over_both(d: Array) -> DifferenceTest:
    """Test over seeds and triples: both are samples, crossed with each other.

    Two-way analysis of variance of the differences with the mean squares MS of seeds S, triples T
    and rest R: V = MS_S + max(MS_T - MS_R, 0), t = mean / sqrt(V / (S T)), with
    V^2 / (MS_S^2 / (S - 1)) degrees of freedom. It is how radiology compares two methods over
    readers (here seeds) and cases (triples): Dorfman, Berbaum and Metz 1992, with the degrees of
    freedom of Hillis 2007, "A comparison of denominator degrees of freedom methods for multiple
    observer ROC analysis", Statistics in Medicine 26. With fewer than five seeds it is too sure of
    itself where seeds vary most (up to 0.08 instead of 0.05 with three): :func:`verdict` covers
    that.

    Args:
        d: [..., seeds, triples] with at least two of each.
    """
    from scipy import stats

    d = np.asarray(d)
    mean = d.mean((-2, -1))
    variance, seeds = _variance(_mean_squares(d), d.shape[-2], d.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        # Seeds that agree have no variance; only that of the triples remains.
        degrees = np.minimum(_degrees(variance, seeds, d.shape[-2]), d.shape[-1] - 1)
        t = np.abs(mean) / np.sqrt(variance)
    p = np.where(variance > 0, 2 * stats.t.sf(t, degrees), mean == 0)[()].astype(float)
    critical = stats.t.ppf((1 + CONFIDENCE) / 2, degrees)
    half = np.where(variance > 0, critical * np.sqrt(variance), 0.0)[()]
    return DifferenceTest(mean, mean - half, mean + half, p)


def verdict(d: Array) -> DifferenceTest:
    """Return the decisive test of a difference: the larger p and the wider interval of two tests.

    A difference has to be beyond the noise of seeds alone (:func:`over_seeds`) and of seeds and
    triples together (:func:`over_both`). The first is exact where seeds vary most, the second where
    triples do; requiring both keeps the level in between too, with as few as two seeds.

    Args:
        d: [..., seeds, triples] with at least two of each.
    """
    first, second = over_seeds(d), over_both(d)
    return DifferenceTest(
        second.difference,
        np.minimum(first.low, second.low),
        np.maximum(first.high, second.high),
        np.maximum(first.p, second.p),
    )


def over_triples(d: Array, *, seed: int = 0) -> DifferenceTest:
    """Test over triples of the models as they were trained, the mean over their seeds.

    The p-value is that of the permutation test which swaps the models triple by triple (9999 times
    at random), the interval that of the bootstrap over triples (percentiles). Answers "would these
    models differ on other test triples?" and says nothing of training again.

    Args:
        d: [seeds, triples], one comparison.
        seed: of the resampling.
    """
    from scipy import stats

    triples = np.asarray(d).mean(-2)
    mean = float(triples.mean())
    if np.ptp(triples) == 0:
        return DifferenceTest(mean, mean, mean, float(mean == 0) if len(triples) > 1 else 1.0)
    rng = np.random.default_rng(seed)
    batch = max(1, AT_ONCE // len(triples))

    def swapped(size: tuple[int, ...]) -> Array:
        signs = rng.integers(0, 2, size, dtype=np.int8)
        return np.asarray(np.where(signs, triples, -triples), dtype=np.float64)

    p = stats.monte_carlo_test(
        triples, swapped, np.mean, vectorized=True, n_resamples=RESAMPLES, batch=batch
    ).pvalue
    interval = stats.bootstrap(
        (triples,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=batch,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return DifferenceTest(mean, float(interval.low), float(interval.high), float(p))


def permuted_seeds(d: Array, *, seed: int = 0) -> float:
    """Return the p-value of swapping the models seed by seed; 2 / 2^seeds is the least it can be.

    Args:
        d: [seeds, triples], one comparison.
        seed: of the resampling, where there are too many seeds to try all ways.
    """
    from scipy import stats

    test = stats.permutation_test(
        (np.asarray(d).mean(-1),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def effect(d: Array) -> Effect:
    """Return the size of a difference [seeds, triples] beside its variation between triples."""
    triples = np.asarray(d).mean(-2)
    sd = float(triples.std(ddof=1)) if len(triples) > 1 else 0.0
    return Effect(
        dz=float(triples.mean()) / sd if sd else 0.0,
        better=float((triples > 0).mean()),
        worse=float((triples < 0).mean()),
    )


def seeds_to_settle(d: Array, alpha: float = 0.05) -> int | None:
    """Return with how many seeds :func:`verdict` would find a difference of the size seen.

    The number is the least with which both of its tests find it with a probability of ``POWER``,
    were the difference and the variances what they are in ``d``. It is an estimate from few seeds.

    Args:
        d: [seeds, triples], one comparison, with at least two of each.
        alpha: level that p has to reach.

    Returns:
        None when ``MOST_SEEDS`` would not do: nothing differs, the test triples are too few
        (:func:`triples_suffice`), or seeds vary that much.
    """
    d = np.asarray(d)
    mean, squares = abs(float(d.mean())), _mean_squares(d)

    def detects(n: int) -> bool:
        variance, seeds = _variance(_expected(squares, d.shape[-2], n), n, d.shape[-1])
        if not seeds > 0:
            return _power(mean, variance, d.shape[-1] - 1, alpha) >= POWER
        degrees = min(_degrees(variance, seeds, n), d.shape[-1] - 1)
        power_of_both = _power(mean, variance, degrees, alpha)
        return min(power_of_both, _power(mean, seeds, n - 1, alpha)) >= POWER

    if mean == 0 or not detects(MOST_SEEDS):
        return None
    return bisect_left(range(2, MOST_SEEDS), True, key=detects) + 2


def triples_suffice(d: Array, alpha: float = 0.05) -> bool:
    """Return whether a difference of the size seen would be found were seeds without any noise.

    Where they do not suffice, no number of seeds settles the difference.

    Args:
        d: [seeds, triples], one comparison, with at least two of each.
        alpha: level that p has to reach.
    """
    variance = _of_triples(d)
    if not variance > 0:
        return bool(np.mean(d) != 0)
    return _power(abs(float(np.mean(d))), variance, np.shape(d)[-1] - 1, alpha) >= POWER


def half_of_triples(d: Array) -> float:
    """Return half the width that the interval of a difference keeps, however many seeds there are.

    Args:
        d: [seeds, triples], one comparison, with at least two of each.
    """
    from scipy import stats

    critical = stats.t.ppf((1 + CONFIDENCE) / 2, np.shape(d)[-1] - 1)
    return float(critical * np.sqrt(_of_triples(d)))


def _power(mean: float, variance: float, degrees: float, alpha: float) -> float:
    """Return the chance that a two-sided t-test finds a difference whose estimate has a variance.

    A difference in the other direction does not count (nan where it is next to impossible).
    """
    from statsmodels.stats.power import TTestPower

    size = mean / np.sqrt(variance)
    power = TTestPower().power(size, nobs=1, alpha=alpha / 2, df=degrees, alternative="larger")
    return float(power)


def _of_triples(d: Array) -> float:
    """Return the variance of a mean difference that is left when there is no noise of seeds."""
    d = np.asarray(d)
    _, of_triples, residual = _mean_squares(d)
    return float(max(of_triples - residual, 0.0) / d.size)


Squares = tuple[Any, Any, Any]
"""Mean squares of seeds, triples and rest."""


def _mean_squares(d: Array) -> Squares:
    """Return the mean squares of the two-way analysis of variance, one value per cell."""
    seeds, triples = d.shape[-2:]
    of_seeds, of_triples = d.mean(-1, keepdims=True), d.mean(-2, keepdims=True)
    mean = of_seeds.mean(-2, keepdims=True)
    residual = d - of_seeds - of_triples + mean
    return (
        triples * of_seeds.var((-2, -1), ddof=1),
        seeds * of_triples.var((-2, -1), ddof=1),
        (residual**2).sum((-2, -1)) / ((seeds - 1) * (triples - 1)),
    )


def _variance(squares: Squares, seeds: int, triples: int) -> tuple[Any, Any]:
    """Return the variance of the mean difference, and the part of it that is from few seeds."""
    of_seeds, of_triples, residual = squares
    cells = seeds * triples
    return (of_seeds + np.maximum(of_triples - residual, 0.0)) / cells, of_seeds / cells


def _degrees(variance: Any, seeds: Any, n: int) -> Any:
    """Return the degrees of freedom of a variance that is partly from n seeds (Hillis 2007)."""
    return variance**2 * (n - 1) / seeds**2


def _expected(squares: Squares, seeds: int, n: int) -> Squares:
    """Return the mean squares to expect with another number of seeds."""
    of_seeds, of_triples, residual = squares
    between = max(of_triples - residual, 0.0) / seeds
    return of_seeds, residual + n * between, residual
