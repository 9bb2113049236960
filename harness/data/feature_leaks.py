"""Feature leaks: audit of features of one end of a triple that reveal the other end.

There are two kinds of evidence, per relation, direction and split.

*Mentions.* The text of one end (the source) names the other (the target), or its types include it
(:mod:`harness.data.statements`). The rate over the distinct triples of a split is compared with the
rate for *shuffled* pairs (the source of a triple of the split with the target of another triple of
the same relation) and for *random* pairs of entities. Both rates are exact: they count all pairs
that are not facts of the relation in any split.

*Vectors.* Each triple is compared with shuffled pairs of the same source: its score is the share of
them with a smaller cosine (ties count half). The mean over triples is the AUC of ranking the target
above other answers of the relation, 0.5 for vectors without a leak. Shuffled pairs are sampled with
a fixed seed.

:func:`mention_leaks` and :func:`vector_leaks` define the rules that flag a relation; the constants
below are their thresholds, chosen by this project. docs/feature_leaks.md explains both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.card import DatasetSource, FeatureLeak
from harness.data.features import FeatureTable
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.statements import Statements, contains, named_in_texts
from harness.holm import holm
from harness.index import Side

__all__ = [
    "ALL_RELATIONS",
    "AUC",
    "AUC_MORE",
    "FACTOR",
    "LEAST",
    "LEAST_TRIPLES",
    "LEVEL",
    "MORE",
    "RATE",
    "Kind",
    "ModalityLeaks",
    "Rate",
    "RelationLeak",
    "SetLeaks",
    "SplitLeak",
    "Verdict",
    "audit_features",
    "mention_leaks",
    "set_leaks",
    "vector_leaks",
]

RATE = 0.05
"""Minimum share of a relation's triples in which one end names the other."""
FACTOR = 3.0
"""Minimum ratio of that share to the share of shuffled pairs."""
LEAST = 5
"""Minimum number of such triples, so that a handful is never flagged."""
MORE = 1.5
"""Minimum ratio of the share in test (or valid) to train's for the verdict "more"."""
AUC = 0.9
"""Minimum AUC of vectors that encode the other end."""
AUC_MORE = 0.05
"""Minimum difference of AUC in test (or valid) to train's for the verdict "more"."""
LEAST_TRIPLES = 20
"""Minimum number of triples for a test of vectors, and for saying that nothing is flagged."""
LEVEL = 0.01
"""Significance level after Holm's correction over relations, directions and splits."""

ALL_RELATIONS = -1
"""Relation id of the counts over all relations."""

_TRIPLES = 1000
"""Largest number of compared triples of a relation and split; more are sampled."""
_PAIRS = 25
"""Shuffled (and random) pairs per triple."""

Kind = Literal["text", "types", "vectors"]
Verdict = Literal["", "flagged", "more"]
"""``flagged``: a leak, as in train; ``more``: a larger leak than in train; "": not flagged."""

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_SIDES: tuple[tuple[Side, int, int], ...] = (("tail", 0, 2), ("head", 2, 0))
"""Side of the target, column of the source (whose features are read), column of the target."""


@dataclass(frozen=True)
class Rate:
    """Number of pairs of entities, and of those whose first entity names the second."""

    hits: int
    pairs: int

    @property
    def share(self) -> float:
        """``hits`` over ``pairs``, 0 without pairs."""
        return self.hits / self.pairs if self.pairs else 0.0


@dataclass(frozen=True)
class SplitLeak:
    """Leak of one relation, direction and split."""

    triples: int
    """Distinct triples whose source has features and whose target can be named."""
    hits: int
    """Triples whose target is named; 0 for vectors."""
    linked: float
    """Share of hits among the triples, or AUC against shuffled pairs; 0 without triples."""
    low: float
    high: float
    """Bounds of the 95 % interval of ``linked`` (Wilson's for shares, Student's for AUC)."""
    shuffled: float
    """Share of hits among shuffled pairs; 0.5 for vectors."""
    p: float
    """Adjusted p-value of ``linked`` <= ``shuffled``; 1 where not tested."""
    p_more: float
    """Adjusted p-value of ``linked`` <= train's; 1 where not tested."""
    verdict: Verdict


