"""Pairs: the rows listed for each query, as one value."""

from __future__ import annotations

from itertools import pairwise

import torch

from harness.index import Pairs

PAIRS = Pairs.from_sizes(torch.tensor([2, 0, 3]), torch.tensor([7, 4, 4, 0, 9]))


def rows_by_query(pairs: Pairs) -> list[list[int]]:
    bounds = pairs.indptr.tolist()
    return [pairs.indices[a:b].tolist() for a, b in pairwise(bounds)]


def test_each_query_has_as_many_rows_as_its_size_says() -> None:
    assert rows_by_query(PAIRS) == [[7, 4], [], [4, 0, 9]]
    assert PAIRS.n_queries == 3
    assert PAIRS.sizes.tolist() == [2, 0, 3]


def test_every_pair_knows_its_query() -> None:
    assert PAIRS.query_ids.tolist() == [0, 0, 2, 2, 2]


def test_a_matrix_lists_its_rows() -> None:
    assert rows_by_query(Pairs.from_matrix(torch.tensor([[1, 2], [3, 1]]))) == [[1, 2], [3, 1]]
    assert rows_by_query(Pairs.one_each(torch.tensor([5, 3]))) == [[5], [3]]


def test_queries_may_have_no_rows_at_all() -> None:
    assert rows_by_query(Pairs.none(2)) == [[], []]
    assert rows_by_query(Pairs.none(0)) == []
    assert Pairs.none(2).query_ids.dtype == torch.long


def test_cut_pairs_count_queries_from_zero() -> None:
    first, middle, last = PAIRS.split([0, 1, 1, 3])
    assert rows_by_query(first) == [[7, 4]]
    assert rows_by_query(middle) == []
    assert rows_by_query(last) == [[], [4, 0, 9]]
    assert last.indptr.tolist() == [0, 0, 3]
    assert rows_by_query(PAIRS.split([2, 3])[0]) == [[4, 0, 9]]
