"""Known answers: what scipy and statsmodels say of the same numbers, and small cases by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import TTestPower

from harness.analysis import significance
from harness.analysis.significance import (
    DifferenceTest,
    effect,
    half_of_triples,
    over_both,
    over_seeds,
    over_triples,
    permuted_seeds,
    seeds_to_settle,
    triples_suffice,
    verdict,
)
from harness.holm import holm

Array = NDArray[np.float64]


def differences(
    seeds: int, triples: int, mean: float = 0.0, between: float = 0.3, number: int = 0
) -> Array:
    """Return differences that vary between seeds, between triples, and in both."""
    rng = np.random.default_rng(number)
    of_seeds = rng.normal(0, between, (seeds, 1))
    of_triples = rng.normal(0, 0.5, (1, triples))
    return mean + of_seeds + of_triples + rng.normal(0, 1.0, (seeds, triples))


def numbers(test: DifferenceTest) -> list[float]:
    return [float(x) for x in (test.difference, test.low, test.high, test.p)]


def test_over_seeds_is_the_paired_t_test_of_the_seeds_means() -> None:
    first, second = differences(4, 30, number=1), differences(4, 30, number=2)
    expected = stats.ttest_rel(first.mean(1), second.mean(1))
    interval = expected.confidence_interval(0.95)
    assert numbers(over_seeds(first - second)) == pytest.approx(
        [(first - second).mean(), interval.low, interval.high, expected.pvalue]
    )


def mean_squares(d: Array) -> pd.Series:
    """Return what statsmodels' two-way analysis of variance says of differences."""
    cells = [(s, t, d[s, t]) for s in range(len(d)) for t in range(d.shape[1])]
    frame = pd.DataFrame(cells, columns=["seed", "triple", "value"])
    squares = anova_lm(ols("value ~ C(seed) + C(triple)", frame).fit())
    return squares["sum_sq"] / squares["df"]


def test_over_both_has_the_mean_squares_of_statsmodels_two_way_anova() -> None:
    d = differences(3, 12, mean=0.4)
    squares = mean_squares(d)
    variance = squares["C(seed)"] + max(squares["C(triple)"] - squares["Residual"], 0)
    degrees = min(variance**2 * 2 / squares["C(seed)"] ** 2, 11)
    error = np.sqrt(variance / 36)
    half = stats.t.ppf(0.975, degrees) * error
    assert numbers(over_both(d)) == pytest.approx(
        [
            d.mean(),
            d.mean() - half,
            d.mean() + half,
            2 * stats.t.sf(abs(d.mean()) / error, degrees),
        ]
    )


def test_with_seeds_that_agree_over_both_is_the_t_test_of_the_triples() -> None:
    triples = np.random.default_rng(3).normal(0.2, 1, 40)
    expected = stats.ttest_1samp(triples, 0)
    interval = expected.confidence_interval(0.95)
    wanted = [triples.mean(), interval.low, interval.high, expected.pvalue]
    d = np.tile(triples, (3, 1))
    assert numbers(over_both(d)) == pytest.approx(wanted)
    assert numbers(verdict(d)) == pytest.approx(wanted)


def test_the_verdict_is_the_less_certain_of_two_tests() -> None:
    for number, between in enumerate((0.0, 0.1, 1.0)):
        d = differences(3, 50, 0.5, between, number)
        tests = over_seeds(d), over_both(d)
        found = verdict(d)
        assert found.p == max(test.p for test in tests)
        assert found.low == min(test.low for test in tests)
        assert found.high == max(test.high for test in tests)


def test_leading_axes_are_comparisons_of_their_own() -> None:
    one, two = differences(3, 20, number=1), differences(3, 20, 1.0, number=2)
    for function in (over_seeds, over_both, verdict):
        together = function(np.stack([one, two]))
        for i, d in enumerate((one, two)):
            alone = function(d)
            assert [together.p[i], together.low[i]] == pytest.approx([alone.p, alone.low])


