"""Laws of buckets, and of what ties broken at random are expected to give."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError
from harness.evaluation.metrics import RANK_METRICS, compute
from harness.evaluation.ranks import Ranks, SideCounts
from harness.evaluation.subsets import MANY, SUBSETS, SubsetLabels, label, measure_subsets
from harness.evaluation.ties import expected_hits, expected_reciprocal
from tests.toys import toy_graph

N, R = 6, 3
triple = st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1))
counts = st.lists(st.tuples(*[st.integers(0, 9)] * 6), min_size=1, max_size=12)


def graph_of(train: list, test: list, valid: list | None = None) -> KnowledgeGraph:
    relations = ("likes", "is near", "made")
    return toy_graph(train, valid or [], test, entities="abcdef", relations=relations)


def features_of(masks: dict[str, list[bool]]) -> FeatureSet:
    tables = {}
    for name, mask in masks.items():
        present = torch.tensor(mask)
        tables[name] = FeatureTable(name, present[:, None].float(), present)
    return FeatureSet("toy", tables)


features = st.fixed_dictionaries(
    {name: st.lists(st.booleans(), min_size=N, max_size=N) for name in ("text", "image")}
).map(lambda masks: features_of({name: masks[name] for name in ("text", "image")}))
graphs = st.builds(
    graph_of, st.lists(triple, max_size=25), st.lists(triple, min_size=1, max_size=12)
)


def ranks_of(graph: KnowledgeGraph, numbers: list) -> Ranks:
    n = len(graph.splits["test"])
    rows = np.array([numbers[i % len(numbers)] for i in range(n)], dtype=np.int32)
    sides = {
        "head": SideCounts(rows[:, 0], rows[:, 1], rows[:, :3].sum(1, dtype=np.int32) + 1),
        "tail": SideCounts(rows[:, 3], rows[:, 4], rows[:, 3:].sum(1, dtype=np.int32) + 1),
    }
    return Ranks(graph.splits["test"].numpy(), sides)  # type: ignore[arg-type]


def named(labels: SubsetLabels, side: str) -> list[str]:
    return [labels.names[i] for i in labels.of[side]]  # type: ignore[index]


# --- laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", SUBSETS)
@given(graphs, features, counts)
@settings(deadline=None, max_examples=12)
def test_every_question_is_in_one_bucket_and_together_they_are_the_split(
    by: str, graph: KnowledgeGraph, features: FeatureSet, numbers: list
) -> None:
    labels, ranks = label(by, graph, features), ranks_of(graph, numbers)
    assert len(set(labels.names)) == len(labels.names)
    for of in labels.of.values():
        assert of.shape == (len(ranks.triples),)
        assert ((of >= 0) & (of < len(labels.names))).all()
    whole = compute(*ranks.ranks("realistic"))
    for metric in set(RANK_METRICS) - {"amri"}:  # which is no mean over queries
        parts = measure_subsets(ranks, labels, metric, "realistic")
        assert sum(part.queries for part in parts) == 2 * len(ranks.triples)
        assert all((part.value is None) == (part.queries == 0) for part in parts)
        total = sum(part.queries * part.value for part in parts if part.value is not None)
        assert total / (2 * len(ranks.triples)) == pytest.approx(whole[metric])


@pytest.mark.parametrize("by", SUBSETS)
@given(graphs, features, st.randoms())
@settings(deadline=None, max_examples=6)
def test_the_order_of_train_and_of_test_changes_no_label(
    by: str, graph: KnowledgeGraph, features: FeatureSet, random: object
) -> None:
    test = list(range(len(graph.splits["test"])))
    train = graph.splits["train"].tolist()
    random.shuffle(test)  # type: ignore[attr-defined]
    random.shuffle(train)  # type: ignore[attr-defined]
    other = graph_of(train, graph.splits["test"][test].tolist())
    before, after = label(by, graph, features), label(by, other, features)
    for side in ("head", "tail"):
        assert named(after, side) == [named(before, side)[i] for i in test]


@given(graphs)
@settings(deadline=None, max_examples=20)
def test_cardinality_agrees_with_counting_by_hand(graph: KnowledgeGraph) -> None:
    train = {tuple(row) for row in graph.splits["train"].tolist()}
    labels = label("cardinality", graph, FeatureSet())
    for (_, relation, _), found in zip(
        graph.splits["test"].tolist(), named(labels, "tail"), strict=True
    ):
        own = [(h, t) for h, r, t in train if r == relation]
        if not own:
            assert found == "not in train"
            continue
        heads = Fraction(len(own), len({t for _, t in own}))
        tails = Fraction(len(own), len({h for h, _ in own}))
        kind = f"{'n' if heads >= MANY else '1'}-{'n' if tails >= MANY else '1'}"
        assert found == kind


@given(graphs)
@settings(deadline=None, max_examples=20)
def test_degree_and_seen_are_of_the_answer(graph: KnowledgeGraph) -> None:
    degree = Counter(e for h, _, t in graph.splits["train"].tolist() for e in (h, t))
    by_degree, by_seen = (label(by, graph, FeatureSet()) for by in ("degree", "seen"))
    for i, (head, _, tail) in enumerate(graph.splits["test"].tolist()):
        for side, answer, asked in (("head", head, tail), ("tail", tail, head)):
            low, _, high = named(by_degree, side)[i].partition("-")
            assert int(low) <= degree[answer] <= int(high or low)
            expected = {
                (True, True): "both seen",
                (False, True): "target unseen",
                (True, False): "anchor unseen",
                (False, False): "neither seen",
            }[degree[answer] > 0, degree[asked] > 0]
            assert named(by_seen, side)[i] == expected


@given(graphs, features)
@settings(deadline=None, max_examples=20)
def test_a_modality_is_one_that_both_entities_have(
    graph: KnowledgeGraph, features: FeatureSet
) -> None:
    labels = label("modality", graph, features)
    for (head, _, tail), found in zip(
        graph.splits["test"].tolist(), named(labels, "head"), strict=True
    ):
        both = [n for n, t in features.tables.items() if bool(t.present[head] & t.present[tail])]
        assert found == ("+".join(both) or "no modality")
    assert labels.names == ("text+image", "text", "image", "no modality")


# --- known answers --------------------------------------------------------------------------


def test_cardinalities_of_a_small_graph() -> None:
    """likes: 3 heads of one tail; is near: one head of 3 tails; made: not in train."""
    train = [(0, 0, 5), (1, 0, 5), (2, 0, 5), (0, 1, 3), (0, 1, 4), (0, 1, 5), (0, 1, 5)]
    graph = graph_of(train, [(3, 0, 5), (1, 1, 2), (0, 2, 1)])
    labels = label("cardinality", graph, FeatureSet())
    assert named(labels, "tail") == named(labels, "head") == ["n-1", "1-n", "not in train"]


def test_one_and_a_half_is_many() -> None:
    """Two tails with three heads together: 1.5 heads per tail, 1 tail per head."""
    graph = graph_of([(0, 0, 5), (1, 0, 5), (2, 0, 4)], [(3, 0, 5)])
    assert named(label("cardinality", graph, FeatureSet()), "tail") == ["n-1"]
    graph = graph_of([(0, 0, 5), (1, 0, 5), (2, 0, 4), (3, 0, 3)], [(3, 0, 5)])
    assert named(label("cardinality", graph, FeatureSet()), "tail") == ["1-1"]


def test_relations_come_by_frequency_in_test_and_sides_as_they_are_asked() -> None:
    graph = graph_of([], [(0, 2, 1), (0, 0, 1), (1, 2, 3)])
    assert label("relation", graph, FeatureSet()).names == ("made", "likes")
    labels = label("side", graph, FeatureSet())
    assert (named(labels, "head"), named(labels, "tail")) == (["head"] * 3, ["tail"] * 3)


def test_leaked_is_what_train_holds_or_implies() -> None:
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]
    train = [(h, 0, t) for h, t in pairs] + [(t, 0, h) for h, t in pairs[:-1]]
    test = [(5, 0, 0), (0, 0, 1), (5, 1, 0), (0, 2, 3)]
    labels = label("leak", graph_of(train, test), FeatureSet())
    assert named(labels, "tail") == ["leaked", "leaked", "clean", "clean"]


def test_an_unknown_way_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no buckets by 'modalities'; did you mean 'modality'"):
        label("modalities", graph_of([], [(0, 0, 1)]), FeatureSet())


def test_a_metric_of_a_bucket_is_that_of_its_questions() -> None:
    graph = graph_of([], [(0, 0, 1), (0, 2, 1)])
    side = SideCounts(np.array([0, 3]), np.array([0, 0]), np.array([9, 9]))
    ranks = Ranks(graph.splits["test"].numpy(), {"tail": side})
    parts = measure_subsets(ranks, label("relation", graph, FeatureSet()), "mrr", "realistic")
    assert [tuple(part) for part in parts] == [("likes", 1, 1.0), ("made", 1, 0.25)]


# --- ties at random -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=20))
def test_expectations_are_the_mean_over_all_places(pairs: list) -> None:
    better, tied = np.array(pairs).T
    reciprocal, hits = expected_reciprocal(better, tied), expected_hits(better, tied, 3)
    for i, (b, t) in enumerate(pairs):
        places = range(b + 1, b + t + 2)
        assert reciprocal[i] == pytest.approx(float(sum(Fraction(1, r) for r in places) / (t + 1)))
        assert hits[i] == pytest.approx(sum(r <= 3 for r in places) / (t + 1))


def test_expected_ties_of_a_large_graph_lose_no_digit() -> None:
    (found,) = expected_reciprocal(np.array([10**6]), np.array([10**6]))
    assert found == pytest.approx(np.log(2) / 10**6, rel=1e-5)
    assert expected_reciprocal(np.array([4]), np.array([0])).tolist() == [0.2]
