"""The text of the comparison of kernels."""

from __future__ import annotations

import pytest

from tests.benchmarks.quality import Quality, quality_text


def test_quality_is_shown_beside_what_another_seed_changes() -> None:
    one = Quality("transe", reference=0.25, fused=0.2501, other_seed=0.26)
    assert one.difference == pytest.approx(1e-4)
    text = quality_text([one], "atlas", 20, 0)
    assert text.splitlines()[2].split() == ["transe", "25.000", "25.010", "+0.010", "+0.990"]
    assert max(map(len, text.splitlines())) <= 80
