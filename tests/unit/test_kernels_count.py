"""Counting competitors without a score matrix gives what counting in one gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness import kernels
from harness.errors import NonFiniteError
from harness.kernels import cpu, cuda, reference

OPS = ("dot", "l1", "modulus")
NONE_KNOWN = torch.zeros(0, dtype=torch.long)


def no_known(queries: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(queries + 1, dtype=torch.long), NONE_KNOWN


@pytest.mark.parametrize("implementation", [reference, cpu, cuda])
def test_a_small_example_by_hand(implementation):
    # Scores of the one query: 3, 1, 3, 2, 3, 0. Row 2 is the answer; row 0 is known.
    table = torch.tensor([[3.0], [1.0], [3.0], [2.0], [3.0], [0.0]])
    query = torch.tensor([[1.0]])

    def count(target: int, known: list[int]) -> tuple[int, int]:
        offsets = torch.tensor([0, len(known)])
        better, tied = implementation.count(
            "dot", query, table, torch.tensor([target]), offsets, torch.tensor(known).long()
        )
        return better.item(), tied.item()

    assert count(2, []) == (0, 2)
    assert count(2, [0]) == (0, 1)
    assert count(2, [0, 2, 0]) == (0, 1), "the target may be listed, rows may be listed twice"
    assert count(3, []) == (3, 0)
    assert count(3, [4, 0]) == (1, 0)
    assert count(5, [1, 2]) == (3, 0)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("width", [2, 8, 130, 512])
def test_equal_rows_tie_wherever_they_stand(width, op, scaled):
    generator = torch.Generator().manual_seed(width)
    rows = torch.randn(5, width, generator=generator)
    owner = torch.randint(5, (301,), generator=generator)
    query = torch.randn(40, width, generator=generator)
    scale = torch.randn(40, width, generator=generator) if scaled else None
    targets = torch.randint(301, (40,), generator=generator)
    _, tied = cpu.count(op, query, rows[owner], targets, *no_known(40), scale)
    copies = torch.bincount(owner, minlength=5)[owner[targets]] - 1
    assert torch.equal(tied, copies)


@pytest.mark.parametrize("op", OPS)
def test_several_terms_tie_exactly_too(op):
    generator = torch.Generator().manual_seed(3)
    owner = torch.randint(4, (150,), generator=generator)
    tables = [torch.randn(4, width, generator=generator)[owner] for width in (6, 34)]
    queries = [torch.randn(9, width, generator=generator) for width in (6, 34)]
    terms = [(op, queries[0], tables[0], None, 0.3), ("l1", queries[1], tables[1], None, 1.7)]
    targets = torch.arange(9)
    better, tied = kernels.count_terms(terms, targets, *no_known(9))
    assert torch.equal(tied, torch.bincount(owner, minlength=4)[owner[targets]] - 1)
    assert int((better + tied).max()) < 150


@pytest.mark.parametrize("implementation", [cpu, cuda])
def test_terms_are_weighted_and_chunks_do_not_change_the_result(implementation, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    draw = lambda *shape: torch.randint(-3, 4, shape, generator=generator).double()  # noqa: E731
    terms = [
        ("dot", draw(11, 4), draw(30, 4), None, 2.0),
        ("l1", draw(11, 6), draw(30, 6), draw(11, 6), 0.5),
    ]
    targets = torch.randint(30, (11,), generator=generator)
    offsets = torch.arange(12) * 2
    known = torch.randint(30, (22,), generator=generator)
    expected = reference.count_terms(terms, targets, offsets, known)
    for attribute in ("BLOCK_BYTES", "BUDGET"):
        monkeypatch.setattr(implementation, attribute, 3 * 30 * 4, raising=False)
    better, tied = implementation.count_terms(terms, targets, offsets, known)
    assert torch.equal(better, expected[0])
    assert torch.equal(tied, expected[1])


def test_a_single_term_with_another_weight_is_not_taken_for_a_plain_one():
    query, table = torch.ones(1, 2), torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    better, _ = cpu.count_terms(
        [("dot", query, table, None, -1.0)], torch.tensor([1]), *no_known(1)
    )
    assert better.item() == 1


@pytest.mark.parametrize("implementation", [reference, cpu, cuda])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("bad", ["target", "candidate", "known answer", "query"])
def test_a_score_that_is_no_number_is_an_error(bad, op, implementation):
    query, table = torch.randn(3, 4), torch.randn(40, 4)
    row = {"target": 7, "candidate": 33, "known answer": 12}.get(bad)
    if row is None:
        query[1, 2] = torch.nan
    else:
        table[row, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="scores are NaN"):
        implementation.count(
            op, query, table, torch.tensor([7, 8, 9]), torch.arange(4), torch.tensor([12] * 3)
        )


@pytest.mark.parametrize("implementation", [reference, cpu, cuda])
@pytest.mark.parametrize("row", [7, 33, 12])
def test_a_score_that_nothing_can_beat_is_an_error(row, implementation):
    """Of the target (7), of a candidate or of a known answer (12)."""
    table = torch.ones(40, 4)
    table[row] = torch.inf
    with pytest.raises(NonFiniteError, match="1 scores are NaN or infinite"):
        implementation.count(
            "dot", torch.ones(1, 4), table, torch.tensor([7]), torch.arange(2), torch.tensor([12])
        )


@pytest.mark.parametrize("implementation", [reference, cpu, cuda])
def test_a_score_of_minus_infinity_is_counted(implementation):
    table = torch.ones(5, 4)
    table[[1, 3]] = -torch.inf
    query = torch.ones(3, 4)
    better, tied = implementation.count("dot", query, table, torch.tensor([0, 1, 3]), *no_known(3))
    assert (better.tolist(), tied.tolist()) == ([0, 3, 3], [2, 1, 1])


def test_a_score_matrix_with_large_scores_is_counted():
    """Their sum is infinite, none of them is."""
    scores = torch.full((1, 9), 3e38)
    better, tied = kernels.scores_to_counts(scores, torch.tensor([1]), *no_known(1))
    assert (better.item(), tied.item()) == (0, 8)


def test_a_score_matrix_with_nan_is_an_error():
    scores = torch.tensor([[1.0, torch.nan]])
    with pytest.raises(NonFiniteError, match="1 scores are NaN"):
        kernels.scores_to_counts(scores, torch.tensor([0]), *no_known(1))


def test_no_queries_give_no_counts():
    empty = torch.zeros(0, 4)
    for implementation in (reference, cpu, cuda):
        better, tied = implementation.count(
            "l1", empty, torch.randn(5, 4), NONE_KNOWN, *no_known(0)
        )
        assert better.shape == tied.shape == (0,)


def test_counts_do_not_depend_on_the_number_of_threads():
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(64, 32, generator=generator)
    table = torch.randn(1000, 32, generator=generator)
    targets = torch.randint(1000, (64,), generator=generator)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(cpu.count("modulus", query, table, targets, *no_known(64)))
    finally:
        torch.set_num_threads(before)
    for better, tied in results[1:]:
        assert torch.equal(better, results[0][0])
        assert torch.equal(tied, results[0][1])


def test_a_target_outside_the_table_is_refused():
    with pytest.raises(IndexError, match="row 5 is not in a table of 5 rows"):
        cpu.count("l1", torch.ones(1, 2), torch.ones(5, 2), torch.tensor([5]), *no_known(1))
