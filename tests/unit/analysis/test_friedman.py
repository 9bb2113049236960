"""Friedman's test and tests of pairs on known answers and laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.friedman import compare_ranks, critical_difference, minimum_datasets

# AUC of C4.5 with four settings on fourteen datasets: Demsar 2006, table 6.
C45 = """
.763 .599 .954 .628 .882 .936 .661 .583 .775 1.00 .940 .619 .972  .957
.768 .591 .971 .661 .888 .931 .668 .583 .838 1.00 .962 .666 .981  .978
.771 .590 .968 .654 .886 .916 .609 .563 .866 1.00 .965 .614 .9751 .946
.798 .569 .967 .657 .898 .931 .685 .625 .875 1.00 .962 .669 .975  .970
"""
DEMSAR = np.array([[float(x) for x in line.split()] for line in C45.strip().splitlines()]).T


def test_the_example_of_demsar() -> None:
    compared = compare_ranks(DEMSAR, "nemenyi")
    assert compared.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=1e-3)
    n, k = DEMSAR.shape
    squares = sum(rank**2 for rank in compared.mean_ranks)
    chi = 12 * n / (k * (k + 1)) * (squares - k * (k + 1) ** 2 / 4)
    assert chi == pytest.approx(9.28, abs=0.01)
    assert (n - 1) * chi / (n * (k - 1) - chi) == pytest.approx(3.69, abs=0.01)
    assert compared.statistic > 3.69  # the correction for ties, which the paper leaves out
    assert compared.p < 0.05
    assert compared.difference == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_values_are_those_of_the_table(methods: int, q: float) -> None:
    n = 12
    expected = q * (methods * (methods + 1) / (6 * n)) ** 0.5
    assert critical_difference(methods, n) == pytest.approx(expected, abs=1e-3)


def test_friedman_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).normal(size=(9, 5)).round(1)  # with ties
    chi = stats.friedmanchisquare(*values.T).statistic
    n, k = values.shape
    expected = (n - 1) * chi / (n * (k - 1) - chi)
    assert compare_ranks(values, "nemenyi").statistic == pytest.approx(expected)


def test_methods_that_are_alike_form_one_group() -> None:
    compared = compare_ranks(np.ones((6, 4)), "nemenyi")
    assert (compared.p, compared.groups) == (1.0, ((0, 1, 2, 3),))
    noise = np.random.default_rng(0).normal(size=(20, 4))
    assert compare_ranks(noise, "wilcoxon").groups[0] == tuple(
        np.argsort(compare_ranks(noise, "wilcoxon").mean_ranks, kind="stable").tolist()
    )


@pytest.mark.parametrize("test", ["nemenyi", "wilcoxon"])
@pytest.mark.parametrize("methods", [3, 4, 7])
def test_the_needed_datasets_suffice_and_one_fewer_does_not(test: str, methods: int) -> None:
    least = minimum_datasets(methods, test)  # type: ignore[arg-type]

    def best_case(datasets: int) -> np.ndarray:
        """One method ahead of all others, one behind, on every dataset."""
        values = np.tile(np.arange(methods, dtype=float), (datasets, 1))
        rng = np.random.default_rng(0)
        return values + rng.uniform(0, 0.1, values.shape)

    compared = compare_ranks(best_case(least), test)  # type: ignore[arg-type]
    assert not any({0, methods - 1} <= set(group) for group in compared.groups)
    if least > 5:
        compared = compare_ranks(best_case(least - 1), test)  # type: ignore[arg-type]
        assert any({0, methods - 1} <= set(group) for group in compared.groups)


def test_wilcoxon_does_not_depend_on_the_other_methods() -> None:
    rng = np.random.default_rng(3)
    pair = rng.normal([0.0, 1.5], size=(30, 2))
    pool = np.hstack([pair, rng.normal(size=(30, 1)) - 4])
    groups = compare_ranks(pool, "wilcoxon").groups
    assert not any({0, 1} <= set(group) for group in groups)