def test_the_permutation_test_over_triples_agrees_with_all_swaps() -> None:
    triples = np.array([0.5, -0.1, 0.4, 0.3, 0.2, -0.3, 0.6, 0.1, 0.25, 0.35])
    exact = stats.permutation_test(
        (triples,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    found = over_triples(np.stack([triples - 0.1, triples + 0.1]))
    assert found.p == pytest.approx(exact.pvalue, abs=0.01)  # 9999 of them at random
    assert found.difference == pytest.approx(triples.mean())


def test_the_interval_over_triples_is_the_bootstrap_of_scipy() -> None:
    d = np.random.default_rng(5).exponential(1.0, (1, 60)) - 0.8
    expected = stats.bootstrap(
        (d[0],), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    found = over_triples(d)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.02)


def test_swapping_three_seeds_never_gives_less_than_a_quarter() -> None:
    assert permuted_seeds(np.full((3, 5), 0.5) + np.arange(3)[:, None] / 10) == 0.25
    assert permuted_seeds(np.full((6, 5), 0.5) + np.arange(6)[:, None] / 10) == 2 / 64


def test_no_difference_at_all() -> None:
    nothing = np.zeros((3, 8))
    for test in (over_seeds(nothing), over_both(nothing), verdict(nothing), over_triples(nothing)):
        assert numbers(test) == [0.0, 0.0, 0.0, 1.0]
    assert effect(nothing).dz == 0.0
    assert seeds_to_settle(nothing) is None
    assert not triples_suffice(nothing)


def test_a_difference_without_any_variation_is_certain() -> None:
    for test in (over_seeds(np.ones((2, 4))), over_both(np.ones((2, 4))), verdict(np.ones((2, 4)))):
        assert numbers(test) == [1.0, 1.0, 1.0, 0.0]


def test_effect_by_hand() -> None:
    # triples' means 1, -1, 2, 0: mean 0.5, deviations 0.5, -1.5, 1.5, -0.5, sd sqrt(5 / 3)
    found = effect(np.array([[1.0, -1.0, 3.0, 1.0], [1.0, -1.0, 1.0, -1.0]]))
    assert found.dz == pytest.approx(0.5 / (5 / 3) ** 0.5)
    assert (found.better, found.worse) == (0.5, 0.25)


def test_holm_by_hand() -> None:
    # smallest first: 3 x 0.01, 2 x 0.03, 1 x 0.04 but not below the one before
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_a_larger_difference_needs_fewer_seeds() -> None:
    needed = [seeds_to_settle(differences(3, 400, mean, 0.2)) for mean in (0.4, 0.6, 1.2)]
    assert None not in needed
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[-1] >= 2


def test_a_stricter_level_needs_more_seeds() -> None:
    d = differences(3, 400, 0.5, 0.2)
    assert seeds_to_settle(d, alpha=0.001) > seeds_to_settle(d, alpha=0.05)


def test_no_number_of_seeds_makes_up_for_too_few_triples() -> None:
    triples = np.random.default_rng(1).normal(0.1, 1.0, (1, 20))
    d = triples + np.random.default_rng(2).normal(0, 0.01, (3, 20))
    assert verdict(d).p > 0.05
    assert seeds_to_settle(d) is None
    assert not triples_suffice(d)


def test_seeds_that_vary_beyond_measure_are_not_for_lack_of_triples() -> None:
    d = differences(3, 400, 0.5, between=0.0) + np.array([30.0, -30.0, 0.0])[:, None]
    assert seeds_to_settle(d) is None
    assert triples_suffice(d)


def test_half_of_triples_is_what_many_seeds_leave_of_the_interval() -> None:
    d = differences(400, 100)
    found = over_both(d)
    assert half_of_triples(d) == pytest.approx((found.high - found.low) / 2, rel=0.1)
    d = differences(3, 12, number=4)
    squares = mean_squares(d)
    assert squares["C(triple)"] > squares["Residual"]
    error = np.sqrt((squares["C(triple)"] - squares["Residual"]) / 36)
    assert half_of_triples(d) == pytest.approx(stats.t.ppf(0.975, 11) * error)
    triples = np.random.default_rng(3).normal(0.2, 1, 40)
    alone = stats.ttest_1samp(triples, 0).confidence_interval(0.95)
    assert half_of_triples(np.tile(triples, (3, 1))) == pytest.approx((alone.high - alone.low) / 2)
    assert half_of_triples(np.ones((2, 4))) == 0.0


def test_the_seeds_that_settle_a_difference_are_the_power_analysis_of_the_t_test() -> None:
    # Where triples do not vary it is that of the seeds alone, which statsmodels solves for n.
    seeds = np.array([0.1, 0.5, 0.2, 0.9])
    needed = seeds_to_settle(np.tile(seeds[:, None], 30))
    size = seeds.mean() / seeds.std(ddof=1)
    expected = TTestPower().solve_power(size, alpha=0.05, power=significance.POWER)
    assert needed == np.ceil(expected)


def test_the_seeds_that_settle_a_difference_do_so_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    between, triples, mean = 0.1, 200, 0.2

    def draw(seeds: int, times: int) -> Array:
        of_seeds = rng.normal(0, between, (times, seeds, 1))
        of_triples = rng.normal(0, 0.5, (times, 1, triples))
        return mean + of_seeds + of_triples + rng.normal(0, 1.0, (times, seeds, triples))

    # The estimate from many seeds and triples, where mean squares are what they are expected to be.
    needed = seeds_to_settle(draw(400, 1)[0])
    with_one_less, with_them = (
        float((verdict(draw(n, 2000)).p <= 0.05).mean()) for n in (needed - 1, needed)
    )
    assert with_one_less < significance.POWER + 0.03
    assert with_them > significance.POWER - 0.05
