"""Cleaned variants of datasets: ``tiva@clean``, and likewise of every other dataset.

The rule. Entities, relations and features keep their ids, and rows keep their order. Rows are only
removed, in these steps:

1. In each split, rows that repeat an earlier row.
2. From valid, rows that are in test; from train, rows that are in valid or test.
3. From train, rows that imply a row of valid or test by a symmetric, inverse or duplicate relation
   (:mod:`harness.data.leakage`). With fewer rows, other relations may pass the threshold, so the
   step is repeated until it removes nothing.

So test keeps every distinct query and loses its leaks: a figure on a cleaned variant answers the
same queries as one on the official splits. FB15k-237 (Toutanova and Chen 2015) drops redundant
relations and the valid and test rows that train connects, WN18RR (Dettmers et al. 2018) the
redundant relations. Dropping rows of valid and test instead is not feasible: it would leave 71 of
DB15K's 9904 valid rows, and 242 of TIVA's 2000 test rows.

The cost: an entity that occurs in train only with a leaked answer becomes unseen. Seeds are derived
from the digest of the splits, so runs on a cleaned variant are not paired by seed with runs on the
official splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.data.audit import count_splits, facts_of, sentences
from harness.data.card import DatasetCard, DatasetSource, FeatureSource
from harness.data.features import FeatureSet
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.leakage import CONFIDENCE, SUPPORT, Facts, Mask, find_rules
from harness.errors import ConfigError, suggest

__all__ = ["CLEAN", "CleanSource", "Removed", "clean", "derived"]

CLEAN = "clean"
"""Suffix of a cleaned variant, after the ``@``."""


@dataclass(frozen=True)
class Removed:
    """Number of rows removed from a split, with the reason."""

    split: str
    reason: str
    rows: int


def clean(
    graph: KnowledgeGraph, *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> tuple[KnowledgeGraph, tuple[Removed, ...]]:
    """Remove repeated and leaked rows from a graph.

    Args:
        graph: the official splits.
        confidence, support: least values of a rule between relations.

    Returns:
        the graph, named ``<name>@clean``, with the removals in its notes; and the removals
        themselves, without those of 0 rows.
    """
    splits, removed = facts_of(graph), []

    def drop(split: str, rows: Mask, reason: str) -> None:
        splits[split] = splits[split][~rows]
        removed.append(Removed(split, reason, int(rows.sum())))

    for split in SPLITS:
        drop(split, splits[split].repeats(), "repeat an earlier one")
    test = splits["test"]
    drop("valid", splits["valid"].are_in(test), "stand in test")
    evaluated = splits["valid"] + test
    drop("train", splits["train"].are_in(evaluated), "stand in valid or test")
    leaking = _leaking_rows(splits["train"], evaluated, confidence, support)
    drop("train", leaking, "imply one of valid or test")
    counts = tuple(r for r in removed if r.rows)
    cleaned = replace(
        graph,
        name=f"{graph.name}@{CLEAN}",
        splits={split: torch.from_numpy(splits[split].triples) for split in SPLITS},
    )
    # No rules: none leaks anything after the last step.
    return replace(cleaned, notes=(*_summary(counts), *sentences(count_splits(splits, ())))), counts


def derived(source: DatasetSource, text: str) -> CleanSource:
    """Return the source named ``<dataset>@<text>``.

    Raises:
        ConfigError: ``text`` is not "clean".
    """
    if text != CLEAN:
        name = source.card.name
        raise ConfigError(f"dataset '{name}@{text}': no '@{text}'{suggest(text, [CLEAN])}")
    return CleanSource(source)


class CleanSource(DatasetSource):
    """A dataset with cleaned splits and the features of the original.

    Args:
        base: the dataset.
    """

    def __init__(self, base: DatasetSource) -> None:
        self.base = base
        self.card = _card(base.card)

    def graph(self) -> KnowledgeGraph:
        """Read and clean the graph; see :class:`DatasetSource`."""
        return clean(self.base.graph())[0]

    @property
    def feature_sets(self) -> Mapping[str, str]:
        """Name -> description; see :class:`DatasetSource`."""
        return self.base.feature_sets

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Build or read a feature set; see :class:`DatasetSource`."""
        return self.base.features(name, graph)

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a set without reading it; see :class:`DatasetSource`."""
        return self.base.modalities(features)

    def originals(self, features: str) -> tuple[FeatureSource, ...]:
        """Return the originals of a set; see :class:`DatasetSource`."""
        return self.base.originals(features)

    def missing_originals(self, features: str) -> list[FeatureSource]:
        """Return the missing originals of a set; see :class:`DatasetSource`."""
        return self.base.missing_originals(features)

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a set; see :class:`DatasetSource`."""
        return self.base.texts(features, graph)

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return the sizes of a set that must be encoded; see :class:`DatasetSource`."""
        return self.base.unencoded(features, graph)


def _leaking_rows(train: Facts, evaluated: Facts, confidence: float, support: int) -> Mask:
    """Return the mask of the train rows that imply a row of ``evaluated`` by some rule."""
    removed = np.zeros(len(train), np.bool_)
    while True:
        remaining = train[~removed]
        rules = find_rules(remaining + evaluated, confidence=confidence, support=support)
        leaking = remaining.give_away(evaluated, rules)
        if not leaking.any():
            return removed
        removed[np.flatnonzero(~removed)[leaking]] = True


def _summary(removed: tuple[Removed, ...]) -> tuple[str, ...]:
    counts = "; ".join(f"{r.rows} {r.split} rows that {r.reason}" for r in removed)
    return (f"The official splits without {counts}." if counts else "Nothing had to be cleaned.",)


def _card(base: DatasetCard) -> DatasetCard:
    pinned = base.clean
    return base.model_copy(
        update={
            "name": f"{base.name}@{CLEAN}",
            "title": f"{base.title} (clean)",
            "aliases": tuple(f"{alias}@{CLEAN}" for alias in base.aliases),
            "description": f"{base.title} without repeated rows and leaks into valid and test",
            "counts": pinned.counts if pinned else {},
            "misprinted": {},
            "digest": pinned.digest if pinned else "",
            "clean": None,
            "leaked": {},
            "source": f"{base.source}; cleaned by harness.data.derive",
            "notes": (),
        }
    )
