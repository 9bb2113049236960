"""What holds of the cleaned variant of any graph."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.data.audit import audit
from harness.data.derive import clean
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.leakage import Facts, find_rules
from tests.toys import toy_graph

N, R = 5, 3
Triple = tuple[int, int, int]

triples = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)), max_size=25
)
thresholds = st.fixed_dictionaries(
    {"confidence": st.sampled_from([0.3, 0.5, 0.8, 1.0]), "support": st.integers(1, 4)}
)


def as_tensor(rows: list[Triple]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 3)


graphs = st.tuples(triples, triples, triples).map(
    lambda splits: toy_graph(*splits, entities="abcde", relations="rst")
)


def rows_of(graph: KnowledgeGraph, split: str) -> list[Triple]:
    return [(h, r, t) for h, r, t in graph.splits[split].tolist()]


@given(graphs, thresholds)
@settings(deadline=None)
def test_an_audit_of_what_was_cleaned_finds_no_leak(graph: KnowledgeGraph, limits: dict) -> None:
    found = audit(clean(graph, **limits)[0], **limits)
    assert found.leaked == 0
    for count in found.splits.values():
        assert (count.repeats, count.in_train, count.in_valid, count.implied) == (0, 0, 0, 0)


@given(graphs, thresholds)
@settings(deadline=None)
def test_no_row_of_train_implies_one_of_valid_or_test(graph: KnowledgeGraph, limits: dict) -> None:
    cleaned, _ = clean(graph, **limits)
    held = {split: rows_of(cleaned, split) for split in SPLITS}
    every = as_tensor([row for rows in held.values() for row in rows]).numpy()
    for rule in find_rules(Facts(every, N, R), **limits):
        for h, r, t in held["train"]:
            if r == rule.premise:
                first, last = (t, h) if rule.turns else (h, t)
                assert (first, rule.conclusion, last) not in {*held["valid"], *held["test"]}


@given(graphs, thresholds)
@settings(deadline=None)
def test_cleaning_twice_is_cleaning_once(graph: KnowledgeGraph, limits: dict) -> None:
    once, _ = clean(graph, **limits)
    twice, removed = clean(once, **limits)
    assert twice.digest == once.digest
    assert removed == ()


@given(graphs, thresholds)
@settings(deadline=None)
def test_rows_only_go_and_stay_in_their_order_and_split(
    graph: KnowledgeGraph, limits: dict
) -> None:
    cleaned, removed = clean(graph, **limits)
    assert (cleaned.entities, cleaned.relations) == (graph.entities, graph.relations)
    for split in SPLITS:
        official = iter(rows_of(graph, split))
        assert all(row in official for row in rows_of(cleaned, split))  # consumes: a subsequence
        gone = len(graph.splits[split]) - len(cleaned.splits[split])
        assert gone == sum(r.rows for r in removed if r.split == split)


@given(graphs, thresholds)
@settings(deadline=None)
def test_test_keeps_every_question_and_valid_those_that_are_not_in_test(
    graph: KnowledgeGraph, limits: dict
) -> None:
    cleaned, _ = clean(graph, **limits)
    test = set(rows_of(graph, "test"))
    assert set(rows_of(cleaned, "test")) == test
    assert set(rows_of(cleaned, "valid")) == set(rows_of(graph, "valid")) - test


@given(triples, thresholds)
@settings(deadline=None)
def test_rules_are_those_of_the_definition(rows: list[Triple], limits: dict) -> None:
    pairs = {r: {(h, t) for h, s, t in rows if s == r and h != t} for r in range(R)}
    expected = {}
    for premise in range(R):
        for conclusion in range(R):
            for turns in (False, True):
                if premise == conclusion and not turns:
                    continue
                said = {p[::-1] if turns else p for p in pairs[premise]}
                both = len(said & pairs[conclusion])
                if both >= limits["support"] and both >= limits["confidence"] * len(said):
                    expected[premise, conclusion, turns] = (both, both / len(said))
    rules = find_rules(Facts(as_tensor(rows).numpy(), N, R), **limits)
    found = {(r.premise, r.conclusion, r.turns): (r.support, r.confidence) for r in rules}
    assert found == expected
    assert {r.kind == "symmetric" for r in rules if r.premise == r.conclusion} <= {True}