@dataclass(frozen=True)
class RelationLeak:
    """Leak of one relation and direction."""

    relation_id: int
    """Relation id, or :data:`ALL_RELATIONS`."""
    relation: str
    """Name, or identifier if another relation has the same name; "" for all relations."""
    side: Side
    """Side of the target, which features of the other side reveal."""
    splits: Mapping[str, SplitLeak]

    @property
    def flagged(self) -> bool:
        """True if a split is flagged."""
        return any(leak.verdict for leak in self.splits.values())


@dataclass(frozen=True)
class ModalityLeaks:
    """The audit of one modality."""

    modality: str
    kind: Kind
    speakers: int
    """Number of entities with the modality."""
    random: float | None
    """Share of hits among random pairs (text, types); AUC against random pairs over the triples of
    both directions (vectors); None without such pairs."""
    relations: tuple[RelationLeak, ...]
    """Flagged leaks first, then by hits or triples; the leak over all relations is the first of
    each direction."""
    rows: Mapping[str, int]
    """Leaked rows of valid and test: rows of relations flagged there whose source names the target,
    or, for vectors, rows with both ends present."""

    @property
    def label(self) -> str:
        """Name in cards and reports ("text", "types", "image vectors")."""
        if self.kind == "vectors":
            return f"{self.modality} vectors"
        return self.modality if self.modality == self.kind else f"{self.modality} {self.kind}"

    @property
    def leak(self) -> FeatureLeak:
        """The leak as cards and stored audits have it."""
        return FeatureLeak(rows=self.rows, more=self.more)

    @property
    def flagged(self) -> tuple[RelationLeak, ...]:
        """Flagged leaks."""
        return tuple(leak for leak in self.relations if leak.flagged)

    @property
    def most_triples(self) -> int:
        """Largest number of test triples that a verdict is over: of one relation for vectors, of
        all together for text and types."""
        judged = [
            leak
            for leak in self.relations
            if self.kind != "vectors" or leak.relation_id != ALL_RELATIONS
        ]
        return max((leak.splits["test"].triples for leak in judged), default=0)

    @property
    def enough(self) -> bool:
        """True if there are enough triples to say that nothing is flagged, or if some is."""
        return bool(self.flagged) or self.most_triples >= LEAST_TRIPLES

    @property
    def more(self) -> tuple[str, ...]:
        """Splits that leak more than train."""
        return tuple(
            split
            for split in ("valid", "test")
            if any(leak.splits[split].verdict == "more" for leak in self.flagged)
        )


@dataclass(frozen=True)
class SetLeaks:
    """The audit of a feature set, with the leaks that the dataset's card acknowledges."""

    feature_set: str
    modalities: tuple[ModalityLeaks, ...]
    rows: Mapping[str, int]
    """Rows of each split."""
    acknowledged: Mapping[str, FeatureLeak]
    """Modality ("text", "image vectors") -> acknowledged leak."""

    @property
    def excess(self) -> tuple[tuple[str, str], ...]:
        """Modalities and splits that leak more than the card acknowledges."""
        return tuple(
            (modality.label, split)
            for modality in self.modalities
            for split in ("valid", "test")
            if self._exceeds(modality, split)
        )

    def _exceeds(self, modality: ModalityLeaks, split: str) -> bool:
        card = self.acknowledged.get(modality.label)
        if card is None:
            return modality.rows[split] > 0
        unacknowledged = split in modality.more and split not in card.more
        return unacknowledged or modality.rows[split] > card.rows.get(split, 0)


def audit_features(
    source: DatasetSource,
    name: str,
    graph: KnowledgeGraph,
    tables: Mapping[str, FeatureTable],
) -> SetLeaks:
    """Audit the texts and vectors of a feature set.

    Args:
        source: the dataset.
        name: one of its feature sets.
        graph: its graph.
        tables: the set's vectors by modality.
    """
    from harness.data.feature_sets import entity_texts

    names = entity_texts(graph)
    mentions = [
        mention_leaks(
            graph, named_in_texts(texts, names, of_names=texts == names), modality=modality
        )
        for modality, texts in source.texts(name, graph).items()
    ]
    vectors = [vector_leaks(graph, table) for table in tables.values()]
    return set_leaks(graph, name, [*mentions, *vectors], source.card.feature_leaks.get(name, {}))


