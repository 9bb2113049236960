"""What models, samplers and the ranker know of a graph: its sizes and its known answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

__all__ = ["GraphIndex", "KnownAnswers", "Modality", "Side"]

Side = Literal["head", "tail"]
"""The side that is predicted: ``"tail"`` for (h, r, ?), ``"head"`` for (?, r, t)."""


class KnownAnswers:
    """For every query the entities that are known to answer it, as sorted keys.

    A query is (anchor, relation, side): the anchor is the head when the tail is predicted and the
    tail when the head is. Memory is O(triples); nothing of size [queries, entities] is made.

    Args:
        triples: [n, 3] (head, relation, tail), any order, duplicates allowed.
        n_entities: number of entities N.
        n_relations: number of relations R.
    """

    def __init__(self, triples: Tensor, n_entities: int, n_relations: int) -> None:
        self.n_entities = n_entities
        self.n_relations = n_relations
        head, relation, tail = triples.long().unbind(1)
        self._keys: dict[Side, Tensor] = {
            "tail": torch.unique((head * n_relations + relation) * n_entities + tail),
            "head": torch.unique((tail * n_relations + relation) * n_entities + head),
        }

    def to(self, device: torch.device | str) -> KnownAnswers:
        """Return the same answers on ``device``."""
        moved = object.__new__(KnownAnswers)
        moved.n_entities, moved.n_relations = self.n_entities, self.n_relations
        moved._keys = {side: keys.to(device) for side, keys in self._keys.items()}
        return moved

    def lookup(self, anchors: Tensor, relations: Tensor, side: Side) -> tuple[Tensor, Tensor]:
        """Return the known answers of each query in CSR form.

        Args:
            anchors, relations: [q] ids.
            side: the side that is predicted.

        Returns:
            offsets [q + 1] and ids [offsets[-1]]; the answers of query i are
            ``ids[offsets[i]:offsets[i + 1]]``, ascending.
        """
        keys = self._keys[side]
        base = (anchors.long() * self.n_relations + relations.long()) * self.n_entities
        start = torch.searchsorted(keys, base)
        counts = torch.searchsorted(keys, base + self.n_entities) - start
        offsets = torch.zeros(len(base) + 1, dtype=torch.long, device=keys.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        within = torch.arange(int(offsets[-1]), device=keys.device)
        row = torch.repeat_interleave(counts)
        ids = keys[start[row] + within - offsets[row]] - base[row]
        return offsets, ids

    def contains(
        self, anchors: Tensor, relations: Tensor, candidates: Tensor, side: Side
    ) -> Tensor:
        """Return a boolean tensor: is the candidate a known answer of its query?

        Args:
            anchors, relations, candidates: ids that broadcast against each other.
        """
        keys = self._keys[side]
        wanted = (anchors.long() * self.n_relations + relations) * self.n_entities + candidates
        if not len(keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        return keys[place] == wanted


@dataclass(frozen=True)
class Modality:
    """What is known of the entities in one modality.

    Attributes:
        name: ``"text"``, ``"image"``, ``"numeric"``, ``"audio"``, ``"video"`` or a user's own.
        matrix: [N, d] features, one row per entity; rows of entities without it are zero.
        present: [N] boolean: which entities have it.
    """

    name: str
    matrix: Tensor
    present: Tensor


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
    def known(self) -> KnownAnswers:
        """Known answers in train alone."""
        return KnownAnswers(self.train, self.n_entities, self.n_relations)

    @cached_property
    def seen(self) -> Tensor:
        """[N] boolean: entities that occur in a training triple."""
        seen = torch.zeros(self.n_entities, dtype=torch.bool)
        seen[self.train[:, 0]] = True
        seen[self.train[:, 2]] = True
        return seen
