"""Indexed views of a graph for models, samplers and the ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["FilterIndex", "Free", "GraphIndex", "Modality", "Pairs", "Side", "Tokens"]

Side = Literal["head", "tail"]
"""The predicted side: ``"tail"`` for (h, r, ?), ``"head"`` for (?, r, t)."""


class Pairs(NamedTuple):
    """p pairs of a query and a row, in CSR form.

    The rows of query i are ``indices[indptr[i]:indptr[i + 1]]``.

    Attributes:
        indptr: [q + 1] int64, not decreasing, from 0 to p.
        indices: [p] int64 row ids, by query.
    """

    indptr: Tensor
    indices: Tensor

    @classmethod
    def from_sizes(cls, sizes: Tensor, indices: Tensor) -> Pairs:
        """Return pairs with ``sizes[i]`` rows for query i, given the rows of all queries [p]."""
        return cls(pad(torch.cumsum(sizes, 0), (1, 0)), indices)

    @classmethod
    def from_matrix(cls, rows: Tensor) -> Pairs:
        """Return pairs of each query i and the k rows ``rows[i]`` of a matrix [q, k]."""
        queries, width = rows.shape
        return cls(torch.arange(queries + 1, device=rows.device) * width, rows.flatten())

    @classmethod
    def one_each(cls, rows: Tensor) -> Pairs:
        """Return pairs of each query i and one row ``rows[i]``, given ``rows`` [q]."""
        return cls.from_matrix(rows[:, None])

    @classmethod
    def none(cls, queries: int, device: torch.device | str = "cpu") -> Pairs:
        """Return empty pairs of the given number of queries."""
        return cls.from_matrix(torch.zeros(queries, 0, dtype=torch.long, device=device))

    @property
    def n_queries(self) -> int:
        """Number of queries q."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> Tensor:
        """[q] number of rows of each query."""
        return self.indptr.diff()

    @property
    def query_ids(self) -> Tensor:
        """[p] query of each pair, ascending; computed without synchronising with the device."""
        return torch.repeat_interleave(self.sizes, output_size=len(self.indices))

    def split(self, bounds: Sequence[int]) -> list[Pairs]:
        """Return the pairs of queries ``bounds[0]:bounds[1]``, ``bounds[1]:bounds[2]``, ...

        Each result counts its queries from 0. The host synchronises with the device once.
        """
        ends = self.indptr[torch.tensor(bounds, device=self.indptr.device)].tolist()
        return [
            Pairs(self.indptr[low : high + 1] - first, self.indices[first:last])
            for (low, high), (first, last) in zip(pairwise(bounds), pairwise(ends), strict=True)
        ]


class Free(NamedTuple):
    """Index of the entities outside the known answers of 2 b queries: b for tails, b for heads.

    Attributes:
        n_entities: N.
        base: [2, b] key of each query's entity 0.
        start: [2, b] position of its first known answer in ``gaps``.
        counts: [2, b] number of its known answers.
        gaps: the known answers of all queries, ascending; the j-th answer a_j of a query (from 0)
            is stored as base + (a_j - j), where a_j - j is the number of free entities before it.
    """

    n_entities: int
    base: Tensor
    start: Tensor
    counts: Tensor
    gaps: Tensor