def set_leaks(
    graph: KnowledgeGraph,
    name: str,
    modalities: Sequence[ModalityLeaks],
    acknowledged: Mapping[str, FeatureLeak] = MappingProxyType({}),
) -> SetLeaks:
    """Combine the audits of modalities with the leaks that a card acknowledges."""
    rows = {split: len(graph.splits[split]) for split in SPLITS}
    return SetLeaks(name, tuple(modalities), rows, acknowledged)


def mention_leaks(
    graph: KnowledgeGraph, statements: Statements, *, modality: str = "text", kind: Kind = "text"
) -> ModalityLeaks:
    """Count the triples in which one end's text (or types) names the other; flag relations.

    A relation is flagged in valid or test, in one direction, where at least :data:`LEAST` triples
    and a share of at least :data:`RATE` leak, at least :data:`FACTOR` times the share of shuffled
    pairs, with p < :data:`LEVEL` (Fisher's exact test, one-sided; Holm over relations, directions
    and both splits). The verdict is *more* if the share is also at least :data:`MORE` times train's
    with p < :data:`LEVEL` (likewise).

    All relations together are flagged only if valid or test leaks more than train: a leak of some
    rows of every relation. The number expected from train's shares is computed by relation (Mantel
    and Haenszel 1959), so that a different mix of relations flags nothing.

    Args:
        graph: its triples.
        statements: pairs of entities, the first of which names the second.
        modality, kind: labels in the report.
    """
    counted = [_count_side(graph, statements, *side) for side in _SIDES]
    leaks = [leak for side in counted for leak in side.relation_leaks(graph)]
    rate = _random(statements)
    return _modality(
        graph,
        leaks,
        modality=modality,
        kind=kind,
        speakers=int(statements.speakers.sum()),
        random=rate.share if rate.pairs else None,
        hit_rows={side.side: side.hit_rows for side in counted},
    )


def vector_leaks(graph: KnowledgeGraph, table: FeatureTable) -> ModalityLeaks:
    """Measure the AUC of ranking targets among answers by cosine, and flag relations.

    A relation is flagged in valid or test, in one direction, where the AUC over at least
    :data:`LEAST_TRIPLES` triples is at least :data:`AUC`, and more than half of them are nearer
    than half of their shuffled pairs with p < :data:`LEVEL` (sign test, one-sided; Holm over
    relations, directions and both splits). The verdict is *more* if the AUC exceeds train's by
    :data:`AUC_MORE` with p < :data:`LEVEL` (Mann and Whitney's test of the triples' shares,
    one-sided, Holm likewise), whatever the AUC.

    Args:
        graph: its triples.
        table: [N, d], a modality of the graph's entities.
    """
    matrix, present = table.matrix.float().numpy(), table.present.numpy()
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit = np.divide(matrix, norms, out=np.zeros_like(matrix), where=norms > 0)
    compared = [_compare_side(graph, unit, present, *side) for side in _SIDES]
    random = np.concatenate([side.random for side in compared])
    return _modality(
        graph,
        [leak for side in compared for leak in side.relation_leaks(graph)],
        modality=table.name,
        kind="vectors",
        speakers=int(present.sum()),
        random=_mean(random) if len(random) else None,
        hit_rows={
            side: {split: np.ones(len(graph.splits[split]), np.bool_) for split in SPLITS}
            for side, *_ in _SIDES
        },
        both_ends=present,
    )


