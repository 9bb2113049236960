"""Leakage between splits: rows that occur in both, and rows that imply each other.

A *rule* (r -> s) holds if nearly all pairs of entities connected by r are also connected by s, in
the same or the opposite order: then a fact of r on two entities implies the fact of s.

=========  =============================  ============================================
kind       rule                           example (MKG-W, MKG-Y)
=========  =============================  ============================================
symmetric  (h, r, t) -> (t, r, h)         spouse
inverse    (h, r, t) -> (t, s, h)         follows -> followed by
duplicate  (h, r, t) -> (h, s, t)         playsFor -> isAffiliatedTo
=========  =============================  ============================================

*Support* is the number of pairs (of two different entities) that both relations connect,
*confidence* is support over the pairs of r; both are counted over the distinct facts of all splits
together.

Rules need a confidence of 0.8, the threshold of Akrami et al. 2020 ("Realistic Re-evaluation of
Knowledge Graph Completion Methods: An Experimental Study", SIGMOD) for reverse and duplicate
relations, who require it in both directions; Dettmers et al. 2018 ("Convolutional 2D Knowledge
Graph Embeddings", AAAI; WN18RR) require implication in one direction, as done here. Toutanova and
Chen 2015 ("Observed versus latent features for knowledge base and text inference", CVSC; FB15k-237)
use 0.97. The support of 5 is a choice of this project: below it, a single fact moves a relation
across the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "SUPPORT", "Facts", "Kind", "Rule", "find_rules"]

CONFIDENCE = 0.8
"""Minimum confidence of a rule."""
SUPPORT = 5
"""Minimum support of a rule."""

Kind = Literal["symmetric", "inverse", "duplicate"]

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """Facts of ``premise`` imply facts of ``conclusion``; both are relation ids."""

    kind: Kind
    premise: int
    conclusion: int
    support: int
    """Pairs of entities for which the rule holds."""
    confidence: float
    """``support`` over the pairs of ``premise``."""

    @property
    def turns(self) -> bool:
        """True if the conclusion has head and tail exchanged."""
        return self.kind != "duplicate"


@dataclass(frozen=True, eq=False)
class Facts:
    """Triples [n, 3] of a graph with N entities and R relations, as (head, relation, tail)."""

    triples: Ids
    n_entities: int
    n_relations: int

    @cached_property
    def keys(self) -> Ids:
        """int64 [n], one number below N * N * R per triple, equal for equal triples."""
        return self._keys(*self.triples.T)

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, rows: Mask) -> Facts:
        """Return the triples of a mask bool [n]."""
        return Facts(self.triples[rows], self.n_entities, self.n_relations)

    def __add__(self, other: Facts) -> Facts:
        triples = np.concatenate([self.triples, other.triples])
        return Facts(triples, self.n_entities, self.n_relations)

    def repeats(self) -> Mask:
        """Return the mask bool [n] of triples that repeat an earlier row."""
        repeated = np.ones(len(self), np.bool_)
        repeated[np.unique(self.keys, return_index=True)[1]] = False
        return repeated

    def distinct(self) -> Ids:
        """Return each triple once, in the order of the rows; int64 [m, 3]."""
        return self.triples[~self.repeats()]

    def are_in(self, facts: Facts) -> Mask:
        """Return the mask bool [n] of triples that ``facts`` contains."""
        return np.isin(self.keys, facts.keys)

    def given_away(self, premises: Facts, rules: tuple[Rule, ...]) -> Mask:
        """Return the mask bool [n] of triples implied, by a rule, by a triple of ``premises``."""
        implied = np.zeros(len(self), np.bool_)
        row, key = self._premises(rules)
        implied[row[np.isin(key, premises.keys)]] = True
        return implied

    def give_away(self, conclusions: Facts, rules: tuple[Rule, ...]) -> Mask:
        """Return the mask bool [n] of triples that imply one of ``conclusions`` by a rule."""
        return np.isin(self.keys, conclusions._premises(rules)[1])

    def _premises(self, rules: tuple[Rule, ...]) -> tuple[Ids, Ids]:
        """Return rows int64 [p] and the keys int64 [p] of facts that would imply their triples."""
        rows, keys = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        head, relation, tail = self.triples.T
        for rule in rules:
            row = np.flatnonzero(relation == rule.conclusion)
            first, last = (tail, head) if rule.turns else (head, tail)
            rows.append(row)
            keys.append(self._keys(first[row], np.int64(rule.premise), last[row]))
        return np.concatenate(rows), np.concatenate(keys)

    def _keys(self, head: Ids, relation: Ids | np.int64, tail: Ids) -> Ids:
        return (relation * self.n_entities + head) * self.n_entities + tail


def find_rules(
    facts: Facts, *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> tuple[Rule, ...]:
    """Return the rules that hold in a graph, by descending support.

    Args:
        facts: facts of all splits together; repeated triples count once.
        confidence, support: minimum values.
    """
    from scipy import sparse

    distinct = facts.distinct()
    head, relation, tail = distinct[distinct[:, 0] != distinct[:, 2]].T
    n = len(head)
    pairs = np.concatenate([head * facts.n_entities + tail, tail * facts.n_entities + head])
    numbers, pair = np.unique(pairs, return_inverse=True)
    shape = facts.n_relations, len(numbers)
    counts = np.ones(n, np.int64)
    straight = sparse.csr_array((counts, (relation, pair[:n])), shape=shape)
    reversed_pairs = sparse.csr_array((counts, (relation, pair[n:])), shape=shape)
    size = np.bincount(relation, minlength=facts.n_relations)
    rules = []
    for turns, partner in ((False, straight), (True, reversed_pairs)):
        # [R, R]: number of pairs that both relations connect, in the same or the opposite order
        common = (straight @ partner.T).tocoo()
        premise, conclusion = common.coords
        sure = common.data / size[premise]
        holds = (common.data >= support) & (sure >= confidence)
        holds &= turns | (premise != conclusion)
        rules += [
            Rule(_kind(turns, int(p), int(c)), int(p), int(c), int(n), float(share))
            for p, c, n, share in zip(
                premise[holds], conclusion[holds], common.data[holds], sure[holds], strict=True
            )
        ]
    return tuple(sorted(rules, key=lambda r: (-r.support, r.premise, r.conclusion, r.kind)))


def _kind(turns: bool, premise: int, conclusion: int) -> Kind:
    if not turns:
        return "duplicate"
    return "symmetric" if premise == conclusion else "inverse"
