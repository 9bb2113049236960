"""Losses of queries against all rows: their values and gradients, whatever the size of blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.kernels import Pairs, against_all
from harness.kernels.against_all import binary_loss, softmax_loss

N, D = 41, 8


@pytest.fixture(autouse=True, params=[1, 7, 1000], ids="{} queries at once".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against_all, "SCORES_AT_ONCE", request.param * N)


def vectors(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def answers_of(queries: int) -> tuple[Pairs, Tensor]:
    """Return answers as pairs and as [q, N]: none, one, two, three, none, ..."""
    counts = torch.arange(queries) % 4
    listed = [torch.randperm(N)[:k].sort().values for k in counts.tolist()]
    hot = torch.zeros(queries, N)
    for row, found in enumerate(listed):
        hot[row, found] = 1.0
    return Pairs.from_sizes(counts, torch.cat(listed)), hot


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(2.0 * loss, of)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_one_against_all_is_torchs_cross_entropy(smoothing: float) -> None:
    query, table, targets = vectors(19, 0), vectors(N, 1), torch.arange(19) * 2
    ours = softmax_loss(query, table, targets, smoothing=smoothing)
    theirs = F.cross_entropy(query @ table.T, targets, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_without_smoothing_the_softmax_loss_is_to_the_bit_what_it_is_by_default() -> None:
    def made(**smoothing: float) -> tuple[Tensor, ...]:
        query, table = vectors(19, 0), vectors(N, 1)
        loss = softmax_loss(query, table, torch.arange(19), **smoothing)
        return loss, *gradients(loss, query, table)

    assert all(map(torch.equal, made(), made(smoothing=0.0)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_k_against_all_is_torchs_binary_cross_entropy(smoothing: float) -> None:
    query, table = vectors(19, 0), vectors(N, 1)
    answers, hot = answers_of(19)
    target = (1 - smoothing) * hot + (1 / N if smoothing else 0.0)
    ours = binary_loss(query, table, answers, smoothing=smoothing, offset=0.7)
    theirs = F.binary_cross_entropy_with_logits(query @ table.T + 0.7, target)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_no_gradient_is_made_that_nobody_wants() -> None:
    query, table = vectors(5, 0), vectors(N, 1).detach()
    softmax_loss(query, table, torch.arange(5)).backward()
    assert query.grad is not None
    assert not softmax_loss(query.detach(), table, torch.arange(5)).requires_grad


def test_a_score_that_is_not_finite_makes_a_loss_that_is_not() -> None:
    query, table = vectors(5, 0).detach().fill_(torch.nan), vectors(N, 1)
    assert softmax_loss(query, table, torch.arange(5)).isnan()
