"""What models, samplers and the ranker know of a graph: its sizes and its known answers."""

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
"""The side that is predicted: ``"tail"`` for (h, r, ?), ``"head"`` for (?, r, t)."""


class Pairs(NamedTuple):
    """Rows listed for each of q queries: p pairs of a query and a row, in CSR form.

    The rows of query i are ``indices[indptr[i]:indptr[i + 1]]``.

    Attributes:
        indptr: [q + 1] int64, not decreasing, from 0 to p.
        indices: [p] int64 row ids, by query.
    """

    indptr: Tensor
    indices: Tensor

    @classmethod
    def from_sizes(cls, sizes: Tensor, indices: Tensor) -> Pairs:
        """Return pairs of which query i has ``sizes[i]``, in the order of ``indices`` [p]."""
        return cls(pad(torch.cumsum(sizes, 0), (1, 0)), indices)

    @classmethod
    def from_matrix(cls, rows: Tensor) -> Pairs:
        """Return the pairs of each query i with the rows ``rows[i]`` of a matrix [q, k]."""
        queries, each = rows.shape
        return cls(torch.arange(queries + 1, device=rows.device) * each, rows.flatten())

    @classmethod
    def one_each(cls, rows: Tensor) -> Pairs:
        """Return the pairs of each query i with one row, ``rows[i]`` ([q])."""
        return cls.from_matrix(rows[:, None])

    @classmethod
    def none(cls, queries: int, device: torch.device | str = "cpu") -> Pairs:
        """Return no pairs, for the given number of queries."""
        return cls.from_matrix(torch.zeros(queries, 0, dtype=torch.long, device=device))

    @property
    def n_queries(self) -> int:
        """Number of queries q."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> Tensor:
        """[q] number of rows listed for each query."""
        return self.indptr.diff()

    @property
    def query_ids(self) -> Tensor:
        """[p] query of each pair, ascending; the host does not wait for the device."""
        return torch.repeat_interleave(self.sizes, output_size=len(self.indices))

    def split(self, bounds: Sequence[int]) -> list[Pairs]:
        """Return the pairs of queries ``bounds[0]:bounds[1]``, ``bounds[1]:bounds[2]``, ...

        Queries are counted from 0 in each. The host waits for the device once.
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
    """For every query the entities that are known to answer it, as sorted keys.

    A query is (anchor, relation, side): the anchor is the head when the tail is predicted and the
    tail when the head is. Memory is O(triples); nothing of size [queries, entities] is made, and no
    method reads a value back from the device but ``lookup``.

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
        # One sorted array for both sides: all queries of a batch are one search.
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
        """Return the same answers on ``device``."""
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
        """Return a boolean tensor: is the candidate a known answer of its query?

        Args:
            anchors, relations, candidates: ids that broadcast against each other.
        """
        wanted = self._base_of_side(anchors, relations, side) + candidates
        if not len(self._keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self._keys, wanted).clamp_(max=len(self._keys) - 1)
        found: Tensor = self._keys[place] == wanted
        return found

    def free(self, triples: Tensor) -> Free:
        """Return what it takes to draw entities that make no known triple of positives [b, 3]."""
        # What a query knows is looked up once, not once per corruption.
        head, relation, tail = triples.unbind(1)
        replaced = torch.ones_like(head, dtype=torch.bool)
        base = torch.stack(
            [self._base(head, relation, replaced), self._base(tail, relation, ~replaced)]
        )
        start = torch.searchsorted(self._keys, base)
        counts = torch.searchsorted(self._keys, base + self.n_entities) - start
        return Free(self.n_entities, base, start, counts, self._gaps)

    @cached_property
    def _gaps(self) -> Tensor:
        """Keys with the place in their query subtracted: base + (free entities before it)."""
        query = torch.div(self._keys, self.n_entities, rounding_mode="floor")
        first = torch.searchsorted(query, query)
        gaps: Tensor = self._keys - (torch.arange(len(query), device=query.device) - first)
        return gaps


@dataclass(frozen=True)
class Tokens:
    """What entities consist of in one modality: rows of a codebook that nothing trains.

    Attributes:
        codebook: [V, c] vectors.
        ids: [N, m] rows of the codebook, in order, -1 behind an entity's last; m is the longest
            list's length. An entity without the modality has none.
    """

    codebook: Tensor
    ids: Tensor

    def of(self, present: Tensor) -> Tokens:
        """Return these tokens without those of entities that are not ``present`` ([N])."""
        return Tokens(self.codebook, torch.where(present[:, None], self.ids, -1))


@dataclass(frozen=True)
class Modality:
    """What is known of the entities in one modality.

    Attributes:
        name: ``"text"``, ``"image"``, ``"numeric"``, ``"audio"``, ``"video"`` or a user's own.
        matrix: [N, d] features, one row per entity; rows of entities without it are zero.
        present: [N] boolean: which entities have it.
        tokens: what the rows of ``matrix`` are the means of; None: an entity is one vector.
    """

    name: str
    matrix: Tensor
    present: Tensor
    tokens: Tokens | None = None


@dataclass(frozen=True)
class GraphIndex:
    """The part of a graph that a model may see: sizes and training triples.

    Attributes:
        n_entities: N.
        n_relations: R.
        train: [n, 3] training triples (head, relation, tail).
        dataset: digest of the dataset, for seeds.
    """

    n_entities: int
    n_relations: int
    train: Tensor
    dataset: str = ""

    @cached_property
    def train_filter(self) -> FilterIndex:
        """Known answers in train alone."""
        return FilterIndex(self.train, self.n_entities, self.n_relations)

    @cached_property
    def seen_entities(self) -> Tensor:
        """[N] boolean: entities that occur in a training triple."""
        seen_entities = torch.zeros(self.n_entities, dtype=torch.bool)
        seen_entities[self.train[:, 0]] = True
        seen_entities[self.train[:, 2]] = True
        return seen_entities

    def has_seen_entities(self, triples: Tensor) -> Tensor:
        """Return which triples [n, 3] have a head and a tail that occur in train: [n] boolean."""
        return self.seen_entities[triples[:, 0]] & self.seen_entities[triples[:, 2]]
