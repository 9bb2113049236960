"""Audit of a dataset: counts of everything that makes figures on it misleading.

Repeated rows, valid and test rows that train contains or implies, entities and relations that train
never mentions, queries with a constant answer. :mod:`harness.data.verify` checks files and
published counts; the audit reads only triples, so it works for every folder that can be read.
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
"""Share of valid or test that may leak from train by default."""

CONSTANT = 0.75
"""Share of a relation's train facts with the same answer, from which it is constant. Type 1 of
Rossi, Firmani and Merialdo 2021 ("Knowledge Graph Embeddings or Bias Graph Embeddings? A Study of
Bias in Link Prediction Models"); three quarters is a choice of this project."""

_HANDFUL = 5
"""Up to this number of repeated or shared rows no note is printed."""


@dataclass(frozen=True)
class SplitCount:
    """Row counts of one split."""

    rows: int
    repeats: int
    """Rows that repeat an earlier row of the split."""
    loops: int
    """Rows whose head equals their tail."""
    in_train: int
    """Rows that are also in train (0 for train itself)."""
    in_valid: int
    """Rows that are also in valid (0 for train and valid)."""
    implied: int
    """Rows not in train that a row of train implies by a rule (0 for train)."""
    implied_by: Mapping[Kind, int]
    """``implied`` by kind of rule; a row may count for several kinds."""
    unseen: int
    """Rows with an entity or relation that never occurs in train."""

    @property
    def leaked(self) -> int:
        """Rows that train contains or implies."""
        return self.in_train + self.implied

    @property
    def share(self) -> float:
        """``leaked`` over all rows, 0 for an empty split."""
        return self.leaked / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class RuleCount:
    """One rule between relations, and the rows that leak by it."""

    kind: Kind
    premise: str
    conclusion: str
    support: int
    confidence: float
    valid: int
    """Valid rows implied by train, including rows that are in train."""
    test: int
    """Test rows implied by train, including rows that are in train."""


@dataclass(frozen=True)
class ConstantAnswer:
    """A relation whose queries in one direction nearly always have the same answer."""

    relation: str
    side: Side
    """Side of the answer."""
    answer: str
    facts: int
    """Distinct facts of the relation in train."""
    share: float
    """Share of ``facts`` with the answer."""
    test: int
    """Test rows with the answer."""


@dataclass(frozen=True)
class Audit:
    """Result of :func:`audit`."""

    name: str
    digest: str
    """Digest of the graph, stored with every result."""
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
        """Larger of the shares of valid and test that train contains or implies."""
        return max(self.splits["valid"].share, self.splits["test"].share)


@dataclass(frozen=True)
class AuditReport:
    """The audit of a dataset, with the leaks that its card acknowledges."""

    title: str
    found: Audit
    feature_set: str
    """Feature set whose rows were counted; "" for none."""
    features: tuple[FeatureCount, ...]
    acknowledged: Mapping[str, int]
    """Leaked rows of valid and test according to the card."""
    allowed: float
    """Largest share of valid or test that may leak beyond the card."""
    clean: Mapping[str, int]
    """Pinned sizes of the cleaned variant; {} where it is not pinned."""
    names: tuple[NameFinding, ...] = ()
    """Identifiers that are easily confused."""
    name_excess: tuple[NameFinding, ...] = ()
    """Confusable identifiers that neither the card nor the user acknowledges."""
    leaks: tuple[SetLeaks, ...] = ()
    """Leaks of the feature set that was named."""

    @property
    def excess(self) -> tuple[str, ...]:
        """Splits that leak more rows than is acknowledged or allowed."""
        return tuple(
            split
            for split in ("valid", "test")
            if (count := self.found.splits[split]).leaked
            > max(self.acknowledged.get(split, 0), self.allowed * count.rows)
        )

    @property
    def feature_excess(self) -> tuple[tuple[str, str, str], ...]:
        """Feature set, modality and split that leak more than is acknowledged."""
        return tuple((leaks.feature_set, *pair) for leaks in self.leaks for pair in leaks.excess)


def audit_source(
    source: DatasetSource,
    features: str | None = None,
    allowed: float = ALLOWED,
    names: Sequence[NameKind] = (),
) -> AuditReport:
    """Audit a dataset, and the rows of a feature set if one is available.

    A named feature set is also audited for leaks.

    Args:
        source: the dataset.
        features: feature set; by default the one that :func:`harness.data.verify.coverage` counts,
            or the user's own files.
        allowed: share of valid or test that may leak without the card's acknowledgement.
        names: kinds of confusable identifiers that are intended, in addition to the card's.

    Raises:
        MissingDataError: the dataset or the named features are not on this machine.
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
    """Return the named feature set, else the first whose files are on this machine.

    Returns:
        name and tables; "" and {} without any.

    Raises:
        MissingDataError, ConfigError, DataError: reading the named features failed.
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
    """Count the rows of each split.

    Args:
        facts: triples of each split (:func:`facts_of`).
        rules: rules by which a row of train may imply another.
    """
    occurring = _occurring(facts["train"])
    return {split: _count(split, facts, rules, occurring) for split in SPLITS}


def audit(
    graph: KnowledgeGraph, *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> Audit:
    """Count repeats, leaks and constant answers of a graph.

    Args:
        graph: any knowledge graph.
        confidence, support: minimum confidence and support of a rule.

    Cost: sorting the triples, and one sparse product [relations, pairs of entities].
    """
    facts = facts_of(graph)
    rules = rules_of(facts, confidence=confidence, support=support)
    entity_seen, relation_seen = _occurring(facts["train"])
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
    """Return one sentence per problem of the splits; () without problems.

    They are the notes of dataset cards, printed below tables.
    """
    lines: list[str] = []
    for split, count in splits.items():
        rows = f"of {count.rows} {split} rows"
        if count.repeats > _HANDFUL:
            lines.append(f"{count.repeats} {split} rows repeat an earlier one.")
        if count.in_train:
            lines.append(f"{count.in_train} {rows} stand in train.")
        if count.implied > _HANDFUL:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in count.implied_by.items() if n)
            lines.append(f"{count.implied} {rows} are implied by train through {kinds} relations.")
        if count.in_valid > _HANDFUL:
            lines.append(f"{count.in_valid} {rows} stand in valid.")
        if split == "test" and count.unseen:
            lines.append(f"{count.unseen} {rows} hold an entity or relation that train does not.")
    return tuple(lines)


def _count(
    split: str, facts: Mapping[str, Facts], rules: tuple[Rule, ...], occurring: tuple[Mask, Mask]
) -> SplitCount:
    rows, train = facts[split], facts["train"]
    entity_seen, relation_seen = occurring
    head, relation, tail = rows.triples.T
    all_occur = entity_seen[head] & relation_seen[relation] & entity_seen[tail]
    none = np.zeros(len(rows), np.bool_)
    in_train = none if split == "train" else rows.are_in(train)
    by_kind: dict[Kind, Mask] = {}
    for kind in ("symmetric", "inverse", "duplicate"):
        of_kind = tuple(rule for rule in rules if rule.kind == kind)
        implied = none if split == "train" else rows.given_away(train, of_kind)
        by_kind[kind] = implied & ~in_train
    return SplitCount(
        rows=len(rows),
        repeats=int(rows.repeats().sum()),
        loops=int((head == tail).sum()),
        in_train=int(in_train.sum()),
        in_valid=int(rows.are_in(facts["valid"]).sum()) if split == "test" else 0,
        implied=int(np.logical_or.reduce(list(by_kind.values())).sum()),
        implied_by={kind: int(rows.sum()) for kind, rows in by_kind.items()},
        unseen=int((~all_occur).sum()),
    )


def _occurring(train: Facts) -> tuple[Mask, Mask]:
    """Return bool masks [N] of the entities and [R] of the relations that occur in train."""
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
    constants = []
    sides: tuple[tuple[Side, int], ...] = (("tail", 2), ("head", 0))
    for side, column in sides:
        # One number per (relation, answer).
        queries = distinct[:, 1] * train.n_entities + distinct[:, column]
        answers, counts = np.unique(queries, return_counts=True)
        facts_of_relation = size[answers // train.n_entities]
        often = (facts_of_relation >= SUPPORT) & (counts >= CONSTANT * facts_of_relation)
        for answer, n in zip(answers[often], counts[often], strict=True):
            relation, entity = divmod(int(answer), train.n_entities)
            matches = (test.triples[:, 1] == relation) & (test.triples[:, column] == entity)
            constants.append(
                ConstantAnswer(
                    relation=graph.relation_label(relation),
                    side=side,
                    answer=graph.entity_label(entity),
                    facts=int(size[relation]),
                    share=float(n / size[relation]),
                    test=int(matches.sum()),
                )
            )
    return tuple(sorted(constants, key=lambda c: (-c.test, -c.facts, c.relation, c.side)))
