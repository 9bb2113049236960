"""Holm's correction equals that of statsmodels."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.holm import holm


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_are_those_of_statsmodels(p: list[float]) -> None:
    with mock.patch("gc.collect"):  # most of the time of multipletests
        expected = multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(expected, rel=0, abs=0)


def test_a_family_of_none_has_no_p_values() -> None:
    assert holm([]) == []
