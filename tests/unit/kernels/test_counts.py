"""Counting competitors without a score matrix gives what counting in one gives."""

from __future__ import annotations

import pytest
import torch

from harness.errors import NonFiniteError
from harness.kernels import (
    Op,
    Pairs,
    VectorComparison,
    comparisons,
    count_competitors,
    count_in_scores,
    counts,
)
from harness.kernels.backends import Backend

OPS: tuple[Op, ...] = ("dot", "l1", "modulus")
FAST: tuple[Backend, ...] = ("numba", "chunked")
BACKENDS: tuple[Backend, ...] = ("reference", *FAST)
BY_PRODUCTS = (("dot", "reference"), ("dot", "chunked"))
"""Computed by matrix products, which can round equal rows differently."""


def count(
    backend: Backend,
    comparison: VectorComparison,
    targets: list[int],
    known: list[int] | None = None,
) -> tuple[list[int], list[int]]:
    """Count for one target per query; ``known`` are the rows to leave out, one per query."""
    left_out = Pairs.none(len(targets)) if known is None else one_each(known)
    better, tied = count_competitors.version(backend)([comparison], one_each(targets), left_out)
    return better.tolist(), tied.tolist()


def one_each(rows: list[int]) -> Pairs:
    return Pairs.one_each(torch.tensor(rows, dtype=torch.long))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_small_example_by_hand(backend):
    # Scores of the one query: 3, 1, 3, 2, 3, 0. Row 2 is the answer; row 0 is known.
    table = torch.tensor([[3.0], [1.0], [3.0], [2.0], [3.0], [0.0]])
    terms = [VectorComparison("dot", torch.tensor([[1.0]]), table)]

    def counted(target: int, known: list[int]) -> tuple[float, float]:
        left_out = Pairs.from_matrix(torch.tensor([known], dtype=torch.long))
        better, tied = count_competitors.version(backend)(terms, one_each([target]), left_out)
        return better.item(), tied.item()

    assert counted(2, []) == (0, 2)
    assert counted(2, [0]) == (0, 1)
    assert counted(2, [0, 2, 0]) == (0, 1), "the target may be listed, rows may be listed twice"
    assert counted(3, []) == (3, 0)
    assert counted(3, [4, 0]) == (1, 0)
    assert counted(5, [1, 2]) == (3, 0)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("op", "backend"),
    [(op, backend) for op in OPS for backend in BACKENDS if (op, backend) not in BY_PRODUCTS],
)
@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("width", [2, 8, 130, 512])
def test_equal_rows_tie_wherever_they_stand(width, queries, op, backend, scaled):
    generator = torch.Generator().manual_seed(width)
    rows = torch.randn(5, width, generator=generator)
    owner = torch.randint(5, (301,), generator=generator)
    query = torch.randn(queries, width, generator=generator)
    scale = torch.randn(queries, width, generator=generator) if scaled else None
    targets = torch.randint(301, (queries,), generator=generator)
    _, tied = count(backend, VectorComparison(op, query, rows[owner], scale), targets.tolist())
    copies = torch.bincount(owner, minlength=5)[owner[targets]] - 1
    assert tied == copies.tolist()


@pytest.mark.parametrize("op", OPS)
def test_several_terms_tie_exactly_too(op):
    generator = torch.Generator().manual_seed(3)
    owner = torch.randint(4, (150,), generator=generator)
    tables = [torch.randn(4, width, generator=generator)[owner] for width in (6, 34)]
    queries = [torch.randn(9, width, generator=generator) for width in (6, 34)]
    terms = [
        VectorComparison(op, queries[0], tables[0], weight=0.3),
        VectorComparison("l1", queries[1], tables[1], weight=1.7),
    ]
    targets = torch.arange(9)
    better, tied = count_competitors(terms, Pairs.one_each(targets), Pairs.none(9))
    assert torch.equal(tied, torch.bincount(owner, minlength=4)[owner[targets]] - 1)
    assert int((better + tied).max()) < 150


