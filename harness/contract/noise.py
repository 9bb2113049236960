"""Modalities of noise for the small graph, and their modifications."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.index import Modality, Tokens

__all__ = ["altered", "dirtied", "make_modality", "of_some", "reordered"]

ARBITRARY = 7.0
"""Filler features of entities without the modality, not zero so that reading them has an effect."""


def make_modality(name: str, entities: int, width: int, seed: int) -> Modality:
    """Return noise for 70 % of the entities, not the first one; "text" consists of tokens."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(entities, generator=generator) < 0.7
    present[0] = False
    matrix = torch.randn(entities, width, generator=generator) * present[:, None]
    modality = Modality(name, matrix, present)
    return _with_tokens(modality) if name == "text" else modality


def altered(modality: Modality, **changes: Any) -> Modality:
    """Return the modality with changed features, and tokens made from them."""
    changed = replace(modality, tokens=None, **changes)
    return changed if modality.tokens is None else _with_tokens(changed)


def dirtied(modality: Modality) -> Modality:
    """Return the modality with filler features and tokens for entities without it."""
    present, tokens = modality.present[:, None], modality.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=torch.where(present, tokens.ids, 1))
    return replace(modality, matrix=torch.where(present, modality.matrix, ARBITRARY), tokens=tokens)


def of_some(modality: Modality, entities: Tensor) -> Modality:
    """Return the modality with only some entities (bool [N])."""
    present = modality.present & entities
    tokens = None if modality.tokens is None else modality.tokens.of(present)
    return Modality(modality.name, modality.matrix * present[:, None], present, tokens)


def reordered(modality: Modality, order: Tensor) -> Modality:
    """Return the modality with entities in another order (int64 [N], new id -> old id)."""
    tokens = modality.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=tokens.ids[order])
    return Modality(modality.name, modality.matrix[order], modality.present[order], tokens)


def _with_tokens(modality: Modality) -> Modality:
    """Give each entity up to three tokens: its own one twice, and a common one."""
    codebook = torch.cat([modality.matrix, modality.matrix.mean(0, keepdim=True)])
    ids = torch.arange(len(modality.present))
    shared = torch.where(ids % 3 > 0, len(ids), -1)
    tokens = Tokens(codebook, torch.stack([ids, ids, shared], 1)).of(modality.present)
    return replace(modality, tokens=tokens)
