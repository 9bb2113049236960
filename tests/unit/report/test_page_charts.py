"""Geometry of the small charts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.report.page.charts import BINS, POINTS, Series, bars, lines, thin

values = st.floats(-1e6, 1e6, allow_nan=False)
curves = st.lists(values, min_size=1, max_size=400).map(
    lambda ys: [(float(x), y) for x, y in enumerate(ys)]
)


@given(curves)
def test_thinned_curves_keep_their_ends_and_their_extremes(
    points: list[tuple[float, float]],
) -> None:
    kept = thin(points)
    assert len(kept) <= POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert list(kept) == sorted(set(kept))
    inner = {y for _, y in points}
    assert {min(inner), max(inner)} <= {y for _, y in kept}


@given(st.lists(curves, min_size=1, max_size=3))
@example([[(0, 0.0), (1, 5e-324)]])
def test_lines_and_ticks_stay_inside_the_axes(points: list[list[tuple[float, float]]]) -> None:
    chart = lines("y", [Series(f"seed {i}", p) for i, p in enumerate(points)])
    assert chart is not None
    for line in chart.lines:
        for pair in line.path.split():
            x, y = map(float, pair.split(","))
            assert chart.margin - 0.1 <= x <= chart.right + 0.1
            assert chart.top - 0.1 <= y <= chart.bottom + 0.1
    assert 1 <= len(chart.y) <= 6
    assert all(chart.top - 0.1 <= tick.at <= chart.bottom + 0.1 for tick in chart.y)
    assert len({tick.text for tick in chart.y}) == len(chart.y)


def test_ticks_are_round_numbers() -> None:
    chart = lines("y", [Series("a", [(1.0, 0.21), (10.0, 0.79)])])
    assert chart is not None
    assert [tick.text for tick in chart.y] == ["0.4", "0.6"]
    assert [tick.text for tick in chart.x] == ["5", "10"]


def test_a_curve_without_points_keeps_the_colour_of_the_others() -> None:
    chart = lines("y", [Series("seed 0", []), Series("seed 1", [(1.0, 1.0)], marked=1.0)])
    assert chart is not None
    assert [(line.name, line.series) for line in chart.lines] == [("seed 1", 1)]
    assert chart.lines[0].dot is not None
    assert lines("y", [Series("seed 0", [])]) is None


def test_bars_show_shares_from_zero() -> None:
    shares = [0.5, 0.25, 0.0, 0.25] + [0.0] * (len(BINS) - 3)
    chart = bars("Share", ["heads", "tails"], [shares, shares])
    assert [tick.text for tick in chart.x] == ["1", "≤3", "≤10", "≤30"]
    heights = [bar.height for bar in chart.bars[:4]]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.1)
    assert heights[2] == 0
    assert chart.bars[0].title == "heads, rank 1: 50.0 %"
    assert chart.bars[1].title == "heads, rank over 1, up to 3: 25.0 %"
    assert all(bar.y + bar.height == pytest.approx(chart.bottom, abs=0.1) for bar in chart.bars)


def test_ranks_above_the_last_bin_have_one_of_their_own() -> None:
    chart = bars("Share", ["heads"], [[0.0] * len(BINS) + [1.0]])
    assert chart.x[-1].text == ">100k"
    assert chart.bars[-1].title == "heads, rank over 100,000: 100.0 %"
