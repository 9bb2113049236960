"""Weighted sums of parts that all entities have: to the bit what torch's own operations give."""

from __future__ import annotations

import torch

from models._fusion import SparseRows, weighted_sum

N, WIDTH = 60, 7


def test_sums_and_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    weights = torch.rand(N, 3, requires_grad=True)
    values = [torch.randn(N, WIDTH, requires_grad=True) for _ in range(3)]
    by_torch = weights[:, :1] * values[0]
    for p in (1, 2):
        by_torch = torch.addcmul(by_torch, weights[:, p, None], values[p])
    ours = weighted_sum([SparseRows(value, None) for value in values], weights)
    assert torch.equal(ours, by_torch)
    gradient = torch.randn(N, WIDTH)
    found, expected = (
        torch.autograd.grad(total, [weights, *values], gradient) for total in (ours, by_torch)
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_part_of_all_entities_equals_the_same_part_with_its_rows() -> None:
    torch.manual_seed(0)
    weights, value = torch.rand(N, 2), torch.randn(N, WIDTH)
    whole = weighted_sum([SparseRows(value, None), SparseRows(value, None)], weights)
    listed = weighted_sum([SparseRows(value, None), SparseRows(value, torch.arange(N))], weights)
    torch.testing.assert_close(whole, listed)
