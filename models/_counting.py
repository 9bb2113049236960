"""Counts of train triples by relation, side and entity."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.index import GraphIndex, Side

__all__ = ["side_counts"]


def side_counts(index: GraphIndex) -> dict[Side, Tensor]:
    """Count the distinct train triples of each relation and entity, by side of the entity.

    Returns:
        side -> counts float32 [R, N].
    """
    head, relation, tail = torch.unique(index.train, dim=0).unbind(1)
    counts: dict[Side, Tensor] = {}
    sides: tuple[tuple[Side, Tensor], ...] = (("head", head), ("tail", tail))
    for side, entity in sides:
        # float32 counts are exact below 2**24; an int64 matrix would be twice as large.
        counts[side] = torch.zeros(index.n_relations, index.n_entities, device=entity.device)
        cell = relation * index.n_entities + entity
        counts[side].view(-1).scatter_add_(0, cell, torch.ones_like(cell, dtype=torch.float))
    return counts