@dataclass(frozen=True)
class _Counts:
    """Counts of one direction by relation: arrays [R] per split."""

    side: Side
    triples: Mapping[str, Ids]
    hits: Mapping[str, Ids]
    shuffled: Mapping[str, tuple[Floats, Floats]]
    """Hits and number of shuffled pairs."""
    hit_rows: Mapping[str, Mask]
    """Mask of the rows of each split that are hits."""

    def relation_leaks(self, graph: KnowledgeGraph) -> list[RelationLeak]:
        """Return a leak per relation with a triple, over all relations first, without verdicts."""
        counts = sum(self.triples[split] for split in SPLITS)
        together = {split: self._together(split) for split in SPLITS}
        leaks = [RelationLeak(ALL_RELATIONS, "", self.side, together)]
        labels = _relation_labels(graph)
        for relation in np.flatnonzero(counts).tolist():
            splits = {split: self._alone(split, relation) for split in SPLITS}
            leaks.append(RelationLeak(relation, labels[relation], self.side, splits))
        return leaks

    def _alone(self, split: str, relation: int) -> SplitLeak:
        triples, hits = int(self.triples[split][relation]), int(self.hits[split][relation])
        shuffled_hits, shuffled_pairs = (values[relation] for values in self.shuffled[split])
        train = int(self.hits["train"][relation]), int(self.triples["train"][relation])
        return _share_leak(
            triples,
            hits,
            shuffled=float(shuffled_hits / shuffled_pairs) if shuffled_pairs else 0.0,
            p=_fisher(hits, triples, round(shuffled_hits), round(shuffled_pairs)),
            p_more=1.0 if split == "train" else _fisher(hits, triples, *train),
        )

    def _together(self, split: str) -> SplitLeak:
        triples, hits = self.triples[split], self.hits[split]
        shuffled_hits, shuffled_pairs = self.shuffled[split]
        shuffled_rate = np.divide(
            shuffled_hits,
            shuffled_pairs,
            out=np.zeros_like(shuffled_pairs),
            where=shuffled_pairs > 0,
        )
        total = int(triples.sum())
        # Only single relations are tested against shuffled pairs.
        return _share_leak(
            total,
            int(hits.sum()),
            shuffled=float((shuffled_rate * triples).sum() / total) if total else 0.0,
            p=1.0,
            p_more=1.0 if split == "train" else _mantel_haenszel(*self._pair(split)),
        )

    def _pair(self, split: str) -> tuple[Ids, Ids, Ids, Ids]:
        return (
            self.hits[split],
            self.triples[split],
            self.hits["train"],
            self.triples["train"],
        )


def _count_side(
    graph: KnowledgeGraph, statements: Statements, side: Side, source: int, target: int
) -> _Counts:
    facts = {split: np.unique(graph.splits[split].numpy(), axis=0) for split in SPLITS}
    all_facts = np.unique(np.concatenate(list(facts.values())), axis=0)
    usable = {
        split: rows[_usable(rows[:, source], rows[:, target], statements)]
        for split, rows in facts.items()
    }
    is_hit = {s: statements.hold(rows[:, source], rows[:, target]) for s, rows in usable.items()}
    targets = all_facts[statements.nameable[all_facts[:, target]]][:, (1, target)]
    size = graph.n_relations
    return _Counts(
        side=side,
        triples={s: np.bincount(rows[:, 1], minlength=size) for s, rows in usable.items()},
        hits={s: np.bincount(rows[is_hit[s], 1], minlength=size) for s, rows in usable.items()},
        shuffled={
            split: _shuffled_counts(
                rows[:, (1, source)], targets, all_facts[:, (1, source, target)], statements, size
            )
            for split, rows in usable.items()
        },
        hit_rows={
            split: statements.hold(*graph.splits[split].numpy()[:, (source, target)].T)
            for split in SPLITS
        },
    )


def _usable(source: Ids, target: Ids, statements: Statements) -> Mask:
    return np.asarray(
        statements.speakers[source] & statements.nameable[target] & (source != target), np.bool_
    )


