"""What makes figures on a dataset misleading, counted.

Repeated rows, valid and test rows that train holds or implies, entities and relations that train
never mentions, answers that need no question. :mod:`harness.data.verify` checks files and published
counts; here only the triples are looked at, so any folder that can be read can be audited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.card import DatasetSource
from harness.data.feature_audit import FeatureCount, count_features
from harness.data.feature_leaks import SetLeaks, audit_features
from harness.data.features import FeatureTable
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.leakage import CONFIDENCE, SUPPORT, Facts, Kind, Mask, Rule, find_rules
from harness.data.names import NameFinding, NameKind, audit_names, excess_names
from harness.data.verify import default_features
from harness.errors import MissingDataError
from harness.index import Side

__all__ = [
    "ALLOWED",
    "CONSTANT",
    "Audit",
    "AuditReport",
    "ConstantAnswer",
    "RuleCount",
    "SplitCount",
    "audit",
    "audit_source",
    "count_splits",
    "facts_of",
    "features_at_hand",
    "rules_of",
    "sentences",
]

ALLOWED = 0.01
"""Share of valid or test that train may give away where nothing else is said."""

CONSTANT = 0.75
"""A relation has a constant answer when so many of its train facts share it. The kind is type 1 of
Rossi, Firmani and Merialdo 2021 ("Knowledge Graph Embeddings or Bias Graph Embeddings? A Study of
Bias in Link Prediction Models"); three quarters is a choice of this project."""

_HANDFUL = 5
"""Up to so many repeated or shared rows no sentence is due."""


@dataclass(frozen=True)
class SplitCount:
    """What one split holds; all numbers count rows."""

    rows: int
    repeats: int
    """Rows that repeat an earlier row of the split."""
    loops: int
    """Rows whose head is the tail."""
    in_train: int
    """Rows that stand in train (0 for train itself)."""
    in_valid: int
    """Rows that stand in valid (0 for train and valid)."""
    implied: int
    """Rows that do not stand in train but that a row of train implies by a rule (0 for train)."""
    implied_by: Mapping[Kind, int]
    """The same by kind of rule; a row may count under several."""
    unseen: int
    """Rows with an entity or relation that never occurs in train."""

    @property
    def leaked(self) -> int:
        """Rows that stand in train or are implied by it."""
        return self.in_train + self.implied

    @property
    def share(self) -> float:
        """``leaked`` over all rows, 0 for an empty split."""
        return self.leaked / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class RuleCount:
    """A rule, by the names of its relations, and what train gives away by it."""

    kind: Kind
    premise: str
    conclusion: str
    support: int
    confidence: float
    valid: int
    """Valid rows implied by train, those that stand in train included."""
    test: int
    """Test rows, likewise."""


@dataclass(frozen=True)
class ConstantAnswer:
    """A relation whose questions nearly always have one answer."""

    relation: str
    side: Side
    """What is asked for."""
    answer: str
    facts: int
    """Distinct facts of the relation in train."""
    share: float
    """Part of them that has the answer."""
    test: int
    """Test rows that have it."""


@dataclass(frozen=True)
class Audit:
    """What :func:`audit` found."""

    name: str
    digest: str
    """Of the graph: what results are stored with."""
    entities: int
    relations: int
    splits: Mapping[str, SplitCount]
    unseen_entities: int
    """Entities that never occur in train."""
    unseen_relations: int
    """Relations that never occur in train."""
    rules: tuple[RuleCount, ...]
    constants: tuple[ConstantAnswer, ...]

    @property
    def leaked(self) -> float:
        """Greatest share of valid or test that stands in train or is implied by it."""
        return max(self.splits["valid"].share, self.splits["test"].share)


@dataclass(frozen=True)
class AuditReport:
    """The audit of a dataset beside what its card acknowledges."""

    title: str
    found: Audit
    feature_set: str
    """Feature set whose rows were counted, "" when none was."""
    features: tuple[FeatureCount, ...]
    acknowledged: Mapping[str, int]
    """Rows of valid and test that the card says train gives away."""
    allowed: float
    """Greatest share of valid or test beyond what is acknowledged."""
    clean: Mapping[str, int]
    """Pinned sizes of the cleaned variant, {} where it is not pinned."""
    names: tuple[NameFinding, ...] = ()
    """Identifiers that are easily confused."""
    name_excess: tuple[NameFinding, ...] = ()
    """Those of them that nobody has acknowledged."""
    leaks: tuple[SetLeaks, ...] = ()
    """What features tell of the other end of triples; of the feature set that was named."""

    @property
    def excess(self) -> tuple[str, ...]:
        """The splits of which train gives more away than is acknowledged or allowed."""
        return tuple(
            split
            for split in ("valid", "test")
            if (count := self.found.splits[split]).leaked
            > max(self.acknowledged.get(split, 0), self.allowed * count.rows)
        )

    @property
    def feature_excess(self) -> tuple[tuple[str, str, str], ...]:
        """Feature set, modality and split of which more is told than is acknowledged."""
        return tuple((leaks.feature_set, *pair) for leaks in self.leaks for pair in leaks.excess)


def audit_source(
    source: DatasetSource,
    features: str | None = None,
    allowed: float = ALLOWED,
    names: Sequence[NameKind] = (),
) -> AuditReport:
    """Audit a dataset, and the rows of a feature set where one is at hand.

    A feature set that is named is audited for leaks too.

    Args:
        source: the dataset.
        features: feature set to look at; when not given, the one that
            :func:`harness.data.verify.coverage` counts, or the user's own files.
        allowed: share of valid or test that train may give away without the card's word.
        names: kinds of confusable identifiers that are meant, beside those of the card.

    Raises:
        MissingDataError: the dataset is not on this machine, or the features asked for are not.
        ConfigError: there is no such feature set.
        DataError: a file is wrong.
    """
    graph, card = source.graph(), source.card
    name, tables = features_at_hand(source, graph, features)
    findings = audit_names(graph)
    return AuditReport(
        title=card.title,
        found=audit(graph),
        feature_set=name,
        features=count_features(tables),
        acknowledged=card.leaked,
        allowed=allowed,
        clean=card.clean.counts if card.clean else {},
        names=findings,
        name_excess=excess_names(findings, card.lookalikes, names),
        leaks=(audit_features(source, name, graph, tables),) if features and tables else (),
    )


def features_at_hand(
    source: DatasetSource, graph: KnowledgeGraph, features: str | None = None
) -> tuple[str, Mapping[str, FeatureTable]]:
    """Return the feature set asked for, else the first that is read from files that are here.

    Returns:
        its name and tables; "" and {} when none is here.

    Raises:
        MissingDataError, ConfigError, DataError: of the features asked for.
    """
    if features is not None:
        return features, source.features(features, graph).tables
    for name in (default_features(source) or "", "files"):
        if name in source.feature_sets:
            try:
                return name, source.features(name, graph).tables
            except MissingDataError:
                continue
    return "", {}


def facts_of(graph: KnowledgeGraph) -> dict[str, Facts]:
    """Return the triples of each split."""
    sizes = graph.n_entities, graph.n_relations
    return {split: Facts(graph.splits[split].numpy(), *sizes) for split in SPLITS}


def rules_of(
    facts: Mapping[str, Facts], *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> tuple[Rule, ...]:
    """Return the rules that hold in all splits together; see :func:`find_rules`."""
    every = facts["train"] + facts["valid"] + facts["test"]
    return find_rules(every, confidence=confidence, support=support)


def count_splits(facts: Mapping[str, Facts], rules: tuple[Rule, ...]) -> dict[str, SplitCount]:
    """Return what each split holds.

    Args:
        facts: of the splits (:func:`facts_of`).
        rules: by which train may imply a row.
    """
    seen = _seen(facts["train"])
    return {split: _count(split, facts, rules, seen) for split in SPLITS}


def audit(
    graph: KnowledgeGraph, *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> Audit:
    """Count what makes figures on a graph misleading.

    Args:
        graph: any.
        confidence, support: least values of a rule between relations.

    Time is that of sorting the triples, and of a sparse product of relations x pairs of entities.
    """
    facts = facts_of(graph)
    rules = rules_of(facts, confidence=confidence, support=support)
    entity_seen, relation_seen = _seen(facts["train"])
    return Audit(
        name=graph.name,
        digest=graph.digest,
        entities=graph.n_entities,
        relations=graph.n_relations,
        splits=count_splits(facts, rules),
        unseen_entities=int((~entity_seen).sum()),
        unseen_relations=int((~relation_seen).sum()),
        rules=tuple(_rule_count(rule, facts, graph) for rule in rules),
        constants=_constants(facts, graph),
    )


def sentences(splits: Mapping[str, SplitCount]) -> tuple[str, ...]:
    """Return what a reader of figures should know, one sentence each; () when all is well.

    They stand in the notes of the datasets' cards and below tables.
    """
    told: list[str] = []
    for split, count in splits.items():
        rows = f"of {count.rows} {split} rows"
        if count.repeats > _HANDFUL:
            told.append(f"{count.repeats} {split} rows repeat an earlier one.")
        if count.in_train:
            told.append(f"{count.in_train} {rows} stand in train.")
        if count.implied > _HANDFUL:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in count.implied_by.items() if n)
            told.append(f"{count.implied} {rows} are implied by train through {kinds} relations.")
        if count.in_valid > _HANDFUL:
            told.append(f"{count.in_valid} {rows} stand in valid.")
        if split == "test" and count.unseen:
            told.append(f"{count.unseen} {rows} hold an entity or relation that train does not.")
    return tuple(told)


def _count(
    split: str, facts: Mapping[str, Facts], rules: tuple[Rule, ...], seen: tuple[Mask, Mask]
) -> SplitCount:
    own, train = facts[split], facts["train"]
    entity_seen, relation_seen = seen
    head, relation, tail = own.triples.T
    known = entity_seen[head] & relation_seen[relation] & entity_seen[tail]
    nothing = np.zeros(len(own), np.bool_)
    in_train = nothing if split == "train" else own.are_in(train)
    by_kind: dict[Kind, Mask] = {}
    for kind in ("symmetric", "inverse", "duplicate"):
        of_kind = tuple(rule for rule in rules if rule.kind == kind)
        implied = nothing if split == "train" else own.given_away(train, of_kind)
        by_kind[kind] = implied & ~in_train
    return SplitCount(
        rows=len(own),
        repeats=int(own.repeats().sum()),
        loops=int((head == tail).sum()),
        in_train=int(in_train.sum()),
        in_valid=int(own.are_in(facts["valid"]).sum()) if split == "test" else 0,
        implied=int(np.logical_or.reduce(list(by_kind.values())).sum()),
        implied_by={kind: int(rows.sum()) for kind, rows in by_kind.items()},
        unseen=int((~known).sum()),
    )


def _seen(train: Facts) -> tuple[Mask, Mask]:
    """Return masks [N] and [R]: what occurs in train."""
    head, relation, tail = train.triples.T
    entities = np.zeros(train.n_entities, np.bool_)
    relations = np.zeros(train.n_relations, np.bool_)
    entities[head] = entities[tail] = relations[relation] = True
    return entities, relations


def _rule_count(rule: Rule, facts: Mapping[str, Facts], graph: KnowledgeGraph) -> RuleCount:
    rows = {
        split: int(facts[split].given_away(facts["train"], (rule,)).sum())
        for split in ("valid", "test")
    }
    return RuleCount(
        kind=rule.kind,
        premise=graph.relation_label(rule.premise),
        conclusion=graph.relation_label(rule.conclusion),
        support=rule.support,
        confidence=rule.confidence,
        **rows,
    )


def _constants(facts: Mapping[str, Facts], graph: KnowledgeGraph) -> tuple[ConstantAnswer, ...]:
    train, test = facts["train"], facts["test"]
    distinct = train.distinct()
    size = np.bincount(distinct[:, 1], minlength=train.n_relations)
    found = []
    sides: tuple[tuple[Side, int], ...] = (("tail", 2), ("head", 0))
    for side, column in sides:
        # One number per (relation, answer).
        asked = distinct[:, 1] * train.n_entities + distinct[:, column]
        answers, counts = np.unique(asked, return_counts=True)
        facts_of_relation = size[answers // train.n_entities]
        often = (facts_of_relation >= SUPPORT) & (counts >= CONSTANT * facts_of_relation)
        for answer, n in zip(answers[often], counts[often], strict=True):
            relation, entity = divmod(int(answer), train.n_entities)
            same = (test.triples[:, 1] == relation) & (test.triples[:, column] == entity)
            found.append(
                ConstantAnswer(
                    relation=graph.relation_label(relation),
                    side=side,
                    answer=graph.entity_label(entity),
                    facts=int(size[relation]),
                    share=float(n / size[relation]),
                    test=int(same.sum()),
                )
            )
    return tuple(sorted(found, key=lambda c: (-c.test, -c.facts, c.relation, c.side)))
