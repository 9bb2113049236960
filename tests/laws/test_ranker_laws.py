"""Laws of the ranker, and models whose figures are known: none that says nothing looks good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.data.graph import KnowledgeGraph
from harness.errors import NonFiniteError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.plan.spec import Protocol
from tests.toys import toy_graph

N, R = 6, 2
INF = torch.inf
triples = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)),
    min_size=1,
    max_size=12,
)
filters = st.sets(st.sampled_from(["train", "valid", "test"])).map(sorted)


class Scored:
    """A model that is nothing but its scores.

    Args:
        score: (anchors, relations, side) -> [q, n].
    """

    decomposable = False

    def __init__(self, score: Callable[[Tensor, Tensor, str], Tensor], n_entities: int = N) -> None:
        self.score, self.n_entities = score, n_entities

    def eval(self) -> Scored:
        return self

    def encode(self) -> dict[str, Tensor]:
        return {}

    def score_all(self, tables: Any, anchors: Tensor, relations: Tensor, side: str) -> Tensor:
        return self.score(anchors, relations, side)


def table(seed: int, levels: int = 4) -> Scored:
    """Scores of few levels, so that many tie: [side, anchor, relation, candidate]."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (2, N, R, N), generator=random).float()
    return Scored(lambda a, r, side: scores[int(side == "tail"), a, r])


def graph_of(train: list, test: list, n: int = N) -> KnowledgeGraph:
    return toy_graph(train, test=test, entities=n, relations=R)


def ranked(model: Scored, graph: KnowledgeGraph, protocol: Protocol) -> Ranks:
    known = graph.filter_index(protocol.filter)
    return rank(model, graph.splits["test"], known, protocol)  # type: ignore[arg-type]


# --- laws -----------------------------------------------------------------------------------