def _shuffled_counts(
    sources: Ids, targets: Ids, facts: Ids, statements: Statements, n_relations: int
) -> tuple[Floats, Floats]:
    """Count the pairs of a source and a target of the same relation that are no fact of it.

    Args:
        sources: [n, 2] relation and source end of the triples of a split.
        targets: [m, 2] relation and target end of the triples of all splits.
        facts: [f, 3] relation, source and target end of every fact.
        statements: pairs of entities of which the first names the second.
        n_relations: number of relations of the graph, R; some may have no fact.

    Returns:
        Hits and pairs, [R].
    """
    from scipy.sparse import csr_array

    shape = (n_relations, statements.n_entities)
    a, b = (
        csr_array((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), shape=shape)
        for rows in (sources, targets)
    )
    hits = np.asarray((a @ statements.matrix).multiply(b).sum(axis=1)).ravel()
    pairs = np.asarray(a.sum(axis=1)).ravel() * np.asarray(b.sum(axis=1)).ravel()
    pairs -= np.asarray(a.multiply(b).sum(axis=1)).ravel()  # an entity with itself
    relation, source, target = facts[facts[:, 1] != facts[:, 2]].T
    weight = _at(a, relation, source) * _at(b, relation, target)
    is_hit = statements.hold(source, target)
    hits -= np.bincount(relation, weight * is_hit, minlength=n_relations)
    pairs -= np.bincount(relation, weight, minlength=n_relations)
    return hits, pairs


def _at(counts: object, rows: Ids, columns: Ids) -> Floats:
    """Return the entries of a sparse matrix at pairs of row and column."""
    entries = counts[rows, columns]  # type: ignore[index]
    dense = entries.toarray() if hasattr(entries, "toarray") else entries
    return np.asarray(dense, np.float64).ravel()


def _random(statements: Statements) -> Rate:
    in_both = int((statements.speakers & statements.nameable).sum())
    pairs = int(statements.speakers.sum()) * int(statements.nameable.sum()) - in_both
    return Rate(len(statements.keys), pairs)


def _share_leak(triples: int, hits: int, *, shuffled: float, p: float, p_more: float) -> SplitLeak:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, triples, method="wilson") if triples else (0.0, 1.0)
    share = hits / triples if triples else 0.0
    return SplitLeak(triples, hits, share, float(low), float(high), shuffled, p, p_more, verdict="")


def _fisher(hits: int, pairs: int, reference_hits: int, reference_pairs: int) -> float:
    """Return the p-value of a share being no greater than another (one-sided)."""
    from scipy.stats import hypergeom

    if not hits or not reference_pairs:
        return 1.0
    return float(hypergeom.sf(hits - 1, pairs + reference_pairs, hits + reference_hits, pairs))


def _mantel_haenszel(hits: Ids, triples: Ids, train_hits: Ids, train: Ids) -> float:
    """Return the p-value of shares being no greater than train's, over all relations.

    The statistic is Mantel and Haenszel's, with their correction for continuity.
    """
    from scipy.stats import norm

    n, all_triples = triples.astype(np.float64), (triples + train).astype(np.float64)
    all_hits = (hits + train_hits).astype(np.float64)
    tested = (triples > 0) & (train > 0)
    if not tested.any():
        return 1.0
    n, all_triples, all_hits = n[tested], all_triples[tested], all_hits[tested]
    expected = n * all_hits / all_triples
    variance = (
        n
        * (all_triples - n)
        * all_hits
        * (all_triples - all_hits)
        / (all_triples**2 * np.maximum(all_triples - 1, 1))
    )
    if not variance.sum():
        return 1.0
    excess = hits[tested].sum() - expected.sum() - 0.5
    return float(norm.sf(excess / np.sqrt(variance.sum())))


@dataclass(frozen=True)
class _Shares:
    """Comparisons of the cosines of one direction."""

    side: Side
    shares: Mapping[str, Mapping[int, Floats]]
    """Split -> relation -> each triple's share of shuffled pairs with a smaller cosine."""
    random: Floats
    """Each triple's share of random pairs with a smaller cosine."""

    def relation_leaks(self, graph: KnowledgeGraph) -> list[RelationLeak]:
        """Return a leak per relation with a triple, over all relations first, without verdicts."""
        relations = sorted({r for by_relation in self.shares.values() for r in by_relation})
        empty = np.zeros(0)
        all_shares = {s: np.concatenate([empty, *self.shares[s].values()]) for s in SPLITS}
        # No p-values over all relations: their mix differs between splits.
        leaks = [
            RelationLeak(
                ALL_RELATIONS,
                "",
                self.side,
                {s: _auc_leak(v, empty) for s, v in all_shares.items()},
            )
        ]
        labels = _relation_labels(graph)
        for relation in relations:
            relation_shares = {split: self.shares[split].get(relation, empty) for split in SPLITS}
            splits = {
                split: _auc_leak(
                    values, empty if split == "train" else relation_shares["train"], judged=True
                )
                for split, values in relation_shares.items()
            }
            leaks.append(RelationLeak(relation, labels[relation], self.side, splits))
        return leaks