@pytest.mark.parametrize("backend", FAST)
def test_terms_are_weighted_and_chunks_do_not_change_the_result(backend, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    draw = lambda *shape: torch.randint(-3, 4, shape, generator=generator).double()  # noqa: E731
    terms = [
        VectorComparison("dot", draw(11, 4), draw(30, 4), None, 2.0),
        VectorComparison("l1", draw(11, 6), draw(30, 6), draw(11, 6), 0.5),
    ]
    targets = Pairs.one_each(torch.randint(30, (11,), generator=generator))
    known = Pairs.from_matrix(torch.randint(30, (11, 2), generator=generator))
    expected = count_competitors.reference(terms, targets, known)
    monkeypatch.setattr(counts, "BLOCK_BYTES", 3 * 30 * 4)
    monkeypatch.setattr(comparisons, "CHUNK_BYTES", 3 * 30 * 4)
    better, tied = count_competitors.version(backend)(terms, targets, known)
    assert torch.equal(better, expected[0])
    assert torch.equal(tied, expected[1])


def test_a_single_term_with_another_weight_is_not_taken_for_a_plain_one():
    query, table = torch.ones(1, 2), torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    better, _ = count("numba", VectorComparison("dot", query, table, weight=-1.0), [1])
    assert better == [1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("bad", ["target", "candidate", "known answer", "query"])
def test_a_score_that_is_no_number_is_an_error(bad, op, backend):
    query, table = torch.randn(3, 4), torch.randn(40, 4)
    row = {"target": 7, "candidate": 33, "known answer": 12}.get(bad)
    if row is None:
        query[1, 2] = torch.nan
    else:
        table[row, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="scores are NaN"):
        count(backend, VectorComparison(op, query, table), [7, 8, 9], [12] * 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("row", [7, 33, 12])
def test_a_score_that_nothing_can_beat_is_an_error(row, backend):
    """Of the target (7), of a candidate or of a known answer (12)."""
    table = torch.ones(40, 4)
    table[row] = torch.inf
    with pytest.raises(NonFiniteError, match="1 scores are NaN or infinite"):
        count(backend, VectorComparison("dot", torch.ones(1, 4), table), [7], [12])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_of_minus_infinity_is_counted(backend):
    table = torch.ones(5, 4)
    table[[1, 3]] = -torch.inf
    comparison = VectorComparison("dot", torch.ones(3, 4), table)
    assert count(backend, comparison, [0, 1, 3]) == ([0, 3, 3], [2, 1, 1])


def test_a_score_matrix_with_large_scores_is_counted():
    """Their sum is infinite, none of them is."""
    scores = torch.full((1, 9), 3e38)
    better, tied = count_in_scores(scores, one_each([1]), Pairs.none(1))
    assert (better.item(), tied.item()) == (0, 8)


def test_a_score_matrix_with_nan_is_an_error():
    scores = torch.tensor([[1.0, torch.nan]])
    with pytest.raises(NonFiniteError, match="1 scores are NaN"):
        count_in_scores(scores, one_each([0]), Pairs.none(1))


def test_no_queries_give_no_counts():
    comparison = VectorComparison("l1", torch.zeros(0, 4), torch.randn(5, 4))
    for backend in BACKENDS:
        assert count(backend, comparison, []) == ([], [])


def test_counts_do_not_depend_on_the_number_of_threads():
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(64, 32, generator=generator)
    table = torch.randn(1000, 32, generator=generator)
    comparison = VectorComparison("modulus", query, table)
    targets = torch.randint(1000, (64,), generator=generator).tolist()
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(count("numba", comparison, targets))
    finally:
        torch.set_num_threads(before)
    assert results[1:] == results[:1] * 2


def test_a_target_outside_the_table_is_refused():
    with pytest.raises(IndexError, match="row 5 is not in a table of 5 rows"):
        count("numba", VectorComparison("l1", torch.ones(1, 2), torch.ones(5, 2)), [5])
