"""Operations of a fused step, by hand; the text says what was measured."""

from __future__ import annotations

import pytest

from harness.bench.timing import Spread
from tests.benchmarks.fusion import Case, FusedStep, Sizes, fused_text, measure, operations

TINY = Sizes(entities=10, features=(3,), dim=1, experts=2, positives=4, negatives=5)


def test_operations_by_hand() -> None:
    # N = 10, D = 2, M = 2 (structure and one modality), K = 2.
    projections = 2 * 10 * (3 * 2 + 2 * 2)
    experts = 2 * 10 * 2 * 2 * 2 * 2
    sums = 2 * 10 * 2 * 3 * 2
    scores = 14 * 4 * 6 * 1
    heads = 2 * 10 * 6 * (2 * 128 + 128 * 16)
    joints = 2 * 10 * 16 * 16 * 3
    forward = projections + experts + sums + scores + heads + joints
    assert operations(TINY, "linear_shift") == 3 * forward
    assert operations(TINY, "mlp") == 3 * (forward + experts)


def test_ratio_is_time_over_the_time_of_the_operations() -> None:
    one = FusedStep(Case("mlp", "fp32"), Spread(1, 2, 3), 100.0, Spread(90, 100, 110))
    assert one.ratio == pytest.approx(2.0)
    text = fused_text(Sizes(), [one])
    assert "4096 and 768" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_step_is_measured() -> None:
    (one,) = measure(TINY, [Case("linear_shift", "bf16")], rounds=1)
    assert one.seconds.median > 0
    assert one.rate.median > 1e9
