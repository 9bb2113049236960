"""Anchors and candidates of one table: the gradient is that of plain indexing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.kernels import Pairs, VectorComparison, score_pairs
from harness.kernels.rows import anchors_apart

N, WIDTH, QUERIES = 9, 8, 6


@pytest.fixture
def table() -> Tensor:
    return torch.randn(
        N, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()


def loss(anchors: Tensor, table: Tensor) -> Tensor:
    pairs = Pairs.from_matrix(torch.arange(2 * QUERIES).view(QUERIES, 2) % 4)  # no rows 4..
    scores = score_pairs(VectorComparison("modulus", anchors * 1.5, table), pairs)
    return scores.sigmoid().sum()


def test_gradient_is_that_of_indexing(table: Tensor) -> None:
    ids = torch.tensor([0, 0, 3, 5, 5, 8])  # repeated, candidates and others
    loss(table[ids], table).backward()  # type: ignore[no-untyped-call]
    expected, table.grad = table.grad, None
    loss(*anchors_apart(table, ids)).backward()  # type: ignore[no-untyped-call]
    assert expected is not None
    torch.testing.assert_close(table.grad, expected)


def test_table_that_is_never_compared_has_a_gradient_too(table: Tensor) -> None:
    anchors, _ = anchors_apart(table, torch.tensor([1, 1, 7]))
    anchors.sum().backward()  # type: ignore[no-untyped-call]
    expected = torch.zeros_like(table)
    expected[1], expected[7] = 2, 1
    assert table.grad is not None
    assert torch.equal(table.grad, expected)


def test_table_that_is_never_asked_keeps_its_gradient(table: Tensor) -> None:
    _, compared = anchors_apart(table, torch.tensor([1, 7]))
    comparison = VectorComparison("dot", torch.ones(1, WIDTH).double(), compared)
    scores = score_pairs(comparison, Pairs.from_matrix(torch.arange(N)[None]))
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    assert torch.equal(table.grad, torch.ones_like(table))
