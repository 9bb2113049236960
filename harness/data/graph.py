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
from harness.index import FilterIndex, GraphIndex

__all__ = ["SPLITS", "KnowledgeGraph"]

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, repr=False)
class KnowledgeGraph:
    """Entities, relations and the three splits.

    Attributes:
        name: canonical name of the dataset ("mkg-w").
        entities: identifier of each entity, position = id.
        relations: identifier of each relation, position = id.
        splits: "train", "valid", "test" -> int64 [n, 3] (head, relation, tail); rows are kept as in
            the files, duplicates included.
        entity_names: readable name of each entity, "" if unknown; () without any, so that
            ``entities`` are shown.
        relation_names: readable name of each relation, likewise.
        notes: remarks on these splits, printed below tables.
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
            for column, (column_name, limit) in enumerate(
                zip(("head", "relation", "tail"), limits, strict=True)
            ):
                low, high = int(triples[:, column].min()), int(triples[:, column].max())
                if low < 0 or high >= limit:
                    bad = low if low < 0 else high
                    raise DataError(
                        f"{self.name}: split '{split}' has {column_name} id {bad}, "
                        f"but ids run from 0 to {limit - 1}"
                    )

    def __str__(self) -> str:
        """Return name and size on one line."""
        triples = " / ".join(f"{len(self.splits[split]):,}" for split in SPLITS)
        return (
            f"{self.name}: {self.n_entities:,} entities, {self.n_relations:,} relations, "
            f"{triples} triples"
        )

    def __repr__(self) -> str:
        return f"<KnowledgeGraph {self}>"

    @property
    def n_entities(self) -> int:
        """Number of entities, N."""
        return len(self.entities)

    @property
    def n_relations(self) -> int:
        """Number of relations, R."""
        return len(self.relations)

    @cached_property
    def digest(self) -> str:
        """sha256 over identifiers and splits, 16 hex digits; identifies the data of a result."""
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
        """Digests that show the difference between two graphs with another ``digest``.

        "triples" is the same for the same triples of names in any order; "entities" and "relations"
        are over the identifiers in the order of their ids.
        """
        entities, relations = _ranks_of(self.entities), _ranks_of(self.relations)
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
        """Sizes and train triples, all that models and samplers may see."""
        return GraphIndex(self.n_entities, self.n_relations, self.splits["train"], self.digest)

    def filter_index(self, splits: tuple[str, ...] = SPLITS) -> FilterIndex:
        """Return the filter of an evaluation: the known answers in the union of ``splits``."""
        # Without splits the filter is empty, which gives raw ranks.
        triples = torch.cat([self.splits["train"][:0], *(self.splits[s] for s in splits)])
        return FilterIndex(triples, self.n_entities, self.n_relations)

    def require_triples(self, split: str, use: str) -> None:
        """Refuse a split without triples, naming its use ("to learn from").

        Raises:
            DataError: the split is empty.
            LockedSplitError: the split is locked.
        """
        if not len(self.splits[split]):
            raise DataError(f"dataset '{self.name}': {split} has no triples, nothing {use}")

    def locked(self) -> KnowledgeGraph:
        """Return a copy of the graph that raises LockedSplitError on access to its test split.

        Sizes, names, digest, train and valid are the same.
        """
        assert self.digest  # covers all splits, so it must be cached before the lock
        locked = copy.copy(self)
        object.__setattr__(locked, "splits", _Locked(self.splits, self.name))
        return locked

    def entity_label(self, entity: int) -> str:
        """Return the name of an entity, or its identifier."""
        return (self.entity_names[entity] if self.entity_names else "") or self.entities[entity]

    def relation_label(self, relation: int) -> str:
        """Return the name of a relation, or its identifier."""
        names = self.relation_names
        return (names[relation] if names else "") or self.relations[relation]


def _ranks_of(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the rank of each name in sorted order, independent of the order of ids; int64 [n]."""
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return ranks


class _Locked(Mapping[str, Tensor]):
    """Splits whose test split cannot be read."""

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