def _compare_side(
    graph: KnowledgeGraph,
    unit: NDArray[np.float32],
    present: Mask,
    side: Side,
    source: int,
    target: int,
) -> _Shares:
    facts = {split: np.unique(graph.splits[split].numpy(), axis=0) for split in SPLITS}
    all_facts = np.unique(np.concatenate(list(facts.values())), axis=0)
    fact_keys = np.sort(_key(all_facts[:, 1], all_facts[:, source], all_facts[:, target], graph))
    answer_facts = all_facts[present[all_facts[:, target]]]
    shares: dict[str, dict[int, Floats]] = {split: {} for split in SPLITS}
    random: list[Floats] = []
    entities = np.flatnonzero(present)
    for relation in np.unique(all_facts[:, 1]):
        answers = answer_facts[answer_facts[:, 1] == relation, target]
        for number, (split, rows) in enumerate(facts.items()):
            rows = rows[rows[:, 1] == relation]
            rows = rows[present[rows[:, source]] & present[rows[:, target]]]
            rows = rows[rows[:, source] != rows[:, target]]
            if not len(rows):
                continue
            rng = np.random.default_rng([int(relation), number, source])
            if len(rows) > _TRIPLES:
                rows = rows[np.sort(rng.choice(len(rows), _TRIPLES, replace=False))]
            sources, targets = rows[:, source], rows[:, target]
            shuffled = rng.choice(answers, (len(rows), _PAIRS))
            is_fact = contains(fact_keys, _key(relation, sources[:, None], shuffled, graph))
            is_compared = ~is_fact & (shuffled != sources[:, None])
            shares[split][int(relation)] = _share_below(
                unit, sources, targets, shuffled, is_compared
            )
            random_entities = rng.choice(entities, (len(rows), _PAIRS))
            is_compared = (random_entities != sources[:, None]) & (
                random_entities != targets[:, None]
            )
            random.append(_share_below(unit, sources, targets, random_entities, is_compared))
    return _Shares(side, shares, np.concatenate([np.zeros(0), *random]))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _share_below(
    unit: NDArray[np.float32], sources: Ids, targets: Ids, compared: Ids, is_compared: Mask
) -> Floats:
    """Return the share of each triple's compared pairs with a smaller cosine, ties half.

    Triples without a pair are omitted.
    """
    linked = np.einsum("nd,nd->n", unit[sources], unit[targets])
    cosines = np.einsum("nd,nkd->nk", unit[sources], unit[compared])
    # The same vector in another order of summation is still a tie.
    difference = linked[:, None] - cosines
    below = (difference > 1e-6) + 0.5 * (np.abs(difference) <= 1e-6)
    counts = is_compared.sum(1)
    shares = (below * is_compared).sum(1) / np.maximum(counts, 1)
    return np.asarray(shares[counts > 0], np.float64)


def _auc_leak(shares: Floats, train: Floats, *, judged: bool = False) -> SplitLeak:
    """Summarise the shares [n] of a split's triples; ``train`` is empty where not compared."""
    from scipy.stats import binomtest, mannwhitneyu, t

    n = len(shares)
    mean = _mean(shares)
    half = float(t.ppf(0.975, n - 1) * shares.std(ddof=1) / np.sqrt(n)) if n > 1 else 1.0
    p = p_more = 1.0
    if judged and n >= LEAST_TRIPLES:
        above, below = int((shares > 0.5).sum()), int((shares < 0.5).sum())
        if above + below:
            p = float(binomtest(above, above + below, alternative="greater").pvalue)
        if len(train) >= LEAST_TRIPLES:
            p_more = float(mannwhitneyu(shares, train, alternative="greater").pvalue)
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return SplitLeak(n, 0, mean, low, high, 0.5, p, p_more, verdict="")


