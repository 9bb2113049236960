"""Parts of the test split, by what the graph says of each question.

Every function takes a graph and returns a label per question; none looks at a model or a rank, so
stored ranks can be divided in ways that nobody thought of when they were made. What a question asks
for is its *answer*, the entity that it gives is *asked about*.
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
    "BUCKETS",
    "MANY",
    "Bucket",
    "Labels",
    "by_cardinality",
    "by_degree",
    "by_leak",
    "by_modality",
    "by_relation",
    "by_seen",
    "by_side",
    "label",
    "measure_buckets",
]

MANY = 1.5
"""A relation has "many" heads per tail (tails per head) when it has so many on average. Bordes et
al. 2013, "Translating Embeddings for Modeling Multi-relational Data", section 4.3, who count over
all splits; here train alone is counted."""

STEP = 4
"""Each bin of degrees is so many times as wide as the one before."""

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labels:
    """Which bucket each question of the test split is in.

    Attributes:
        names: the buckets, as they are printed.
        of: side that is predicted -> [n] position among ``names``, one per test triple.
        rule: how the buckets are told, in one sentence.
    """

    names: tuple[str, ...]
    of: Mapping[Side, Ids]
    rule: str


class Bucket(NamedTuple):
    """A part of the questions: how many there are, and a value over them (None without any)."""

    name: str
    queries: int
    value: float | None


def by_side(graph: KnowledgeGraph) -> Labels:
    """Return whether the head or the tail is asked for."""
    n = len(graph.splits["test"])
    of: dict[Side, Ids] = {"head": np.zeros(n, np.int64), "tail": np.ones(n, np.int64)}
    return Labels(("head", "tail"), of, "By the side that is asked for.")


def by_relation(graph: KnowledgeGraph) -> Labels:
    """Return the relation; the most frequent in test comes first, equally frequent by id."""
    relation = _columns(graph, "test")[1]
    counts = np.bincount(relation, minlength=graph.n_relations)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    place = np.zeros(graph.n_relations, np.int64)
    place[order] = np.arange(len(order))
    names = tuple(graph.relation_label(int(r)) for r in order)
    return _both(names, place[relation], "By relation, the most frequent in test first.")


def by_cardinality(graph: KnowledgeGraph) -> Labels:
    """Return the relation's kind: one or many heads per tail, one or many tails per head."""
    head, relation, tail = facts_of(graph)["train"].distinct().T
    facts = np.bincount(relation, minlength=graph.n_relations)
    ones = [
        _groups(relation, entity, graph) for entity in (tail, head)
    ]  # distinct tails, and distinct heads, of each relation
    with np.errstate(divide="ignore", invalid="ignore"):
        many_heads, many_tails = (facts / distinct >= MANY for distinct in ones)
    kind = 2 * many_heads.astype(np.int64) + many_tails
    kind[facts == 0] = 4
    return _both(
        ("1-1", "1-n", "n-1", "n-n", "not in train"),
        kind[_columns(graph, "test")[1]],
        "By the relation's cardinality, heads-tails: n where train has on average "
        f"{MANY:g} or more heads per tail, or tails per head (Bordes et al. 2013).",
    )


def by_seen(graph: KnowledgeGraph) -> Labels:
    """Return which entities of the question occur in train."""
    unseen = ~graph.index.seen_entities.numpy()
    head, _, tail = _columns(graph, "test")
    return Labels(
        ("both seen", "answer unseen", "asked about unseen", "neither seen"),
        {
            "tail": unseen[tail] + 2 * unseen[head].astype(np.int64),
            "head": unseen[head] + 2 * unseen[tail].astype(np.int64),
        },
        "Seen: the entity occurs in train.",
    )


def by_degree(graph: KnowledgeGraph) -> Labels:
    """Return the bin of the answer's degree: its triples in train, where a loop counts twice."""
    heads, _, tails = _columns(graph, "train")
    degree = np.bincount(np.concatenate([heads, tails]), minlength=graph.n_entities)
    edges = [0, 1]
    while edges[-1] <= int(degree.max(initial=0)):
        edges.append(edges[-1] * STEP)
    names = [f"{low}-{high - 1}" if high - low > 1 else str(low) for low, high in pairwise(edges)]
    bins = np.digitize(degree, edges) - 1
    head, _, tail = _columns(graph, "test")
    return Labels(
        tuple(names),
        {"tail": bins[tail], "head": bins[head]},
        "By the degree of the answer: train triples that it stands in.",
    )


