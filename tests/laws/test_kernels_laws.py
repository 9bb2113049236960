"""Laws of counting, on integer weights: there scores are exact, so ties are plenty and certain."""

from __future__ import annotations

from typing import NamedTuple

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.kernels import cpu, cuda, reference


class Problem(NamedTuple):
    op: str
    query: Tensor
    table: Tensor
    targets: Tensor
    offsets: Tensor
    known: Tensor
    scale: Tensor | None


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    queries, rows = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    width = 2 * draw(st.integers(1, 9))
    op = draw(st.sampled_from(["dot", "l1", "modulus"]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))

    def integers(n: int) -> Tensor:
        values = torch.randint(-2, 3, (n, width), generator=generator).to(dtype)
        if op == "modulus":
            values[:, width // 2 :] = 0  # a modulus of whole numbers is whole on the real axis
        return values

    sizes = torch.randint(0, 6, (queries,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
    return Problem(
        op,
        integers(queries),
        integers(rows),
        torch.randint(rows, (queries,), generator=generator),
        offsets,
        torch.randint(rows, (int(offsets[-1]),), generator=generator),
        integers(queries) if draw(st.booleans()) else None,
    )


def left_out(problem: Problem, query: int) -> set[int]:
    low, high = problem.offsets[query : query + 2].tolist()
    return {*problem.known[low:high].tolist(), int(problem.targets[query])}


def score(problem: Problem, query: int, row: int) -> float:
    """The score by its definition, in Python numbers."""
    q, t = problem.query[query].tolist(), problem.table[row].tolist()
    if problem.scale is not None:
        t = [s * x for s, x in zip(problem.scale[query].tolist(), t, strict=True)]
    if problem.op == "dot":
        return sum(a * b for a, b in zip(q, t, strict=True))
    if problem.op == "l1":
        return -sum(abs(a - b) for a, b in zip(q, t, strict=True))
    half = len(q) // 2
    return -sum(abs(complex(q[k] - t[k], q[k + half] - t[k + half])) for k in range(half))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_counts_are_those_of_brute_force(problem):
    better, tied = cpu.count(*problem)
    for i, target in enumerate(problem.targets.tolist()):
        goal = score(problem, i, target)
        others = [
            score(problem, i, row)
            for row in range(len(problem.table))
            if row not in left_out(problem, i)
        ]
        assert better[i] == sum(s > goal for s in others)
        assert tied[i] == sum(s == goal for s in others)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_better_tied_and_worse_make_up_all_competitors(problem):
    better, tied = cpu.count(*problem)
    negated = problem._replace(query=-problem.query, table=-problem.table)
    if problem.op == "dot":
        # Negating the query alone turns the order round: worse becomes better.
        worse, tied_again = cpu.count(*problem._replace(query=-problem.query))
        competitors = [
            len(problem.table) - len(left_out(problem, i)) for i in range(len(problem.query))
        ]
        assert torch.equal(better + tied + worse, torch.tensor(competitors))
        assert torch.equal(tied, tied_again)
    else:
        # A distance does not change when everything is mirrored.
        assert all(map(torch.equal, cpu.count(*negated), (better, tied)))


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**31))
def test_the_order_of_candidates_does_not_matter(problem, seed):
    order = torch.randperm(len(problem.table), generator=torch.Generator().manual_seed(seed))
    place = torch.argsort(order)
    moved = problem._replace(
        table=problem.table[order], targets=place[problem.targets], known=place[problem.known]
    )
    for mine, theirs in zip(cpu.count(*moved), cpu.count(*problem), strict=True):
        assert torch.equal(mine, theirs)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 4))
def test_a_sum_of_terms_with_positive_weights_counts_like_the_term(problem, weight):
    op, query, table, targets, offsets, known, scale = problem
    terms = [(op, query, table, scale, float(weight)), (op, query, table, scale, 1.0)]
    for mine, theirs in zip(
        cpu.count_terms(terms, targets, offsets, known), cpu.count(*problem), strict=True
    ):
        assert torch.equal(mine, theirs)


@settings(max_examples=40, deadline=None)
@given(problems(), st.data())
def test_a_query_with_several_targets_counts_as_if_it_was_asked_for_each(problem, data):
    queries, rows = len(problem.query), len(problem.table)
    owners = sorted(data.draw(st.lists(st.integers(0, queries - 1), max_size=12)))
    goals = data.draw(
        st.lists(st.integers(0, rows - 1), min_size=len(owners), max_size=len(owners))
    )
    owner, targets = torch.tensor(owners).long(), torch.tensor(goals).long()
    together = problem._replace(targets=targets)
    low, high = problem.offsets[owner], problem.offsets[owner + 1]
    known = [problem.known[a:b] for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    apart = problem._replace(
        query=problem.query[owner],
        targets=targets,
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), (high - low).cumsum(0)]),
        known=torch.cat([problem.known[:0], *known]),
        scale=None if problem.scale is None else problem.scale[owner],
    )
    for implementation in (reference, cpu, cuda):
        counted = implementation.count(*together, owner)
        assert all(map(torch.equal, counted, implementation.count(*apart)))
