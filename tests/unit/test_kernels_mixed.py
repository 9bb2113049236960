"""Candidates mixed for the query: the compiled loops, the chunks and the plain definition agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.kernels import mixed, reference
from harness.kernels.mixed import HIDDEN, Mixture

Q, N, M, W = 7, 11, 3, 6
OPS = ("dot", "l1", "modulus", "l2")


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Mixture]:
    generator = torch.Generator().manual_seed(3)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=dtype)

    logits = normal(N, M)
    logits[::2, 1] = HIDDEN
    logits[3, :2] = HIDDEN
    temperature = normal(Q).exp()
    return normal(Q, W).requires_grad_(), Mixture(
        normal(N, M * W).requires_grad_(), logits.requires_grad_(), temperature.requires_grad_()
    )


def pairs() -> tuple[Tensor, Tensor]:
    """Return a CSR with a query of no pairs, and a row in several pairs of one query."""
    offsets = torch.tensor([0, 4, 4, 9, 12, 15, 20, 22])
    generator = torch.Generator().manual_seed(4)
    candidates = torch.randint(N, (22,), generator=generator)
    candidates[1] = candidates[0]
    return offsets, candidates


def plain(op: str, query: Tensor, mixture: Mixture, owner: Tensor, rows: Tensor) -> Tensor:
    """Return the scores by the formula, pair by pair."""
    scores = []
    for i, c in zip(owner.tolist(), rows.tolist(), strict=True):
        here = mixture.logits[c] > HIDDEN / 2
        weights = (mixture.temperature[i] * mixture.logits[c][here]).softmax(0)
        row = (weights[:, None] * mixture.parts[c].view(M, W)[here]).sum(0)
        scores.append(reference.compare(op, query[i], row))
    return torch.stack(scores)


def flat(query: Tensor, mixture: Mixture) -> tuple[Tensor, ...]:
    return query, *mixture


@pytest.fixture(params=["auto", "reference"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HARNESS_KERNELS", request.param)
    monkeypatch.setattr(mixed, "BUDGET", 5 * M * W * 8)  # five pairs at once
    return str(request.param)


@pytest.mark.parametrize("op", OPS)
def test_listed_pairs_and_their_gradients_follow_the_formula(kernels: str, op: str) -> None:
    query, mixture = inputs()
    offsets, candidates = pairs()
    owner = torch.repeat_interleave(offsets.diff())
    expected = plain(op, query, mixture, owner, candidates)
    found = mixed.gathered(op, query, mixture, offsets, candidates)
    assert torch.allclose(found, expected, atol=1e-12)
    outer = torch.randn(len(found), generator=torch.Generator().manual_seed(5), dtype=found.dtype)
    ours = torch.autograd.grad(found, flat(query, mixture), outer)
    theirs = torch.autograd.grad(expected, flat(query, mixture), outer)
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, its, atol=1e-10)


@pytest.mark.parametrize("op", OPS)
def test_all_pairs_are_scored_as_the_listed_ones(kernels: str, op: str) -> None:
    query, mixture = inputs(torch.float32)
    offsets = torch.arange(0, Q * N + 1, N)
    listed = mixed.gathered(op, query, mixture, offsets, torch.arange(N).repeat(Q))
    with torch.no_grad():
        assert torch.allclose(mixed.pairwise(op, query, mixture), listed.view(Q, N), atol=1e-5)


def test_queries_of_one_temperature_share_a_table() -> None:
    _, mixture = inputs()
    shared = mixture._replace(
        temperature=torch.tensor([2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 1.0]).double()
    )
    groups = [mine.tolist() for _, mine in mixed.same_temperature(shared)]
    assert groups == [[1, 3, 6], [0, 2, 4], [5]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m._replace(parts=m.parts[:, :-1]), "are not 3 of query's width 6"),
        (lambda m: m._replace(temperature=m.temperature[:-1]), "one per query"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    change: Callable[[Mixture], Mixture], says: str
) -> None:
    query, mixture = inputs()
    with pytest.raises(ValueError, match=says):
        mixed.gathered("dot", query, change(mixture), *pairs())


def test_rows_outside_the_table_are_refused() -> None:
    query, mixture = inputs()
    offsets, candidates = pairs()
    candidates[5] = N
    with pytest.raises(IndexError, match="row 11 is not in a table of 11 rows"):
        mixed.gathered("dot", query, mixture, offsets, candidates)
