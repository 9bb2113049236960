"""Laws of counting, on integer weights: there scores are exact, so ties are plenty and certain."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.kernels import Op, Pairs, VectorComparison, count_competitors
from harness.kernels.counts import Counts

Problem = tuple[VectorComparison, Pairs, Pairs]
"""A comparison, its targets, one per query, and the rows to leave out."""


def count(comparison: VectorComparison, targets: Pairs, known: Pairs) -> Counts:
    return count_competitors.version("numba")([comparison], targets, known)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    queries, rows = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    width = 2 * draw(st.integers(1, 9))
    ops: list[Op] = ["dot", "l1", "modulus"]
    op = draw(st.sampled_from(ops))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))

    def integers(n: int) -> Tensor:
        values = torch.randint(-2, 3, (n, width), generator=generator).to(dtype)
        if op == "modulus":
            values[:, width // 2 :] = 0  # a modulus of whole numbers is whole on the real axis
        return values

    sizes = torch.randint(0, 6, (queries,), generator=generator)
    comparison = VectorComparison(op, integers(queries), integers(rows))
    targets = torch.randint(rows, (queries,), generator=generator)
    known = torch.randint(rows, (int(sizes.sum()),), generator=generator)
    if draw(st.booleans()):
        comparison = comparison._replace(scale=integers(queries))
    return comparison, Pairs.one_each(targets), Pairs.from_sizes(sizes, known)


def left_out(targets: Pairs, known: Pairs, query: int) -> set[int]:
    low, high = known.indptr[query : query + 2].tolist()
    return {*known.indices[low:high].tolist(), int(targets.indices[query])}


def score(comparison: VectorComparison, query: int, row: int) -> float:
    """The score by its definition, in Python numbers."""
    q, t = comparison.query[query].tolist(), comparison.table[row].tolist()
    if comparison.scale is not None:
        t = [s * x for s, x in zip(comparison.scale[query].tolist(), t, strict=True)]
    if comparison.op == "dot":
        return sum(a * b for a, b in zip(q, t, strict=True))
    if comparison.op == "l1":
        return -sum(abs(a - b) for a, b in zip(q, t, strict=True))
    half = len(q) // 2
    return -sum(abs(complex(q[k] - t[k], q[k + half] - t[k + half])) for k in range(half))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_counts_are_those_of_brute_force(problem):
    comparison, targets, known = problem
    better, tied = count(*problem)
    for i, target in enumerate(targets.indices.tolist()):
        goal = score(comparison, i, target)
        others = [
            score(comparison, i, row)
            for row in range(comparison.n_rows)
            if row not in left_out(targets, known, i)
        ]
        assert better[i] == sum(s > goal for s in others)
        assert tied[i] == sum(s == goal for s in others)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_better_tied_and_worse_make_up_all_competitors(problem):
    comparison, targets, known = problem
    better, tied = count(*problem)
    negated = comparison._replace(query=-comparison.query, table=-comparison.table)
    if comparison.op == "dot":
        # Negating the query alone turns the order round: worse becomes better.
        worse, tied_again = count(comparison._replace(query=-comparison.query), targets, known)
        competitors = [
            comparison.n_rows - len(left_out(targets, known, i))
            for i in range(len(comparison.query))
        ]
        assert torch.equal(better + tied + worse, torch.tensor(competitors))
        assert torch.equal(tied, tied_again)
    else:
        # A distance does not change when everything is mirrored.
        assert all(map(torch.equal, count(negated, targets, known), (better, tied)))


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_the_order_of_candidates_does_not_matter(problem, seed):
    comparison, targets, known = problem
    order = torch.randperm(comparison.n_rows, generator=torch.Generator().manual_seed(seed))
    new_ids = torch.argsort(order)
    moved = (
        comparison._replace(table=comparison.table[order]),
        targets._replace(indices=new_ids[targets.indices]),
        known._replace(indices=new_ids[known.indices]),
    )
    assert all(map(torch.equal, count(*moved), count(*problem)))


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 4))
def test_a_sum_of_terms_with_positive_weights_counts_like_the_term(problem, weight):
    comparison, targets, known = problem
    terms = [comparison._replace(weight=float(weight)), comparison]
    counted = count_competitors.version("numba")(terms, targets, known)
    assert all(map(torch.equal, counted, count(*problem)))


@settings(max_examples=40, deadline=None)
@given(problems(), st.data())
def test_a_query_with_several_targets_counts_as_if_it_was_asked_for_each(problem, data):
    comparison, _, known = problem
    sizes = torch.tensor([data.draw(st.integers(0, 3)) for _ in comparison.query])
    rows = st.integers(0, comparison.n_rows - 1)
    targets = Pairs.from_sizes(
        sizes, torch.tensor([data.draw(rows) for _ in range(int(sizes.sum()))], dtype=torch.long)
    )
    query_ids = targets.query_ids
    listed = [known.indices[:0], *(known.split([i, i + 1])[0].indices for i in query_ids.tolist())]
    repeated = comparison._replace(
        query=comparison.query[query_ids],
        scale=None if comparison.scale is None else comparison.scale[query_ids],
    )
    known_of_each = Pairs.from_sizes(known.sizes[query_ids], torch.cat(listed))
    targets_of_each = Pairs.one_each(targets.indices)
    for version in count_competitors.versions.values():
        counted = version([comparison], targets, known)
        expected = version([repeated], targets_of_each, known_of_each)
        assert all(map(torch.equal, counted, expected))
