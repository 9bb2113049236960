"""Numeric literals as standardised columns."""

from __future__ import annotations

import math

import pytest
import torch

from harness.data.encoders.numeric import NumericLiterals
from harness.errors import DataError


def test_columns_are_standardised_over_those_who_have_them() -> None:
    encoded = NumericLiterals().compute([{"year": 1.0}, {"year": 3.0}, {}])
    assert encoded.matrix[:, 0].tolist() == [-1.0, 1.0, 0.0]
    assert encoded.present.tolist() == [True, True, False]


def test_a_missing_value_is_told_from_the_mean() -> None:
    rows = [{"a": 1.0, "b": 5.0}, {"a": 2.0}, {"a": 3.0, "b": 7.0}]
    matrix = NumericLiterals().compute(rows).matrix
    assert matrix.shape == (3, 3)  # a, b, who has b
    assert matrix[1, 0] == 0.0
    assert matrix[:, 2].tolist() == [1.0, 0.0, 1.0]


def test_heavy_tails_go_on_a_log_scale_and_others_do_not() -> None:
    heavy = [10.0**i for i in range(9)]
    rows = [{"heavy": h, "even": float(i), "signed": -h} for i, h in enumerate(heavy)]
    matrix = NumericLiterals().compute(rows).matrix.double()
    even, log, signed = matrix.T
    expected = torch.tensor([math.log1p(h) for h in heavy], dtype=torch.float64)
    expected = (expected - expected.mean()) / expected.std(correction=0)
    assert torch.allclose(log, expected, atol=1e-6)
    assert torch.allclose(even.diff(), even.diff()[:1].expand(8), atol=1e-6)
    assert signed[-1] < -2.5  # still the raw scale


def test_a_constant_column_is_zero() -> None:
    assert NumericLiterals().compute([{"a": 4.0}, {"a": 4.0}]).matrix.tolist() == [[0.0], [0.0]]


def test_bad_values_name_row_and_attribute() -> None:
    with pytest.raises(DataError, match="row 1: 'a' is nan"):
        NumericLiterals().compute([{"a": 1.0}, {"a": float("nan")}])
    with pytest.raises(DataError, match="no entity has any attribute"):
        NumericLiterals().compute([{}, {}])


def test_the_order_of_keys_does_not_matter() -> None:
    rows, turned = (
        [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 5.0}],
        [{"b": 2.0, "a": 1.0}, {"b": 5.0, "a": 3.0}],
    )
    first, second = NumericLiterals().table(rows), NumericLiterals().table(turned)
    assert torch.equal(first.matrix, second.matrix)
    assert first.digest == second.digest
    assert first.name == "numeric"
