"""Cleaned variants of datasets: ``tiva@clean``, and likewise of every other dataset.

The rule. Entities, relations and features stay as they are, with their ids; the order of the rows
too. Rows go, none is added or moved:

1. In each split, rows that repeat an earlier row.
2. From valid, rows that stand in test; from train, rows that stand in valid or test.
3. From train, rows that imply a row of valid or test by a symmetric, inverse or duplicate relation
   (:mod:`harness.data.leakage`). Fewer rows may bring other relations across the threshold, so
   the step is repeated until it finds nothing.

So test keeps every distinct question and what tells the answer goes; a figure on a cleaned variant
answers the same questions as one on the official splits. FB15k-237 (Toutanova and Chen 2015) drops
redundant relations and the valid and test rows that train connects, WN18RR (Dettmers et al. 2018)
the redundant relations. Dropping the rows of valid and test instead is no way here: it would leave
71 of DB15K's 9904 valid rows, and 242 of TIVA's 2000 test rows.

What the rule costs: an entity of which train told nothing but the answer is one that train never
mentions afterwards. Seeds are drawn from the digest of the splits, so runs on a cleaned
variant are not paired by seed with runs on the official splits.
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
"""What stands behind the ``@`` of a cleaned variant."""


@dataclass(frozen=True)
class Removed:
    """Rows that left a split."""

    split: str
    reason: str
    rows: int


def clean(
    graph: KnowledgeGraph, *, confidence: float = CONFIDENCE, support: int = SUPPORT
) -> tuple[KnowledgeGraph, tuple[Removed, ...]]:
    """Return a graph without repeated and leaked rows, and what was removed.

    Args:
        graph: the official splits.
        confidence, support: least values of a rule between relations.

    Returns:
        The graph, ``@clean`` behind its name, what was removed in its notes; and the counts,
        without those that are 0.
    """
    splits, removed = facts_of(graph), []

    def drop(split: str, rows: Mask, reason: str) -> None:
        splits[split] = splits[split][~rows]
        removed.append(Removed(split, reason, int(rows.sum())))

    for split in SPLITS:
        drop(split, splits[split].repeats(), "repeat an earlier one")
    test = splits["test"]
    drop("valid", splits["valid"].are_in(test), "stand in test")
    asked = splits["valid"] + test
    drop("train", splits["train"].are_in(asked), "stand in valid or test")
    telling = _telling(splits["train"], asked, confidence, support)
    drop("train", telling, "imply one of valid or test")
    left = tuple(r for r in removed if r.rows)
    cleaned = replace(
        graph,
        name=f"{graph.name}@{CLEAN}",
        splits={split: torch.from_numpy(splits[split].triples) for split in SPLITS},
    )
    # No rule gives anything away any more.
    return replace(cleaned, notes=(*_told(left), *sentences(count_splits(splits, ())))), left


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
    """A dataset with cleaned splits; features are those of the dataset.

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

    def lacking(self, features: str) -> list[FeatureSource]:
        """Return the originals that a set lacks; see :class:`DatasetSource`."""
        return self.base.lacking(features)

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a set; see :class:`DatasetSource`."""
        return self.base.texts(features, graph)

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return what would have to be encoded first; see :class:`DatasetSource`."""
        return self.base.unencoded(features, graph)


def _telling(train: Facts, asked: Facts, confidence: float, support: int) -> Mask:
    """Return the mask of the train rows that imply a row of ``asked``, until none is left."""
    gone = np.zeros(len(train), np.bool_)
    while True:
        left = train[~gone]
        rules = find_rules(left + asked, confidence=confidence, support=support)
        telling = left.give_away(asked, rules)
        if not telling.any():
            return gone
        gone[np.flatnonzero(~gone)[telling]] = True


def _told(removed: tuple[Removed, ...]) -> tuple[str, ...]:
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
