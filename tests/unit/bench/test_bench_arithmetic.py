"""Spreads, rounds and exponents: arithmetic without a machine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.bench.exponents import fit, upper_half
from harness.bench.timing import Spread, interleaved


def test_a_spread_of_times_becomes_one_of_rates() -> None:
    times = Spread.of([4.0, 1.0, 2.0])
    assert times == Spread(1.0, 2.0, 4.0)
    assert times.rate(8.0) == Spread(2.0, 4.0, 8.0)


def test_tasks_alternate_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    steps: list[tuple[int, int, str]] = []
    seconds = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        rounds=2,
        on_progress=lambda done, total, text: steps.append((done, total, text)),
    )
    assert order == ["a", "b"] * 3
    assert list(seconds) == ["a", "b"]
    assert all(0 <= times.low <= times.median <= times.high for times in seconds.values())
    assert steps[0] == (0, 6, "a")
    assert steps[-1] == (6, 6, "")


# --- exponents ----------------------------------------------------------------------------


def test_the_upper_half_of_an_odd_number_has_the_middle_one() -> None:
    assert upper_half([5, 1, 2, 4, 3]) == [3, 4, 5]
    assert upper_half([4, 1, 2, 3]) == [3, 4]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_planted_exponent_is_found(exponent: float) -> None:
    found = fit({size: [3e-3 * size**exponent] * 2 for size in (1, 2, 4, 8, 16)})
    assert found.value == pytest.approx(exponent)
    assert found.low == pytest.approx(exponent)
    assert found.high == pytest.approx(exponent)


def test_small_sizes_do_not_count() -> None:
    times = {1.0: [7.0], 2: [7.0], 4: [4.0, 4.0], 8: [8.0, 8.0], 16: [16.0, 16.0]}
    assert fit(times).value == pytest.approx(1.0)


def test_the_interval_holds_the_planted_exponent_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        times = {
            size: list(size**1.3 * np.exp(generator.normal(0, 0.1, 4)))
            for size in (4.0, 8.0, 16.0, 32.0)
        }
        found = fit(times, confidence=0.9)
        held += found.low <= 1.3 <= found.high
    # 4 standard deviations of a binomial around 360.
    assert abs(held - 360) < 4 * math.sqrt(400 * 0.9 * 0.1)


@pytest.mark.parametrize("times", [{1: [1.0], 2: [2.0]}, {1: [1.0], 2: [1.0], 4: [1.0] * 9}])
def test_too_few_points_are_refused(times: dict[float, list[float]]) -> None:
    if len(times) == 3:
        times.pop(1)
        times.pop(2)
    with pytest.raises(ValueError, match="too few"):
        fit(times)
