"""Splits of a graph that is one file: train, valid and test without leaks, by a seed.

All triples between the same two entities, in either direction and with any relation, are in the
same split, so no triple of valid or test follows from one of train by a symmetric, inverse or
duplicate relation. Repeated triples are dropped. Three kinds:

============== =================================================================================
transductive   every entity and relation of valid and test is in train
cold           the same, but a share of the triples of valid and test has one entity, of which
               train says nothing; the other end is in train (new entities, features needed)
inductive      train, valid and test have no entity in common, only relations; triples between
               their entities are dropped (Teru et al. 2020, "Inductive relation prediction by
               subgraph reasoning")
============== =================================================================================

The result depends on the set of triples and the seed, not on the order of the lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.graph import SPLITS
from harness.errors import ConfigError, DataError, suggest

__all__ = ["KINDS", "SplitGraph", "split_triples"]

Triple = tuple[str, str, str]
KINDS = ("transductive", "cold", "inductive")


@dataclass(frozen=True)
class SplitGraph:
    """Three splits, and what became of the triples.

    Attributes:
        triples: split -> triples, sorted.
        report: what was dropped and moved, one sentence each.
    """

    triples: dict[str, list[Triple]]
    report: tuple[str, ...]


def split_triples(
    triples: Sequence[Triple],
    *,
    seed: int = 0,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    kind: str = "transductive",
    cold: float = 0.5,
) -> SplitGraph:
    """Split triples by a seed.

    Args:
        triples: head, relation, tail.
        seed: random seed.
        ratios: weights of train, valid and test; their shares are these divided by the sum.
        kind: "transductive", "cold" or "inductive".
        cold: share of the triples of valid and test with an unseen entity, for "cold".

    Raises:
        ConfigError: an impossible ratio, kind or share.
        DataError: the graph is too small for three splits.
    """
    shares = _shares(ratios)
    if kind not in KINDS:
        raise ConfigError(f"--kind {kind}: unknown kind of split{suggest(kind, KINDS)}")
    if not 0 < cold <= 1:
        raise ConfigError(f"--cold {cold:g}: a share above 0 and at most 1")
    distinct = sorted(set(triples))
    report = []
    if repeated := len(triples) - len(distinct):
        report.append(f"{repeated:,} repeated triples were dropped")
    splitter = _Splitter(distinct, shares, np.random.default_rng(seed), report)
    splits = splitter.inductive() if kind == "inductive" else splitter.split(
        cold if kind == "cold" else 0.0
    )  # fmt: skip
    for split in SPLITS:
        if not splits[split]:
            raise DataError(
                f"{len(distinct):,} triples: none is left for {split}; the graph is too small or "
                "too sparse for this kind of split, or the ratio too low"
            )
    report += _sizes(splits, shares)
    return SplitGraph({split: sorted(splits[split]) for split in SPLITS}, tuple(report))


def _shares(ratios: Sequence[float]) -> tuple[float, float, float]:
    if len(ratios) != len(SPLITS) or not all(0 < ratio < float("inf") for ratio in ratios):
        raise ConfigError("--ratios: three positive numbers for train, valid, test: 0.8,0.1,0.1")
    train, valid, test = (ratio / sum(ratios) for ratio in ratios)
    return train, valid, test


def _sizes(splits: dict[str, list[Triple]], shares: Sequence[float]) -> Iterator[str]:
    total = sum(map(len, splits.values()))
    for split, share in zip(SPLITS, shares, strict=True):
        actual = len(splits[split]) / total
        requested = f", requested: {share:.1%}" if abs(actual - share) > 0.01 else ""
        yield f"{split}: {len(splits[split]):,} triples ({actual:.1%}{requested})"


class _Splitter:
    """Splits distinct, sorted triples."""

    def __init__(
        self,
        triples: Sequence[Triple],
        shares: tuple[float, float, float],
        random: np.random.Generator,
        report: list[str],
    ) -> None:
        self.triples, self.shares, self.random, self.report = triples, shares, random, report
        self._unseen_entities: set[str] = set()
        self._seen_ends: set[str] = set()
        """Other ends of the triples of unseen entities, which must be in train."""

    # --- transductive and cold --------------------------------------------------------------

    def split(self, cold: float) -> dict[str, list[Triple]]:
        """Return splits of which a share ``cold`` of the evaluated triples has an unseen end."""
        quotas = {
            split: round(share * len(self.triples))
            for split, share in zip(SPLITS[1:], self.shares[1:], strict=True)
        }
        splits: dict[str, list[Triple]] = {split: [] for split in SPLITS}
        remaining_triples = list(self.triples)
        if cold:
            for split in ("test", "valid"):
                drawn, entities = self._unseen(remaining_triples, round(cold * quotas[split]))
                splits[split] += drawn
                removed = set(drawn)
                remaining_triples = [
                    triple for triple in remaining_triples if triple not in removed
                ]
                self.report.append(
                    f"{split}: {len(drawn):,} triples have one of {entities:,} entities that "
                    "are in no other split"
                )
        grouped = sum(len(group) for group in self._groups(remaining_triples) if len(group) > 1)
        needed, free_groups = self._needed(remaining_triples)
        for split in ("test", "valid"):
            room = quotas[split] - len(splits[split])
            while free_groups and room > 0:
                group = free_groups.pop()
                if len(group) <= room:
                    splits[split] += group
                    room -= len(group)
                else:
                    needed.append(group)
        splits["train"] = [triple for group in (*needed, *free_groups) for triple in group]
        self.report.append(
            f"{grouped:,} triples share their two entities with another one and stay with it, so "
            "none follows from an inverse or duplicate relation"
        )
        self.report.append(
            f"{sum(map(len, needed)):,} triples were kept in train, which would lack an entity or "
            "a relation without them"
        )
        return splits

    def _groups(self, triples: Iterable[Triple]) -> list[list[Triple]]:
        """Return the triples by their two entities, in a random order."""
        groups: dict[tuple[str, str], list[Triple]] = defaultdict(list)
        for triple in triples:
            head, _, tail = triple
            groups[min(head, tail), max(head, tail)].append(triple)
        ordered = list(groups.values())
        return [ordered[i] for i in self.random.permutation(len(ordered))]

    def _needed(self, triples: list[Triple]) -> tuple[list[list[Triple]], list[list[Triple]]]:
        """Return the groups that train needs to have each entity and relation, and the others."""
        covered_names: set[tuple[str, str]] = set()
        needed: list[list[Triple]] = []
        free_groups: list[list[Triple]] = []
        for group in self._groups(triples):
            names = {("entity", e) for h, _, t in group for e in (h, t)}
            names |= {("relation", r) for _, r, _ in group}
            (free_groups if names <= covered_names else needed).append(group)
            covered_names |= names
        return needed, free_groups

    def _unseen(self, triples: list[Triple], quota: int) -> tuple[list[Triple], int]:
        """Take all triples of some entities, so that the other ends and the relations stay.

        Returns:
            About ``quota`` triples, and the number of the entities.
        """
        incident: dict[str, list[Triple]] = defaultdict(list)
        left: Counter[tuple[str, str]] = Counter()
        for triple in triples:
            head, relation, tail = triple
            left["relation", relation] += 1
            for entity in dict.fromkeys((head, tail)):
                incident[entity].append(triple)
                left["entity", entity] += 1
        names = sorted(incident)
        drawn: list[Triple] = []
        n_entities = 0
        for i in self.random.permutation(len(names)):
            entity, triples_of_entity = names[i], incident[names[i]]
            if len(drawn) >= quota:
                break
            if entity in self._seen_ends or len(drawn) + len(triples_of_entity) > 1.1 * quota + 1:
                continue
            neighbours = {e for h, _, t in triples_of_entity for e in (h, t)} - {entity}
            uses = Counter(
                ("entity", e) for h, _, t in triples_of_entity for e in {h, t} - {entity}
            )
            uses += Counter(("relation", r) for _, r, _ in triples_of_entity)
            if neighbours & self._unseen_entities or any(
                left[name] <= n for name, n in uses.items()
            ):
                continue  # another entity or a relation would be unseen too
            left -= uses
            self._unseen_entities.add(entity)
            self._seen_ends |= neighbours
            drawn += triples_of_entity
            n_entities += 1
        return drawn, n_entities

    # --- inductive --------------------------------------------------------------------------

    def inductive(self) -> dict[str, list[Triple]]:
        """Return splits without a common entity."""
        neighbours: dict[str, set[str]] = defaultdict(set)
        for head, _, tail in self.triples:
            neighbours[head].add(tail)
            neighbours[tail].add(head)
        split_of: dict[str, str] = {}
        for split, share in (("test", self.shares[2]), ("valid", self.shares[1])):
            self._grow(split, share, neighbours, split_of)
        splits: dict[str, list[Triple]] = {split: [] for split in SPLITS}
        crossing = 0
        for triple in self.triples:
            head, tail = (split_of.get(entity, "train") for entity in (triple[0], triple[2]))
            if head == tail:
                splits[head].append(triple)
            else:
                crossing += 1
        train_relations = {relation for _, relation, _ in splits["train"]}
        unknown = 0
        for split in SPLITS[1:]:
            remaining = [triple for triple in splits[split] if triple[1] in train_relations]
            unknown += len(splits[split]) - len(remaining)
            splits[split] = remaining
        self.report.append(
            f"{crossing:,} triples between entities of two splits were dropped, and "
            f"{unknown:,} with a relation that train lacks"
        )
        return splits

    def _grow(
        self, split: str, share: float, neighbours: dict[str, set[str]], split_of: dict[str, str]
    ) -> None:
        """Give entities to a split, neighbours of each other, until it has its share of triples."""
        quota, count = share * len(self.triples), 0
        degree: Counter[frozenset[str]] = Counter(
            frozenset((head, tail)) for head, _, tail in self.triples
        )
        names = [name for name in sorted(neighbours) if name not in split_of]
        starts = [names[i] for i in self.random.permutation(len(names))]
        queue: list[str] = []
        while count < quota and (queue or starts):
            entity = queue.pop(0) if queue else starts.pop()
            if entity in split_of:
                continue
            near = sorted(neighbours[entity])
            count += sum(degree[frozenset((entity, e))] for e in near
                         if split_of.get(e) == split or e == entity)  # fmt: skip
            split_of[entity] = split
            queue += [near[i] for i in self.random.permutation(len(near))]
