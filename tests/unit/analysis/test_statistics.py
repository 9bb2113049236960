from __future__ import annotations

import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.statistics import (
    Change,
    SeedSummary,
    half_width,
    paired_change,
    summarise,
    unpaired_change,
)


def test_mean_and_sample_standard_deviation() -> None:
    # 2, 4, 9: mean 5, squared deviations 9 + 1 + 16 = 26, over n - 1 = 2: 13
    summary = summarise([2.0, 4.0, 9.0])
    assert summary.mean == 5.0
    assert summary.sd == pytest.approx(13**0.5)
    assert summary.n == 3


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_summary_is_that_of_the_standard_library(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.mean == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    assert summary.sd == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)


def test_equal_values_have_no_deviation() -> None:
    assert summarise([0.1, 0.1, 0.1]) == SeedSummary(0.1, 0.0, 3)


def test_one_seed_has_no_standard_deviation() -> None:
    assert summarise([3.0]) == SeedSummary(3.0, None, 1)


def test_change_is_taken_seed_by_seed() -> None:
    # seed 2 has no counterpart and is left out; the differences are 1 and 3, their sd sqrt(2)
    change = paired_change({0: 5.0, 1: 7.0, 2: 100.0}, {0: 4.0, 1: 4.0})
    assert change is not None
    assert (change.mean, change.n) == (2.0, 2)
    assert change.sd == pytest.approx(2**0.5)


def test_interval_of_a_mean() -> None:
    # t tables: 12.706 for one degree of freedom, 4.3027 for two
    assert half_width(1.0, 2) == pytest.approx(12.706 / 2**0.5, abs=1e-3)
    assert half_width(2.0, 3) == pytest.approx(4.3027 * 2 / 3**0.5, abs=1e-3)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 10, 31, 100])
def test_the_interval_is_that_of_scipy(n: int) -> None:
    expected = stats.t.ppf(0.975, n - 1) / n**0.5
    assert half_width(1.0, n) == pytest.approx(expected, rel=1e-9)


def test_a_change_that_all_seeds_share_has_no_width() -> None:
    assert half_width(0.0, 3) == 0.0


def test_no_common_seed_no_change() -> None:
    assert paired_change({0: 5.0}, {1: 4.0}) is None


SEEDS = st.lists(st.floats(0, 100).map(lambda x: round(x, 3)), min_size=2, max_size=6)


# scipy warns as soon as one of the two has no spread; its interval is right all the same.
@pytest.mark.filterwarnings("ignore:Precision loss occurred:RuntimeWarning")
@given(SEEDS, SEEDS)
@example([0.0, 1.0], [1.0, 1.0])
def test_the_interval_of_seeds_that_are_not_paired_is_welch_s(
    values: list[float], baseline: list[float]
) -> None:
    change = unpaired_change(values, baseline)
    assert change.mean == pytest.approx(
        statistics.fmean(values) - statistics.fmean(baseline), abs=1e-9
    )
    assert change.half is not None
    assert not change.paired
    if statistics.stdev(values) < 1e-4 and statistics.stdev(baseline) < 1e-4:
        return  # scipy has no interval
    found = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval(0.95)
    assert change.half == pytest.approx((found.high - found.low) / 2, rel=1e-6, abs=1e-9)


def test_the_order_of_seeds_that_are_not_paired_is_of_no_matter() -> None:
    values, baseline = [30.0, 31.0, 33.5], [20.0, 22.5, 21.0]
    shuffled = unpaired_change(values, baseline[::-1])
    assert shuffled.half == pytest.approx(unpaired_change(values, baseline).half)


def test_one_seed_alone_has_a_change_without_an_interval() -> None:
    assert unpaired_change([5.0], [4.0, 4.5, 5.0]) == Change(0.5, None, paired=False)


def test_results_without_any_spread_differ_exactly() -> None:
    assert unpaired_change([5.0, 5.0], [4.0, 4.0, 4.0]) == Change(1.0, 0.0, paired=False)
