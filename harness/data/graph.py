"""A knowledge graph in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import DataError, LockedSplitError
from harness.index import GraphIndex, KnownAnswers

__all__ = ["SPLITS", "KnowledgeGraph"]

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class KnowledgeGraph:
    """Entities, relations and the three splits.

    Attributes:
        name: canonical dataset name ("mkg-w").
        entities: identifier of each entity, position = id.
        relations: identifier of each relation, position = id.
        splits: "train", "valid", "test" -> int64 [n, 3] (head, relation, tail); rows are kept as
            the files hold them, duplicates included.
        entity_names: what a person calls each entity ("" when unknown); empty tuple when there
            are none at all, then ``entities`` are shown.
        relation_names: likewise.
        notes: what a reader should know of these splits; printed under tables.
    """

    name: str
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    splits: Mapping[str, Tensor]
    entity_names: tuple[str, ...] = ()
    relation_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for split in SPLITS:
            triples = self.splits.get(split)
            if triples is None or triples.dtype != torch.int64 or triples.shape[1:] != (3,):
                raise DataError(f"{self.name}: split '{split}' must be an int64 tensor [n, 3]")
            if not len(triples):
                continue
            limits = (len(self.entities), len(self.relations), len(self.entities))
            for column, (what, limit) in enumerate(
                zip(("head", "relation", "tail"), limits, strict=True)
            ):
                low, high = int(triples[:, column].min()), int(triples[:, column].max())
                if low < 0 or high >= limit:
                    bad = low if low < 0 else high
                    raise DataError(
                        f"{self.name}: split '{split}' has {what} id {bad}, "
                        f"but ids run from 0 to {limit - 1}"
                    )

    @property
    def n_entities(self) -> int:
        """N."""
        return len(self.entities)

    @property
    def n_relations(self) -> int:
        """R."""
        return len(self.relations)

    @cached_property
    def digest(self) -> str:
        """sha256 over identifiers and splits (16 hex digits): what a result was obtained on."""
        h = hashlib.sha256()
        for names in (self.entities, self.relations):
            h.update(str(len(names)).encode())
            for item in names:
                h.update(item.encode() + b"\0")
        for split in SPLITS:
            h.update(split.encode())
            h.update(self.splits[split].contiguous().numpy().tobytes())
        return h.hexdigest()[:16]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digests that tell what differs between two graphs whose ``digest`` differs.

        "triples" is the same for the same triples of names in any order; "entities" and "relations"
        are over the identifiers in the order of their ids.
        """
        entities, relations = _places(self.entities), _places(self.relations)
        h = hashlib.sha256(repr((sorted(self.entities), sorted(self.relations))).encode())
        for split in SPLITS:
            heads, middle, tails = self.splits[split].numpy().T
            rows = np.stack([entities[heads], relations[middle], entities[tails]])
            h.update(split.encode() + rows[:, np.lexsort(rows)].tobytes())
        return {
            "triples": h.hexdigest()[:16],
            "entities": hashlib.sha256(repr(self.entities).encode()).hexdigest()[:16],
            "relations": hashlib.sha256(repr(self.relations).encode()).hexdigest()[:16],
        }

    @cached_property
    def index(self) -> GraphIndex:
        """What models and samplers may see: sizes and train."""
        return GraphIndex(self.n_entities, self.n_relations, self.splits["train"], self.digest)

    def known(self, splits: tuple[str, ...] = SPLITS) -> KnownAnswers:
        """Known answers in the union of ``splits`` (the filter of an evaluation)."""
        # None at all: raw ranks.
        triples = torch.cat([self.splits["train"][:0], *(self.splits[s] for s in splits)])
        return KnownAnswers(triples, self.n_entities, self.n_relations)

    def locked(self) -> KnowledgeGraph:
        """Return the graph with its test split locked away: asking for it is an error.

        Sizes, names, the digest and what train and valid hold are the same.
        """
        assert self.digest  # it is over all splits, so it is computed before
        blind = copy.copy(self)
        object.__setattr__(blind, "splits", _Locked(self.splits, self.name))
        return blind

    def entity_label(self, entity: int) -> str:
        """Return what to show for an entity: its name, or its identifier."""
        return (self.entity_names[entity] if self.entity_names else "") or self.entities[entity]

    def relation_label(self, relation: int) -> str:
        """Return what to show for a relation."""
        names = self.relation_names
        return (names[relation] if names else "") or self.relations[relation]


def _places(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each name among the sorted names, so that ids depend on names alone."""
    places = np.empty(len(names), dtype=np.int64)
    places[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return places


class _Locked(Mapping[str, Tensor]):
    """Splits of which the last cannot be read."""

    def __init__(self, splits: Mapping[str, Tensor], name: str) -> None:
        self._splits, self._name = splits, name

    def __getitem__(self, split: str) -> Tensor:
        if split == "test":
            raise LockedSplitError(
                f"dataset '{self._name}': the test split is locked until the run is validated"
            )
        return self._splits[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)