def _modality(
    graph: KnowledgeGraph,
    leaks: Sequence[RelationLeak],
    *,
    modality: str,
    kind: Kind,
    speakers: int,
    random: float | None,
    hit_rows: Mapping[Side, Mapping[str, Mask]],
    both_ends: Mask | None = None,
) -> ModalityLeaks:
    judged = _judge(leaks, kind)
    rows = {s: _rows(graph, judged, hit_rows, s, both_ends) for s in ("valid", "test")}
    return ModalityLeaks(modality, kind, speakers, random, tuple(_ordered(judged)), rows)


def _judge(leaks: Sequence[RelationLeak], kind: Kind) -> list[RelationLeak]:
    """Return the leaks with p-values of valid and test adjusted, and with verdicts."""
    cells = [(i, split) for i in range(len(leaks)) for split in ("valid", "test")]
    adjusted = holm([leaks[i].splits[split].p for i, split in cells])
    adjusted_more = holm([leaks[i].splits[split].p_more for i, split in cells])
    splits = [dict(leak.splits) for leak in leaks]
    for (i, split), p, p_more in zip(cells, adjusted, adjusted_more, strict=True):
        leak = replace(leaks[i].splits[split], p=float(p), p_more=float(p_more))
        together = leaks[i].relation_id == ALL_RELATIONS
        verdict = _verdict(leak, leaks[i].splits["train"], kind, together=together)
        splits[i][split] = replace(leak, verdict=verdict)
    return [replace(leak, splits=splits[i]) for i, leak in enumerate(leaks)]


def _verdict(leak: SplitLeak, train: SplitLeak, kind: Kind, *, together: bool) -> Verdict:
    if kind == "vectors":
        above_train = leak.p_more < LEVEL and leak.linked - train.linked >= AUC_MORE
        flagged = leak.p < LEVEL and leak.linked >= AUC
        return "more" if above_train else "flagged" if flagged else ""
    above_train = leak.p_more < LEVEL and leak.linked >= MORE * train.linked and leak.hits >= LEAST
    if together:
        return "more" if above_train else ""
    flagged = (
        leak.p < LEVEL and leak.hits >= LEAST and leak.linked >= max(RATE, FACTOR * leak.shuffled)
    )
    return ("more" if above_train else "flagged") if flagged else ""


def _rows(
    graph: KnowledgeGraph,
    leaks: Iterable[RelationLeak],
    hit_rows: Mapping[Side, Mapping[str, Mask]],
    split: str,
    both_ends: Mask | None,
) -> int:
    """Count the rows of a split that leak in a direction in which their relation is flagged."""
    triples = graph.splits[split].numpy()
    counted = np.zeros(len(triples), np.bool_)
    for leak in leaks:
        if leak.splits[split].verdict:
            together = leak.relation_id == ALL_RELATIONS
            of_relation = together | (triples[:, 1] == leak.relation_id)
            counted |= hit_rows[leak.side][split] & of_relation
    if both_ends is not None:
        counted &= both_ends[triples[:, 0]] & both_ends[triples[:, 2]]
    return int(counted.sum())


def _ordered(leaks: Iterable[RelationLeak]) -> list[RelationLeak]:
    def position(leak: RelationLeak) -> tuple[bool, bool, int, int, str, str]:
        test = leak.splits["test"]
        first = leak.relation_id != ALL_RELATIONS, not leak.flagged
        return *first, -test.hits, -test.triples, leak.relation, leak.side

    return sorted(leaks, key=position)


def _relation_labels(graph: KnowledgeGraph) -> list[str]:
    """Return the name of each relation, or its identifier if several share the name."""
    names = [graph.relation_label(relation) for relation in range(graph.n_relations)]
    several = {name for name, count in Counter(names).items() if count > 1}
    return [
        identifier if name in several else name
        for name, identifier in zip(names, graph.relations, strict=True)
    ]


def _key(relation: Ids | int, first: Ids, second: Ids, graph: KnowledgeGraph) -> Ids:
    return np.asarray((relation * graph.n_entities + first) * graph.n_entities + second)
