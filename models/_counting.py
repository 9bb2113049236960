"""How often each entity stands on each side of each relation in train."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.index import GraphIndex, Side

__all__ = ["side_counts"]


def side_counts(index: GraphIndex) -> dict[Side, Tensor]:
    """Return per side an [R, N] float tensor: distinct train triples of r with e on that side."""
    head, relation, tail = torch.unique(index.train, dim=0).unbind(1)
    counts: dict[Side, Tensor] = {}
    sides: tuple[tuple[Side, Tensor], ...] = (("head", head), ("tail", tail))
    for side, entity in sides:
        # Counted in place and exactly (below 2**24): a matrix of integers would be twice as large.
        counts[side] = torch.zeros(index.n_relations, index.n_entities, device=entity.device)
        place = relation * index.n_entities + entity
        counts[side].view(-1).scatter_add_(0, place, torch.ones_like(place, dtype=torch.float))
    return counts