@given(triples, triples, filters, st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_counts_are_those_of_the_definition(train: list, test: list, kept: list, seed: int) -> None:
    graph, model = graph_of(train, test), table(seed)
    found = ranked(model, graph, Protocol(filter=tuple(kept)))
    known = {tuple(row) for split in kept for row in graph.splits[split].tolist()}
    for i, (h, r, t) in enumerate(test):
        for side, anchor, true in (("tail", h, t), ("head", t, h)):
            scores = model.score(torch.tensor([anchor]), torch.tensor([r]), side)[0]
            rivals = [
                e
                for e in range(N)
                if e != true and ((h, r, e) if side == "tail" else (e, r, t)) not in known
            ]
            counts = found.sides[side]  # type: ignore[index]
            assert counts.better[i] == sum(bool(scores[e] > scores[true]) for e in rivals)
            assert counts.tied[i] == sum(bool(scores[e] == scores[true]) for e in rivals)
            assert counts.candidates[i] == len(rivals) + 1


@given(triples, triples, st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_asking_for_heads_is_asking_the_turned_graph_for_tails(
    train: list, test: list, seed: int
) -> None:
    model = table(seed)
    turned = Scored(lambda a, r, side: model.score(a, r, "head" if side == "tail" else "tail"))
    here = ranked(model, graph_of(train, test), Protocol())
    train, test = ([(t, r, h) for h, r, t in rows] for rows in (train, test))
    there = ranked(turned, graph_of(train, test), Protocol())
    for side, other in (("head", "tail"), ("tail", "head")):
        for name in ("better", "tied", "candidates"):
            a, b = here.sides[side], there.sides[other]  # type: ignore[index]
            assert np.array_equal(getattr(a, name), getattr(b, name))


@given(triples, triples, st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_filter_takes_competitors_away_and_adds_none(train: list, test: list, seed: int) -> None:
    graph, model = graph_of(train, test), table(seed)
    raw = ranked(model, graph, Protocol(filter=()))
    some = ranked(model, graph, Protocol(filter=("train",)))
    whole = ranked(model, graph, Protocol())
    for less, more in ((some, raw), (whole, some)):
        for side in ("head", "tail"):
            for name in ("better", "tied", "candidates"):
                a, b = less.sides[side], more.sides[side]  # type: ignore[index]
                assert (getattr(a, name) <= getattr(b, name)).all()
    assert (raw.sides["tail"].candidates == N).all()


@given(triples, triples, st.integers(0, 99), st.sampled_from(["order", "shift", "negate twice"]))
@settings(deadline=None, max_examples=40)
def test_only_the_order_of_scores_matters(train: list, test: list, seed: int, change: str) -> None:
    graph, model = graph_of(train, test), table(seed)
    changes = {
        "order": lambda s: s.exp(),
        "shift": lambda s: s + 100,
        "negate twice": lambda s: -(5 - s),
    }
    other = Scored(lambda a, r, side: changes[change](model.score(a, r, side)))
    a, b = (ranked(m, graph, Protocol()) for m in (model, other))
    assert np.array_equal(a.ranks("realistic")[0], b.ranks("realistic")[0])


# --- models whose figures are known ---------------------------------------------------------

MANY = 200
TEST = [(h, 0, h + 100) for h in range(60)]
TRAIN = [(h, 0, h + 101) for h in range(60)]
LARGE = graph_of(TRAIN, TEST, MANY)


def figures(model: Callable[[Tensor, Tensor, str], Tensor], **protocol: Any) -> dict[str, float]:
    rules = Protocol.model_validate(protocol)
    ranks = ranked(Scored(model, MANY), LARGE, rules)
    return {m.metric: m.value for m in measure(ranks, rules) if m.side == "both"}


def full(value: float) -> Callable[[Tensor, Tensor, str], Tensor]:
    return lambda anchors, relations, side: torch.full((len(anchors), MANY), value)


def one_entity(value: float, rest: float) -> Callable[[Tensor, Tensor, str], Tensor]:
    """Entity 199, which is never right, has one value and all others another."""

    def score(anchors: Tensor, relations: Tensor, side: str) -> Tensor:
        scores = torch.full((len(anchors), MANY), rest)
        scores[:, MANY - 1] = value
        return scores

    return score


def what_train_says(yes: float, no: float) -> Callable[[Tensor, Tensor, str], Tensor]:
    """All that a model could give away: it is told train and the question, not the answer."""

    def score(anchors: Tensor, relations: Tensor, side: str) -> Tensor:
        scores = torch.full((len(anchors), MANY), no)
        for row, anchor in enumerate(anchors.tolist()):
            for h, _, t in TRAIN:
                if anchor == (h if side == "tail" else t):
                    scores[row, t if side == "tail" else h] = yes
        return scores

    return score


@pytest.mark.parametrize("value", [0.0, 1e30, -3.5, -INF])
def test_a_constant_model_has_the_middle_rank(value: float) -> None:
    """Every question has 199 or 200 candidates: the rank to expect is 100 or 100.5."""
    found = figures(full(value))
    assert found["mr"] == pytest.approx(100, abs=0.5)
    assert found["amri"] == pytest.approx(0, abs=1e-9)
    assert found["mrr"] == pytest.approx(0.01, abs=1e-4)
    assert found["hits@10"] == 0


def test_a_model_that_ties_each_question_at_another_height_is_constant() -> None:
    by_anchor = figures(lambda a, r, side: a[:, None].float().expand(-1, MANY))
    assert by_anchor == figures(full(0.0))


def test_optimistic_ties_would_make_a_constant_model_perfect() -> None:
    """Which is why they are not the protocol."""
    assert figures(full(0.0), ties="optimistic")["mrr"] == 1.0
    assert figures(full(0.0), ties="pessimistic")["mrr"] < 0.0051


@pytest.mark.parametrize(
    "model",
    [
        full(torch.nan),
        full(INF),
        one_entity(torch.nan, 0.0),
        one_entity(INF, 0.0),
        one_entity(INF, -INF),
        what_train_says(INF, 0.0),
    ],
    ids=[
        "all NaN",
        "all infinite",
        "one NaN",
        "one infinite",
        "one against none",
        "train infinite",
    ],
)
def test_a_score_that_is_nan_or_infinite_is_an_error(model: Any) -> None:
    with pytest.raises(NonFiniteError, match=r"Scored, (head|tail) queries: \d+ scores are NaN or"):
        figures(model)


@pytest.mark.parametrize(
    "model",
    [
        one_entity(0.0, -INF),
        one_entity(1e30, -1e30),
        one_entity(-INF, 0.0),
        what_train_says(1.0, 0.0),
        what_train_says(0.0, -INF),
    ],
    ids=["all but one impossible", "one far ahead", "one impossible", "train", "nothing but train"],
)
def test_no_trick_with_scores_looks_good(model: Any) -> None:
    found = figures(model)
    assert found["mrr"] < 0.011
    assert abs(found["amri"]) < 0.011
    assert found["hits@10"] == 0


def test_an_oracle_is_perfect_and_its_opposite_is_last() -> None:
    """The ranker can tell; no model is given what an oracle needs."""

    def oracle(sign: float) -> Callable[[Tensor, Tensor, str], Tensor]:
        def score(anchors: Tensor, relations: Tensor, side: str) -> Tensor:
            right = anchors + (100 if side == "tail" else -100)
            return sign * torch.nn.functional.one_hot(right, MANY).float()

        return score

    assert figures(oracle(1.0))["mrr"] == figures(oracle(1.0))["amri"] == 1.0
    assert figures(oracle(-1.0))["amri"] == pytest.approx(-1.0)
