"""The Euclidean norm: by hand, without NaN gradients, in chunks, and with exact ties."""

from __future__ import annotations

import pytest
import torch

from harness.kernels import (
    Pairs,
    VectorComparison,
    comparisons,
    count_competitors,
    score_all,
    score_pairs,
)


@pytest.mark.parametrize("scaled", [False, True])
def test_it_is_minus_the_euclidean_norm_of_the_difference(scaled: bool) -> None:
    query, table = torch.randn(5, 6), torch.randn(9, 6)
    scale = torch.randn(5, 6) if scaled else None
    comparison = VectorComparison("l2", query, table, scale)
    scores = score_all(comparison)
    for i in range(5):
        rows = table if scale is None else table * scale[i]
        assert torch.allclose(scores[i], -(query[i] - rows).square().sum(1).sqrt(), atol=1e-6)
    pairs = Pairs.from_sizes(torch.tensor([2, 0, 1, 0, 4]), torch.tensor([4, 4, 0, 8, 1, 2, 3]))
    listed = score_pairs(comparison, pairs)
    query_ids = torch.tensor([0, 0, 2, 4, 4, 4, 4])
    assert torch.allclose(listed, scores[query_ids, pairs.indices], atol=1e-6)


def test_its_gradient_at_equal_vectors_is_zero() -> None:
    query = torch.randn(3, 4, requires_grad=True)
    scores = score_all(VectorComparison("l2", query, query.detach()))
    scores.diagonal().sum().backward()
    assert not query.grad.any()


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "CHUNK_BYTES", 7 * 6 * 4)
    query, table = torch.randn(5, 6, requires_grad=True), torch.randn(9, 6, requires_grad=True)
    pairs = Pairs.from_matrix(torch.arange(9).expand(5, 9))
    outer = torch.randn(45)
    found = []
    for score in (score_pairs.version("chunked"), score_pairs.reference):
        scores = score(VectorComparison("l2", query, table), pairs)
        found.append([scores, *torch.autograd.grad(scores, (query, table), outer)])
    for mine, theirs in zip(*found, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("width", [2, 7, 130, 512])
def test_equal_rows_tie_wherever_they_stand(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    rows = torch.randn(5, width, generator=generator)
    owner = torch.randint(5, (301,), generator=generator)
    query = torch.randn(40, width, generator=generator)
    targets = torch.randint(301, (40,), generator=generator)
    copies = torch.bincount(owner, minlength=5)[owner[targets]] - 1
    one = VectorComparison("l2", query, rows[owner])
    two = [one._replace(weight=0.5), one._replace(query=query + 1, weight=2.0)]
    for terms in ([one], two):
        _, tied = count_competitors(terms, Pairs.one_each(targets), Pairs.none(40))
        assert torch.equal(tied, copies)