class FilterIndex:
    """Index of the known answers of every query, for the filtered setting.

    A query is (anchor, relation, side); its anchor is the head if the tail is predicted, and else
    the tail. Answers are stored as sorted keys query * N + entity, in O(triples) memory. Only
    ``lookup`` synchronises with the device.

    Args:
        triples: [n, 3] (head, relation, tail), any order, duplicates allowed.
        n_entities: number of entities N.
        n_relations: number of relations R.
    """

    def __init__(self, triples: Tensor, n_entities: int, n_relations: int) -> None:
        self.n_entities = n_entities
        self.n_relations = n_relations
        head, relation, tail = triples.long().unbind(1)
        predicted_tail = torch.ones_like(head, dtype=torch.bool)
        # Both sides share one sorted array, so that one search finds all queries of a batch.
        self._keys = torch.unique(
            torch.cat(
                [
                    self._base(head, relation, predicted_tail) + tail,
                    self._base(tail, relation, ~predicted_tail) + head,
                ]
            )
        )

    def _base(self, anchors: Tensor, relations: Tensor, predicts_tail: Tensor) -> Tensor:
        """Return the first key of each query; its answers have keys base + entity."""
        query = (~predicts_tail) * (self.n_entities * self.n_relations)
        base: Tensor = (query + anchors * self.n_relations + relations) * self.n_entities
        return base

    def _base_of_side(self, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        flag = torch.full_like(anchors, side == "tail", dtype=torch.bool)
        return self._base(anchors.long(), relations, flag)

    def to(self, device: torch.device | str) -> FilterIndex:
        """Return the index on a device."""
        moved = object.__new__(FilterIndex)
        moved.n_entities, moved.n_relations = self.n_entities, self.n_relations
        moved._keys = self._keys.to(device)
        return moved

    def lookup(self, anchors: Tensor, relations: Tensor, side: Side) -> Pairs:
        """Return the known answers of each query, ascending within a query.

        Args:
            anchors, relations: [q] ids.
            side: the side that is predicted.
        """
        base = self._base_of_side(anchors, relations, side)
        start = torch.searchsorted(self._keys, base)
        counts = torch.searchsorted(self._keys, base + self.n_entities) - start
        indptr = pad(torch.cumsum(counts, 0), (1, 0))
        query = torch.repeat_interleave(counts)
        within = torch.arange(len(query), device=base.device) - indptr[query]
        return Pairs(indptr, self._keys[start[query] + within] - base[query])

    def contains(
        self, anchors: Tensor, relations: Tensor, candidates: Tensor, side: Side
    ) -> Tensor:
        """Return a bool tensor, True where the candidate is a known answer of its query.

        Args:
            anchors, relations, candidates: ids that broadcast against each other.
        """
        keys = self._base_of_side(anchors, relations, side) + candidates
        if not len(self._keys):
            return torch.zeros_like(keys, dtype=torch.bool)
        position = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        is_known: Tensor = self._keys[position] == keys
        return is_known

    def free(self, triples: Tensor) -> Free:
        """Return the free entities of positives [b, 3], for filtered negatives."""
        # One look-up per query instead of one per corruption.
        head, relation, tail = triples.unbind(1)
        replaces_tail = torch.ones_like(head, dtype=torch.bool)
        base = torch.stack(
            [self._base(head, relation, replaces_tail), self._base(tail, relation, ~replaces_tail)]
        )
        start = torch.searchsorted(self._keys, base)
        counts = torch.searchsorted(self._keys, base + self.n_entities) - start
        return Free(self.n_entities, base, start, counts, self._gaps)

    @cached_property
    def _gaps(self) -> Tensor:
        """Sorted keys minus their position within the query; see ``Free.gaps``."""
        query = torch.div(self._keys, self.n_entities, rounding_mode="floor")
        first = torch.searchsorted(query, query)
        gaps: Tensor = self._keys - (torch.arange(len(query), device=query.device) - first)
        return gaps


@dataclass(frozen=True)
class Tokens:
    """Token sequences of entities in one modality, with a frozen codebook.

    Attributes:
        codebook: [V, c] token vectors.
        ids: [N, m] rows of the codebook in order, padded with -1 to the longest sequence m;
            entities without the modality have padding only.
    """

    codebook: Tensor
    ids: Tensor

    def of(self, present: Tensor) -> Tokens:
        """Return the tokens with those of entities outside ``present`` ([N] bool) removed."""
        return Tokens(self.codebook, torch.where(present[:, None], self.ids, -1))


@dataclass(frozen=True)
class Modality:
    """Features of the entities in one modality.

    Attributes:
        name: ``"text"``, ``"image"``, ``"numeric"``, ``"audio"``, ``"video"`` or a user's own.
        matrix: [N, d] features, zero for entities without the modality.
        present: [N] bool mask of the entities with the modality.
        tokens: token sequences whose means are the rows of ``matrix``; None without tokens.
    """

    name: str
    matrix: Tensor
    present: Tensor
    tokens: Tokens | None = None


@dataclass(frozen=True)
class GraphIndex:
    """The part of a graph that is visible to models: sizes and training triples.

    Attributes:
        n_entities: N.
        n_relations: R.
        train: [n, 3] training triples (head, relation, tail).
        dataset: digest of the dataset, which seeds depend on.
    """

    n_entities: int
    n_relations: int
    train: Tensor
    dataset: str = ""

    @cached_property
    def train_filter(self) -> FilterIndex:
        """Known answers in the training triples."""
        return FilterIndex(self.train, self.n_entities, self.n_relations)

    @cached_property
    def seen_entities(self) -> Tensor:
        """[N] bool mask of the entities that occur in a training triple."""
        seen_entities = torch.zeros(self.n_entities, dtype=torch.bool)
        seen_entities[self.train[:, 0]] = True
        seen_entities[self.train[:, 2]] = True
        return seen_entities

    def has_seen_entities(self, triples: Tensor) -> Tensor:
        """Return a mask [n] (bool) of the triples [n, 3] whose head and tail occur in training."""
        return self.seen_entities[triples[:, 0]] & self.seen_entities[triples[:, 2]]