def by_modality(graph: KnowledgeGraph, features: FeatureSet) -> Labels:
    """Return which modalities both entities of the triple have."""
    head, _, tail = _columns(graph, "test")
    number = np.zeros(len(head), np.int64)
    tables = list(features.tables.items())
    for i, (_, table) in enumerate(tables):
        present = table.present.numpy()
        number += (present[head] & present[tail]).astype(np.int64) << i
    sets = sorted(range(1 << len(tables)), key=lambda s: (-s.bit_count(), s))
    place = np.zeros(len(sets), np.int64)
    place[sets] = np.arange(len(sets))
    names = [
        "+".join(name for i, (name, _) in enumerate(tables) if chosen >> i & 1) or "no modality"
        for chosen in sets
    ]
    said = f"By the modalities of feature set '{features.name}' that head and tail both have."
    return _both(tuple(names), place[number], said)


def by_leak(graph: KnowledgeGraph) -> Labels:
    """Return whether train gives the triple away; see :mod:`harness.data.leakage`."""
    facts = facts_of(graph)
    rules = rules_of(facts)
    test, train = facts["test"], facts["train"]
    clean = ~(test.are_in(train) | test.given_away(train, rules))
    return _both(
        ("leaked", "clean"),
        clean.astype(np.int64),
        "Leaked: the triple stands in train, or train implies it because a relation is symmetric, "
        f"or the inverse or a near-duplicate of another (to {CONFIDENCE:.0%}, {SUPPORT} pairs).",
    )


_OF_GRAPH: Mapping[str, Callable[[KnowledgeGraph], Labels]] = {
    "leak": by_leak,
    "side": by_side,
    "relation": by_relation,
    "cardinality": by_cardinality,
    "seen": by_seen,
    "degree": by_degree,
}
BUCKETS = (*_OF_GRAPH, "modality")
"""The ways to divide the questions, by name."""


def label(by: str, graph: KnowledgeGraph, features: FeatureSet) -> Labels:
    """Return the labels of one way to divide the questions.

    Args:
        by: one of ``BUCKETS``.
        graph: whose test split is divided.
        features: looked at by "modality" alone.

    Raises:
        ConfigError: there is no such way.
    """
    if by == "modality":
        return by_modality(graph, features)
    if by not in _OF_GRAPH:
        raise ConfigError(f"no buckets by '{by}'{suggest(by, BUCKETS)}")
    return _OF_GRAPH[by](graph)


def measure_buckets(ranks: Ranks, labels: Labels, metric: str, ties: Ties) -> list[Bucket]:
    """Return a metric over the questions of each bucket, of the sides that were predicted.

    Args:
        ranks: of the triples that the labels are for, in the same order.
        labels: of those triples.
        metric: one of ``harness.evaluation.metrics.RANK_METRICS``.
        ties: rule for equal scores.
    """
    values, candidates = ranks.ranks(ties)
    of = np.concatenate([labels.of[side] for side in ranks.sides])
    found = []
    for place, name in enumerate(labels.names):
        mine = of == place
        value = _mean(RANK_METRICS[metric](values[mine], candidates[mine]))
        found.append(Bucket(name, int(mine.sum()), value))
    return found


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _both(names: tuple[str, ...], of_triple: Ids, rule: str) -> Labels:
    """Return labels that both questions of a triple share."""
    return Labels(names, {"head": of_triple, "tail": of_triple}, rule)


def _columns(graph: KnowledgeGraph, split: str) -> tuple[Ids, Ids, Ids]:
    head, relation, tail = graph.splits[split].numpy().T
    return head, relation, tail


def _groups(relation: Ids, entity: Ids, graph: KnowledgeGraph) -> Ids:
    """Return how many distinct entities each relation has [R]."""
    pairs = np.unique(relation * graph.n_entities + entity)
    return np.bincount(pairs // graph.n_entities, minlength=graph.n_relations)
