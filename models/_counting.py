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
        flat = torch.bincount(
            relation * index.n_entities + entity, minlength=index.n_relations * index.n_entities
        )
        counts[side] = flat.view(index.n_relations, index.n_entities).float()
    return counts
