"""The Euclidean norm: by hand, without NaN gradients, in chunks, and with exact ties."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import kernels
from harness.kernels import cuda, reference


@pytest.mark.parametrize("scaled", [False, True])
def test_it_is_minus_the_euclidean_norm_of_the_difference(scaled: bool) -> None:
    query, table = torch.randn(5, 6), torch.randn(9, 6)
    scale = torch.randn(5, 6) if scaled else None
    scores = kernels.pairwise("l2", query, table, scale)
    for i in range(5):
        rows = table if scale is None else table * scale[i]
        assert torch.allclose(scores[i], -(query[i] - rows).square().sum(1).sqrt(), atol=1e-6)
    offsets, listed = torch.tensor([0, 2, 2, 3, 3, 7]), torch.tensor([4, 4, 0, 8, 1, 2, 3])
    owner = torch.tensor([0, 0, 2, 4, 4, 4, 4])
    found = kernels.gathered("l2", query, table, offsets, listed, scale)
    assert torch.allclose(found, scores[owner, listed], atol=1e-6)


def test_its_gradient_at_equal_vectors_is_zero() -> None:
    query = torch.randn(3, 4, requires_grad=True)
    scores = kernels.pairwise("l2", query, query.detach())
    scores.diagonal().sum().backward()
    assert not query.grad.any()


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "BUDGET", 7 * 6 * 4)
    query, table = torch.randn(5, 6, requires_grad=True), torch.randn(9, 6, requires_grad=True)
    offsets, listed = torch.arange(0, 46, 9), torch.arange(9).repeat(5)
    outer = torch.randn(45)
    found = []
    for module in (cuda, reference):
        scores = module.gathered("l2", query, table, offsets, listed)
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
    offsets, none = torch.zeros(41, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    _, tied = kernels.count("l2", query, rows[owner], targets, offsets, none)
    assert torch.equal(tied, torch.bincount(owner, minlength=5)[owner[targets]] - 1)
    terms: list[Any] = [
        ("l2", query, rows[owner], None, 0.5),
        ("l2", query + 1, rows[owner], None, 2.0),
    ]
    _, tied = kernels.count_terms(terms, targets, offsets, none)
    assert torch.equal(tied, torch.bincount(owner, minlength=5)[owner[targets]] - 1)
