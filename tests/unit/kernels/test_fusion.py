"""Candidates fused for the query: the compiled loops, the chunks and the definition agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.kernels import (
    HIDDEN,
    FusedTable,
    Op,
    Pairs,
    VectorComparison,
    compare,
    comparisons,
    count_competitors,
    count_in_scores,
    score_all,
    score_pairs,
)
from harness.kernels.backends import Backend

Q, N, M, W = 7, 11, 3, 6
OPS: tuple[Op, ...] = ("dot", "l1", "modulus", "l2")
BACKENDS: tuple[Backend, ...] = ("reference", "numba", "chunked")


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, FusedTable]:
    generator = torch.Generator().manual_seed(3)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=dtype)

    logits = normal(N, M)
    logits[::2, 1] = HIDDEN
    logits[3, :2] = HIDDEN
    temperature = normal(Q).exp()
    return normal(Q, W).requires_grad_(), FusedTable(
        normal(N, M * W).requires_grad_(), logits.requires_grad_(), temperature.requires_grad_()
    )


def listed_pairs() -> Pairs:
    """Return pairs: one query has none, one has a row twice."""
    generator = torch.Generator().manual_seed(4)
    candidates = torch.randint(N, (22,), generator=generator)
    candidates[1] = candidates[0]
    return Pairs.from_sizes(torch.tensor([4, 0, 5, 3, 3, 5, 2]), candidates)


def plain(op: Op, query: Tensor, table: FusedTable, pairs: Pairs) -> Tensor:
    """Return the scores by the formula, pair by pair."""
    scores = []
    for i, c in zip(pairs.query_ids.tolist(), pairs.indices.tolist(), strict=True):
        present = table.logits[c] > HIDDEN / 2
        weights = (table.temperature[i] * table.logits[c][present]).softmax(0)
        row = (weights[:, None] * table.embeddings[c].view(M, W)[present]).sum(0)
        scores.append(compare(op, query[i], row))
    return torch.stack(scores)


@pytest.fixture(autouse=True)
def _five_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "CHUNK_BYTES", 5 * M * W * 8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", OPS)
def test_listed_pairs_and_their_gradients_follow_the_formula(op: Op, backend: Backend) -> None:
    query, table = inputs()
    pairs = listed_pairs()
    expected = plain(op, query, table, pairs)
    scores = score_pairs.version(backend)(VectorComparison(op, query, table), pairs)
    assert torch.allclose(scores, expected, atol=1e-12)
    outer = torch.randn(len(scores), generator=torch.Generator().manual_seed(5)).double()
    ours = torch.autograd.grad(scores, (query, *table), outer)
    theirs = torch.autograd.grad(expected, (query, *table), outer)
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, its, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", OPS)
def test_all_pairs_are_scored_as_the_listed_ones(op: Op, backend: Backend) -> None:
    query, table = inputs(torch.float32)
    comparison = VectorComparison(op, query, table, weight=0.5)
    pairs = Pairs.from_matrix(torch.arange(N).expand(Q, N))
    with torch.no_grad():
        listed = score_pairs.version(backend)(comparison, pairs).view(Q, N)
        assert torch.allclose(score_all.version(backend)(comparison), listed, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_competitors_are_counted_as_in_the_scores_of_all_pairs(backend: Backend) -> None:
    """Some queries in a row share a temperature, and a plain term is added."""
    query, table = inputs()
    temperature = torch.tensor([2.0, 2.0, 1.0, 2.0, 3.0, 3.0, 1.0]).double()
    fused = VectorComparison("l1", query, table._replace(temperature=temperature))
    terms = [fused, VectorComparison("dot", query, torch.randn(N, W).double(), weight=2.0)]
    targets, known = Pairs.one_each(torch.arange(Q)), listed_pairs()
    with torch.no_grad():
        scores = score_all(terms[0]) + score_all(terms[1])
        counted = count_competitors.version(backend)(terms, targets, known)
        assert all(map(torch.equal, counted, count_in_scores(scores, targets, known)))


def test_queries_of_one_temperature_share_a_table() -> None:
    query, table = inputs()
    temperature = torch.tensor([2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 1.0]).double()
    comparison = VectorComparison("l1", query, table._replace(temperature=temperature))
    groups = [queries.tolist() for _, queries in comparison.by_temperature()]
    assert groups == [[1, 3, 6], [0, 2, 4], [5]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t._replace(embeddings=t.embeddings[:, :-1]), "are not 3 of query's width 6"),
        (lambda t: t._replace(temperature=t.temperature[:-1]), "one per query"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    change: Callable[[FusedTable], FusedTable], says: str
) -> None:
    query, table = inputs()
    with pytest.raises(ValueError, match=says):
        score_pairs(VectorComparison("dot", query, change(table)), listed_pairs())


def test_rows_outside_the_table_are_refused() -> None:
    query, table = inputs()
    pairs = listed_pairs()
    pairs.indices[5] = N
    with pytest.raises(IndexError, match="row 11 is not in a table of 11 rows"):
        score_pairs(VectorComparison("dot", query, table), pairs)
