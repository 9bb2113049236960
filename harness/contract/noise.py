"""Modalities of noise for the small graph, and what they become when something is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.index import Modality, Tokens

__all__ = ["altered", "dirtied", "make_modality", "of_some", "reordered"]

ARBITRARY = 7.0
"""Features of an entity that has none; not zero, so that reading them shows."""


def make_modality(name: str, entities: int, width: int, seed: int) -> Modality:
    """Return noise that seven entities in ten have, and the first has not; texts are tokens."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(entities, generator=generator) < 0.7
    present[0] = False
    matrix = torch.randn(entities, width, generator=generator) * present[:, None]
    made = Modality(name, matrix, present)
    return _with_tokens(made) if name == "text" else made


def altered(modality: Modality, **changes: Any) -> Modality:
    """Return the modality with other features; its tokens are made again."""
    made = replace(modality, tokens=None, **changes)
    return made if modality.tokens is None else _with_tokens(made)


def dirtied(modality: Modality) -> Modality:
    """Return the modality with features and tokens of entities that have none."""
    present, tokens = modality.present[:, None], modality.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=torch.where(present, tokens.ids, 1))
    return replace(modality, matrix=torch.where(present, modality.matrix, ARBITRARY), tokens=tokens)


def of_some(modality: Modality, some: Tensor) -> Modality:
    """Return the modality of some entities ([N] boolean) alone."""
    present = modality.present & some
    tokens = None if modality.tokens is None else modality.tokens.of(present)
    return Modality(modality.name, modality.matrix * present[:, None], present, tokens)


def reordered(modality: Modality, order: Tensor) -> Modality:
    """Return the modality of entities in another order ([N], new id -> old id)."""
    tokens = modality.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=tokens.ids[order])
    return Modality(modality.name, modality.matrix[order], modality.present[order], tokens)


def _with_tokens(modality: Modality) -> Modality:
    """Make each entity of up to three tokens: its own, twice, and what some others have too."""
    codebook = torch.cat([modality.matrix, modality.matrix.mean(0, keepdim=True)])
    own = torch.arange(len(modality.present))
    shared = torch.where(own % 3 > 0, len(own), -1)
    tokens = Tokens(codebook, torch.stack([own, own, shared], 1)).of(modality.present)
    return replace(modality, tokens=tokens)
