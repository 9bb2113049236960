"""What a budget of trials is expected to find."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evaluation.expected import expected_best, running_best

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_it_is_the_mean_over_all_draws_with_replacement() -> None:
    values = [0.3, 0.1, 0.4, 0.1]
    for n, found in enumerate(expected_best(values), 1):
        draws = [max(draw) for draw in product(values, repeat=n)]
        assert found == pytest.approx(sum(draws) / len(draws))


@given(VALUES)
def test_it_begins_with_the_mean_never_falls_and_stays_below_the_best(values: list[float]) -> None:
    curve = expected_best(values)
    assert len(curve) == len(values)
    assert curve[0] == pytest.approx(sum(values) / len(values))
    assert all(b >= a - 1e-12 for a, b in pairwise(curve))
    assert curve[-1] <= max(values) + 1e-12


@given(VALUES)
def test_the_order_of_the_trials_does_not_matter(values: list[float]) -> None:
    assert expected_best(values) == pytest.approx(expected_best(values[::-1]))


def test_no_trial_expects_nothing() -> None:
    assert expected_best([]) == []
    assert running_best([]) == []


def test_the_running_best_follows_the_order() -> None:
    assert running_best([0.1, 0.3, 0.2]) == [0.1, 0.3, 0.3]
