"""Laws of ranks and metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.evaluation.metrics import RANK_METRICS, amri, compute
from harness.evaluation.ranks import rank_of
from harness.store.records import MetricValue

outcomes = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60
)
RANGES = {
    "mrr": (0, 1),
    "mr": (1, np.inf),
    "hits@1": (0, 1),
    "hits@3": (0, 1),
    "hits@10": (0, 1),
    "amri": (-1, 1),
}
HIGHER_IS_BETTER = {"mrr", "hits@1", "hits@3", "hits@10", "amri"}


def arrays(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    better, tied, worse = np.array(rows).T
    return better, tied, better + tied + worse + 1


@given(outcomes)
def test_realistic_rank_lies_midway_between_best_and_worst(rows: list) -> None:
    better, tied, _ = arrays(rows)
    best, mean, worst = (
        rank_of(better, tied, t) for t in ("optimistic", "realistic", "pessimistic")
    )
    assert (best <= mean).all()
    assert (mean <= worst).all()
    np.testing.assert_allclose(mean, (best + worst) / 2)


@given(outcomes)
def test_every_metric_lies_in_its_range(rows: list) -> None:
    better, tied, candidates = arrays(rows)
    check_ranges(rank_of(better, tied, "realistic"), candidates)


@given(st.lists(st.integers(2, 1_000_000), min_size=1, max_size=60))
@example([2, 3, 9])
def test_every_metric_of_the_worst_ranks_lies_in_its_range(candidates: list[int]) -> None:
    check_ranges(np.array(candidates, float), np.array(candidates))


def check_ranges(ranks: np.ndarray, candidates: np.ndarray) -> None:
    values = compute(ranks, candidates.astype(float))
    assert set(values) == set(RANK_METRICS) == set(RANGES)
    for name, value in values.items():
        low, high = RANGES[name]
        assert low <= value <= high, name
        MetricValue(split="test", side="both", metric=name, value=value, queries=len(ranks))


@given(outcomes, st.integers(0, 59))
def test_improving_one_rank_never_makes_a_metric_worse(rows: list, which: int) -> None:
    better, tied, candidates = arrays(rows)
    ranks = rank_of(better, tied, "realistic")
    improved = ranks.copy()
    improved[which % len(ranks)] = 1.0
    before, after = compute(ranks, candidates.astype(float)), compute(improved, candidates)
    for name in RANK_METRICS:
        sign = 1 if name in HIGHER_IS_BETTER else -1
        assert sign * (after[name] - before[name]) >= -1e-12, name


@given(outcomes, st.randoms())
def test_order_of_queries_does_not_matter(rows: list, random: object) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = arrays(rows), arrays(shuffled)
    first = compute(rank_of(a[0], a[1], "realistic"), a[2].astype(float))
    second = compute(rank_of(b[0], b[1], "realistic"), b[2].astype(float))
    assert first == pytest.approx(second)


def test_constant_model_has_the_expected_rank_and_an_amri_of_zero() -> None:
    candidates = np.array([11.0, 101.0])
    ranks = rank_of(np.zeros(2), candidates - 1, "realistic")
    assert ranks.tolist() == [6.0, 51.0]
    assert amri(ranks, candidates).mean() == pytest.approx(0.0)


def test_known_values() -> None:
    values = compute(np.array([1.0, 2.0, 4.0, 20.0]), np.full(4, 100.0))
    assert values["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 20) / 4)
    assert values["mr"] == pytest.approx(6.75)
    assert (values["hits@1"], values["hits@3"], values["hits@10"]) == (0.25, 0.5, 0.75)
    assert values["amri"] == pytest.approx(1 - (0 + 1 + 3 + 19) / (4 * 99 / 2))
