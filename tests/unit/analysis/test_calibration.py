"""On simulated null models the tests err as often as they say, and intervals cover what they say.

The share of errors has a binomial interval of its own; the level must lie in it. Seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.analysis import significance
from harness.analysis.significance import (
    DifferenceTest,
    over_both,
    over_seeds,
    over_triples,
    verdict,
)
from harness.holm import holm

Array = NDArray[np.float64]
Events = NDArray[np.bool_]

SURE = 0.999
"""Confidence of the intervals for the share of errors: one false alarm in a thousand."""
TRIPLES = 150
RATIOS = (0.0, 0.3, 1.0, 3.0, 10.0)
"""Standard error that seeds cause over the one that triples cause."""


def null(times: int, seeds: int, ratio: float, number: int = 0) -> Array:
    """Return differences [times, seeds, TRIPLES] of models that are equally good on average."""
    rng = np.random.default_rng(number)
    between = ratio * np.sqrt(seeds / TRIPLES)
    of_seeds = rng.normal(0, between, (times, seeds, 1))
    of_triples = rng.normal(0, 1.0, (times, 1, TRIPLES))
    return of_seeds + of_triples + rng.normal(0, 1.0, (times, seeds, TRIPLES))


def ranked(
    times: int, seeds: int, number: int = 0, *, training: float = 0.05, triples: int = TRIPLES
) -> Array:
    """Return differences of reciprocal ranks: skewed, discrete, bounded, as real ones are.

    Two models that are equally good on average: a triple is harder or easier, each model finds some
    triples easier than the other does, and training again makes a model better or worse as a whole.
    """
    rng = np.random.default_rng(number)
    difficulty = rng.normal(2.0, 1.5, (times, 1, 1, triples))
    taste = rng.normal(0, 0.7, (times, 2, 1, triples))
    quality = rng.normal(0, training, (times, 2, seeds, 1))
    luck = rng.normal(0, 0.7, (times, 2, seeds, triples))
    value = 1.0 / np.ceil(np.exp(np.maximum(difficulty + taste + quality + luck, 0.0)))
    return value[:, 0] - value[:, 1]


def queried(
    times: int,
    seeds: int,
    metric: str,
    *,
    ahead: float = 0.0,
    training: float = 0.1,
    number: int = 0,
) -> Array:
    """Return differences [times, seeds, TRIPLES] of two models' ranks, as ``harness compare`` has.

    A triple asks two questions, which are hard or easy, and to the taste of a model, together. The
    first model is ahead by so much on the scale of log ranks.
    """
    rng = np.random.default_rng(number)
    difficulty = rng.normal(2.0, 1.5, (times, 1, 1, 1, TRIPLES))
    taste = rng.normal(0, 0.7, (times, 2, 1, 1, TRIPLES))
    quality = rng.normal(0, training, (times, 2, seeds, 1, 1))
    luck = rng.normal(0, 0.7, (times, 2, seeds, 2, TRIPLES))
    better = np.array([-ahead, 0.0])[:, None, None, None]
    ranks = np.ceil(np.exp(np.maximum(difficulty + taste + quality + luck + better, 0.0)))
    values = 1.0 / ranks if metric == "mrr" else ranks <= int(metric.removeprefix("hits@"))
    first, second = np.moveaxis(values.astype(np.float64).mean(3), 1, 0)
    return np.asarray(first - second)


def share_is(events: Events, level: float) -> bool:
    """Return whether a level lies in the interval of the share of events."""
    low, high = stats.binomtest(int(events.sum()), events.size).proportion_ci(SURE)
    return bool(low <= level <= high)


def share_is_at_most(events: Events, level: float) -> bool:
    return bool(stats.binomtest(int(events.sum()), events.size).proportion_ci(SURE).low <= level)


def covers(test: DifferenceTest) -> Events:
    return np.asarray((test.low <= 0) & (test.high >= 0))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_over_seeds_errs_as_often_as_it_says(seeds: int) -> None:
    # On the triples as they are: no triple favours a model beyond chance.
    rng = np.random.default_rng(seeds)
    d = rng.normal(0, 0.1, (4000, seeds, 1)) + rng.normal(0, 1.0, (4000, seeds, 20))
    found = over_seeds(d)
    for level in (0.05, 0.01):
        assert share_is(found.p <= level, level)
    assert share_is(covers(found), 0.95)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [5, 10])
def test_over_both_errs_as_often_as_it_says_from_five_seeds_on(seeds: int, ratio: float) -> None:
    found = over_both(null(2000, seeds, ratio))
    assert share_is(found.p <= 0.05, 0.05)
    assert share_is(covers(found), 0.95)


def test_over_both_with_three_seeds_errs_more_often_than_it_says() -> None:
    # Why it is not what tables mark by.
    found = over_both(null(4000, 3, 3.0))
    assert not share_is_at_most(found.p <= 0.05, 0.05)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_verdict_never_errs_more_often_than_it_says(seeds: int, ratio: float) -> None:
    found = verdict(null(2000, seeds, ratio))
    for level in (0.05, 0.01):
        assert share_is_at_most(found.p <= level, level)
    assert share_is_at_most(~covers(found), 0.05)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_verdict_errs_no_less_often_than_it_says_from_three_seeds_on(
    seeds: int, ratio: float
) -> None:
    assert share_is(verdict(null(2000, seeds, ratio)).p <= 0.05, 0.05)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_verdict_on_reciprocal_ranks(seeds: int) -> None:
    found = verdict(ranked(2000, seeds))
    assert share_is(found.p <= 0.05, 0.05)
    assert share_is(covers(found), 0.95)


def test_either_noise_left_out_would_err_far_more_often() -> None:
    d = null(1000, 3, 1.0)
    alone = over_seeds(null(1000, 3, 0.3)).p <= 0.05
    triples = stats.ttest_1samp(d.mean(1), 0, axis=1).pvalue <= 0.05
    assert alone.mean() > 0.1
    assert triples.mean() > 0.1


def test_over_triples_errs_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the trained models: what training again would change is not in question.
    monkeypatch.setattr(significance, "RESAMPLES", 399)
    same = ranked(600, 1, training=0.0, triples=400)
    found = [over_triples(d, seed=i) for i, d in enumerate(same)]
    assert share_is(np.array([test.p for test in found]) <= 0.05, 0.05)
    assert share_is(np.array([covers(test) for test in found]), 0.95)


# --- what `harness compare` prints --------------------------------------------------------

COMPARED = ["mrr", "hits@1", "hits@3", "hits@10"]


@pytest.mark.parametrize("metric", COMPARED)
def test_of_several_seeds_p_and_interval_keep_their_level(metric: str) -> None:
    found = verdict(queried(2000, 3, metric))
    assert share_is(found.p <= 0.05, 0.05)
    assert share_is(covers(found), 0.95)


@pytest.mark.parametrize("metric", ["mrr", "hits@10"])
def test_intervals_cover_a_difference_that_is_there(metric: str) -> None:
    # And p against a least difference, as claims have it, errs as often as it says just there.
    true = queried(5000, 2, metric, ahead=0.3, number=1).mean()
    d = queried(2000, 3, metric, ahead=0.3)
    found = verdict(d)
    assert true > 0.01
    assert share_is((found.low <= true) & (true <= found.high), 0.95)
    assert share_is(verdict(d - true).p <= 0.05, 0.05)


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_trained_models_permutations_of_triples_keep_their_level(
    monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    # A triple is swapped as a whole: both its queries, with every seed.
    monkeypatch.setattr(significance, "RESAMPLES", 399)
    found = [
        over_triples(d, seed=i) for i, d in enumerate(queried(400, seeds, "mrr", training=0.0))
    ]
    assert share_is(np.array([test.p for test in found]) <= 0.05, 0.05)
    assert share_is(np.array([covers(test) for test in found]), 0.95)


def test_permutations_of_triples_say_nothing_of_training_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Why a verdict over several seeds does not go by them.
    monkeypatch.setattr(significance, "RESAMPLES", 199)
    p = np.array([over_triples(d).p for d in null(200, 3, 1.0)])
    assert not share_is_at_most(p <= 0.05, 0.05)


def test_p_is_even_where_nothing_differs() -> None:
    # Not only at one level: the distribution of p is uniform (Kolmogorov-Smirnov).
    p = verdict(queried(1000, 5, "mrr")).p
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_queries_of_a_triple_are_one_observation() -> None:
    # The two queries of a triple go together; were they taken for two observations, the test would
    # be too sure of itself. The mean over a triple's queries is what keeps it honest.
    rng = np.random.default_rng(4)
    triple = rng.normal(0, 1.0, (2000, 1, 60, 1))
    queries = triple + rng.normal(0, 0.3, (2000, 1, 60, 2))
    as_two = stats.ttest_1samp(queries.reshape(2000, 120), 0, axis=1).pvalue
    as_one = stats.ttest_1samp(queries.mean(3)[:, 0], 0, axis=1).pvalue
    assert not share_is_at_most(as_two <= 0.05, 0.05)
    assert share_is(as_one <= 0.05, 0.05)


def test_marks_of_a_table_without_any_difference_are_rare() -> None:
    # Ten hypotheses, all true: Holm keeps the share of tables with any mark at the level.
    tables = verdict(null(400 * 10, 3, 0.3)).p.reshape(400, 10)
    marked = 10 * tables.min(1) <= 0.05  # Holm finds something where Bonferroni does
    assert [min(holm(list(p))) <= 0.05 for p in tables[:8]] == marked[:8].tolist()
    assert share_is_at_most(marked, 0.05)
    assert (tables.min(1) <= 0.05).mean() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_verdict_with_many_null_models(seeds: int, ratio: float) -> None:
    parts = [verdict(null(2000, seeds, ratio, number)) for number in range(1, 11)]
    p = np.concatenate([part.p for part in parts])
    # Within a tenth of the level: both of its tests are approximations in between.
    for level in (0.05, 0.01):
        assert share_is_at_most(p <= level, 1.1 * level)
    outside = np.concatenate([~covers(part) for part in parts])
    assert share_is_at_most(outside, 1.1 * 0.05)


@pytest.mark.slow
def test_over_triples_with_as_many_resamples_as_are_used() -> None:
    same = ranked(2000, 1, number=7, training=0.0, triples=400)
    found = [over_triples(d, seed=i) for i, d in enumerate(same)]
    for level in (0.05, 0.01):
        assert share_is(np.array([test.p for test in found]) <= level, level)
    assert share_is(np.array([covers(test) for test in found]), 0.95)
