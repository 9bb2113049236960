"""Subsets of the test queries, by properties of the graph.

Each function takes a graph and returns a label per query, without models and ranks, so stored ranks
can be divided in new ways at any time. A query (h, r, ?) has the *target* t, and h is its *anchor*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.audit import facts_of, rules_of
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.leakage import CONFIDENCE, SUPPORT
from harness.errors import ConfigError, suggest
from harness.evaluation.metrics import RANK_METRICS
from harness.evaluation.ranks import Ranks, Ties
from harness.index import Side

__all__ = [
    "MANY",
    "SUBSETS",
    "Subset",
    "SubsetLabels",
    "by_cardinality",
    "by_degree",
    "by_leak",
    "by_modality",
    "by_relation",
    "by_seen",
    "by_side",
    "label",
    "measure_subsets",
]

MANY = 1.5
"""Average heads per tail (tails per head) from which a relation has "many" of them. Bordes et al.
2013, "Translating Embeddings for Modeling Multi-relational Data", section 4.3, who count over all
splits; here only train is counted."""

STEP = 4
"""Ratio of the widths of successive bins of degrees."""

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SubsetLabels:
    """Subset of each query of the test split.

    Attributes:
        names: printed names of the subsets.
        of: predicted side -> int64 [n], index into ``names`` for each test triple.
        rule: definition of the subsets in one sentence.
    """

    names: tuple[str, ...]
    of: Mapping[Side, Ids]
    rule: str


class Subset(NamedTuple):
    """Number of queries of a subset, and a metric over them (None without queries)."""

    name: str
    queries: int
    value: float | None


def by_side(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by the predicted side."""
    n = len(graph.splits["test"])
    of: dict[Side, Ids] = {"head": np.zeros(n, np.int64), "tail": np.ones(n, np.int64)}
    return SubsetLabels(("head", "tail"), of, "By the predicted side.")


