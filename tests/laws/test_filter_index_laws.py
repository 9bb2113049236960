"""Known answers and filtered negatives agree with brute force on any graph."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.index import FilterIndex
from harness.kernels import draw_free

N, R = 7, 3
VERSIONS = draw_free.versions.values()
triples = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)),
    min_size=0,
    max_size=40,
).map(lambda rows: torch.tensor(rows, dtype=torch.long).reshape(-1, 3))


def answers(rows: Tensor, anchor: int, relation: int, side: str) -> set[int]:
    known = set()
    for h, r, t in rows.tolist():
        if r == relation and (h if side == "tail" else t) == anchor:
            known.add(t if side == "tail" else h)
    return known


def every_query() -> tuple[Tensor, Tensor]:
    anchors = torch.arange(N).repeat_interleave(R)
    return anchors, torch.arange(R).repeat(N)


@given(triples)
@settings(deadline=None)
def test_lookup_returns_exactly_the_known_answers(rows: Tensor) -> None:
    known = FilterIndex(rows, N, R)
    anchors, relations = every_query()
    for side in ("head", "tail"):
        offsets, ids = known.lookup(anchors, relations, side)
        for i, (a, r) in enumerate(zip(anchors.tolist(), relations.tolist(), strict=True)):
            found = ids[offsets[i] : offsets[i + 1]].tolist()
            assert found == sorted(answers(rows, a, r, side))


@given(triples)
@settings(deadline=None)
def test_contains_agrees_with_lookup(rows: Tensor) -> None:
    known = FilterIndex(rows, N, R)
    anchors, relations = every_query()
    for side in ("head", "tail"):
        grid = known.contains(anchors[:, None], relations[:, None], torch.arange(N), side)
        for i, (a, r) in enumerate(zip(anchors.tolist(), relations.tolist(), strict=True)):
            assert set(grid[i].nonzero()[:, 0].tolist()) == answers(rows, a, r, side)


@given(triples)
@settings(deadline=None)
def test_draws_reach_every_unknown_entity_equally_often(rows: Tensor) -> None:
    known = FilterIndex(rows, N, R)
    anchors, relations = every_query()
    for side in ("head", "tail"):
        for a, r in zip(anchors.tolist(), relations.tolist(), strict=True):
            free = sorted(set(range(N)) - answers(rows, a, r, side))
            if not free:
                continue
            uniform = (torch.arange(len(free), dtype=torch.float64) + 0.5) / len(free)
            triple = torch.tensor([[a, r, 0] if side == "tail" else [0, r, a]])
            replaces_tail = torch.full((1, len(free)), side == "tail")
            for version in VERSIONS:
                drawn = version(known.free(triple), replaces_tail, uniform[None])
                assert drawn[0].tolist() == free


def test_query_that_everything_answers_still_yields_an_entity() -> None:
    rows = torch.tensor([[0, 0, t] for t in range(N)])
    free = FilterIndex(rows, N, R).free(rows[:1])
    for version in VERSIONS:
        drawn = version(free, torch.ones(1, 9, dtype=torch.bool), torch.rand(1, 9).double())
        assert ((drawn >= 0) & (drawn < N)).all()


@given(triples, st.integers(0, 2**32))
@settings(deadline=None)
def test_compiled_draws_are_those_of_the_definition(rows: Tensor, seed: int) -> None:
    free = FilterIndex(rows, N, R).free(rows)
    random = torch.Generator().manual_seed(seed)
    size = (len(rows), 40)
    uniform = torch.rand(size, generator=random, dtype=torch.float64)
    sides = torch.rand(size, generator=random) < 0.5
    compiled, definition = draw_free.version("numba"), draw_free.reference
    assert torch.equal(compiled(free, sides, uniform), definition(free, sides, uniform))
