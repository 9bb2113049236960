"""Scores of several views: combined, and counted alike by all kernels."""

from __future__ import annotations

import math

import pytest
import torch

from harness import kernels
from harness.bench.memory import allocated_peak
from harness.kernels import Pairs, VectorComparison, count_competitors, counts
from harness.kernels.backends import Backend

A, B = torch.tensor([0.5, -3.0, 2.0]), torch.tensor([-1.0, 4.0, 2.0])


def test_without_views_parts_are_added() -> None:
    assert torch.equal(kernels.combined_score([A, B], None), A + B)


def test_the_mean_of_logits() -> None:
    assert torch.equal(kernels.combined_score([A, B], "logits"), (A + B) / 2)


def test_the_log_odds_of_the_mean_probability() -> None:
    mean = (A.sigmoid() + B.sigmoid()) / 2
    torch.testing.assert_close(kernels.combined_score([A, B], "probabilities"), mean.logit())


def test_one_view_is_its_logit() -> None:
    assert torch.equal(kernels.combined_score([A], "probabilities"), A)


@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_probabilities_are_no_ties(sign: int) -> None:
    views = [sign * torch.tensor([40.0, 41.0, 90.0]), sign * torch.tensor([40.0, 40.0, 300.0])]
    if sign == 1:
        assert len(torch.stack(views).sigmoid().mean(0).unique()) == 1
    scores = kernels.combined_score(views, "probabilities")
    assert (sign * scores).diff().gt(0).all()
    # Two equal views: the odds of their mean are theirs.
    assert float(scores[0]) == pytest.approx(sign * 40.0, rel=1e-6)


def test_gradients_are_finite_where_all_views_are_sure() -> None:
    views = [torch.tensor([500.0, -500.0], requires_grad=True) for _ in range(2)]
    kernels.combined_score(views, "probabilities").sum().backward()
    assert all(view.grad is not None and view.grad.isfinite().all() for view in views)


@pytest.mark.parametrize("views", ["logits", "probabilities"])
def test_every_kernel_counts_the_combined_score(views: kernels.Views) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = [torch.randn(6, 4, generator=generator) for _ in range(2)]
    tables = [torch.randn(9, 4, generator=generator) for _ in range(2)]
    terms = [
        VectorComparison("dot", q, t, weight=w)
        for q, t, w in zip(queries, tables, (1.0, 2.0), strict=True)
    ]
    targets = torch.arange(6)
    logits = torch.stack([w * q @ t.T for _, q, t, _, w in terms])
    score = logits.mean(0) if views == "logits" else logits.sigmoid().mean(0)
    expected = (score > score.gather(1, targets[:, None])).sum(1)
    backends: tuple[Backend, ...] = ("reference", "numba", "chunked")
    for backend in backends:
        better, tied = count_competitors.version(backend)(
            terms, Pairs.one_each(targets), Pairs.none(6), views
        )
        assert torch.equal(better, expected), backend
        assert not tied.any()
    assert math.isfinite(float(score.sum()))


@pytest.mark.parametrize("views", [None, "logits", "probabilities"])
def test_more_terms_need_no_more_memory(
    views: kernels.Views | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "BLOCK_BYTES", 2**20)
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(2000, 8, generator=generator) for _ in range(12)]
    terms = [VectorComparison("dot", table[:500], table) for table in tables]
    targets, known = Pairs.one_each(torch.arange(500)), Pairs.none(500)

    def peak(count: int) -> int:
        def work() -> None:
            count_competitors.version("numba")(terms[:count], targets, known, views)

        return allocated_peak(work, torch.device("cpu"))

    peak(2)  # compiles
    assert peak(12) < 1.3 * peak(2)