def by_relation(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by relation, ordered by frequency in test, then by id."""
    relation = _columns(graph, "test")[1]
    counts = np.bincount(relation, minlength=graph.n_relations)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    position = np.zeros(graph.n_relations, np.int64)
    position[order] = np.arange(len(order))
    names = tuple(graph.relation_label(int(r)) for r in order)
    return _by_triple(names, position[relation], "By relation, the most frequent in test first.")


def by_cardinality(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by the relation's cardinality: 1-1, 1-n, n-1 or n-n, heads to tails."""
    head, relation, tail = facts_of(graph)["train"].distinct().T
    facts = np.bincount(relation, minlength=graph.n_relations)
    distinct_ends = [
        _groups(relation, entity, graph) for entity in (tail, head)
    ]  # distinct tails, and distinct heads, of each relation
    with np.errstate(divide="ignore", invalid="ignore"):
        many_heads, many_tails = (facts / distinct >= MANY for distinct in distinct_ends)
    kind = 2 * many_heads.astype(np.int64) + many_tails
    kind[facts == 0] = 4
    return _by_triple(
        ("1-1", "1-n", "n-1", "n-n", "not in train"),
        kind[_columns(graph, "test")[1]],
        "By the relation's cardinality, heads-tails: n where train has on average "
        f"{MANY:g} or more heads per tail, or tails per head (Bordes et al. 2013).",
    )


def by_seen(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by the entities that occur in train."""
    unseen = ~graph.index.seen_entities.numpy()
    head, _, tail = _columns(graph, "test")
    return SubsetLabels(
        ("both seen", "target unseen", "anchor unseen", "neither seen"),
        {
            "tail": unseen[tail] + 2 * unseen[head].astype(np.int64),
            "head": unseen[head] + 2 * unseen[tail].astype(np.int64),
        },
        "Seen: the entity occurs in train.",
    )


def by_degree(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by bins of the target's degree, its train triples; loops count twice."""
    heads, _, tails = _columns(graph, "train")
    degree = np.bincount(np.concatenate([heads, tails]), minlength=graph.n_entities)
    edges = [0, 1]
    while edges[-1] <= int(degree.max(initial=0)):
        edges.append(edges[-1] * STEP)
    names = [f"{low}-{high - 1}" if high - low > 1 else str(low) for low, high in pairwise(edges)]
    bins = np.digitize(degree, edges) - 1
    head, _, tail = _columns(graph, "test")
    return SubsetLabels(
        tuple(names),
        {"tail": bins[tail], "head": bins[head]},
        "By the degree of the answer: train triples that it stands in.",
    )


def by_modality(graph: KnowledgeGraph, features: FeatureSet) -> SubsetLabels:
    """Label queries by the modalities that both entities of the triple have."""
    head, _, tail = _columns(graph, "test")
    number = np.zeros(len(head), np.int64)
    tables = list(features.tables.items())
    for i, (_, table) in enumerate(tables):
        present = table.present.numpy()
        number += (present[head] & present[tail]).astype(np.int64) << i
    sets = sorted(range(1 << len(tables)), key=lambda s: (-s.bit_count(), s))
    position = np.zeros(len(sets), np.int64)
    position[sets] = np.arange(len(sets))
    names = [
        "+".join(name for i, (name, _) in enumerate(tables) if modalities >> i & 1) or "no modality"
        for modalities in sets
    ]
    rule = f"By the modalities of feature set '{features.name}' that head and tail both have."
    return _by_triple(tuple(names), position[number], rule)


def by_leak(graph: KnowledgeGraph) -> SubsetLabels:
    """Label queries by leaks of the triple from train; see :mod:`harness.data.leakage`."""
    facts = facts_of(graph)
    rules = rules_of(facts)
    test, train = facts["test"], facts["train"]
    clean = ~(test.are_in(train) | test.given_away(train, rules))
    return _by_triple(
        ("leaked", "clean"),
        clean.astype(np.int64),
        "Leaked: the triple stands in train, or train implies it because a relation is symmetric, "
        f"or the inverse or a near-duplicate of another (to {CONFIDENCE:.0%}, {SUPPORT} pairs).",
    )


_OF_GRAPH: Mapping[str, Callable[[KnowledgeGraph], SubsetLabels]] = {
    "leak": by_leak,
    "side": by_side,
    "relation": by_relation,
    "cardinality": by_cardinality,
    "seen": by_seen,
    "degree": by_degree,
}
SUBSETS = (*_OF_GRAPH, "modality")
"""Names of the divisions into subsets."""


def label(by: str, graph: KnowledgeGraph, features: FeatureSet) -> SubsetLabels:
    """Label the test queries by one of the divisions.

    Args:
        by: one of ``SUBSETS``.
        graph: graph with the test split.
        features: feature set, used only by "modality".

    Raises:
        ConfigError: there is no such division.
    """
    if by == "modality":
        return by_modality(graph, features)
    if by not in _OF_GRAPH:
        raise ConfigError(f"no buckets by '{by}'{suggest(by, SUBSETS)}")
    return _OF_GRAPH[by](graph)


def measure_subsets(ranks: Ranks, labels: SubsetLabels, metric: str, ties: Ties) -> list[Subset]:
    """Compute a metric over the queries of each subset, on the sides that were predicted.

    Args:
        ranks: ranks of the labelled triples, in the same order.
        labels: labels of the triples.
        metric: one of ``harness.evaluation.metrics.RANK_METRICS``.
        ties: rule for equal scores.
    """
    values, candidates = ranks.ranks(ties)
    positions = np.concatenate([labels.of[side] for side in ranks.sides])
    subsets = []
    for position, name in enumerate(labels.names):
        in_subset = positions == position
        value = _mean(RANK_METRICS[metric](values[in_subset], candidates[in_subset]))
        subsets.append(Subset(name, int(in_subset.sum()), value))
    return subsets


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _by_triple(names: tuple[str, ...], of_triple: Ids, rule: str) -> SubsetLabels:
    """Return labels common to both queries of a triple."""
    return SubsetLabels(names, {"head": of_triple, "tail": of_triple}, rule)


def _columns(graph: KnowledgeGraph, split: str) -> tuple[Ids, Ids, Ids]:
    head, relation, tail = graph.splits[split].numpy().T
    return head, relation, tail


def _groups(relation: Ids, entity: Ids, graph: KnowledgeGraph) -> Ids:
    """Return the number int64 [R] of distinct entities of each relation."""
    pairs = np.unique(relation * graph.n_entities + entity)
    return np.bincount(pairs // graph.n_entities, minlength=graph.n_relations)
