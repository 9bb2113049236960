"""A graph of six entities with features, for scores that are worked out by hand in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.catalog import build_model
from harness.index import GraphIndex, Modality
from harness.model import Model

Vector = NDArray[Any]

N, R, DIM = 6, 2, 4
PRESENT = {
    "image": np.array([True, True, False, False, True, False]),
    "text": np.array([True, False, True, False, True, False]),
}
FEATURES = {
    name: np.random.default_rng(seed).normal(size=(N, width))
    for seed, (name, width) in enumerate({"image": 3, "text": 5}.items())
}
TRIPLES = [(0, 0, 4), (1, 1, 2), (4, 0, 3), (5, 1, 0), (3, 0, 5), (4, 1, 4)]
"""Both ends have all, one of two each, the head alone has some, the tail alone, neither; a loop."""


def make(name: str, *, modalities: tuple[str, ...] = ("image", "text"), **options: Any) -> Model:
    """Return a model whose parameters are neither small nor large."""
    offered = {
        key: Modality(
            key, torch.tensor(FEATURES[key] * PRESENT[key][:, None]), torch.tensor(PRESENT[key])
        )
        for key in modalities
    }
    index = GraphIndex(N, R, torch.tensor(TRIPLES), "d")
    model = build_model(name, {"dim": DIM, "margin": 3.0, **options}, index, offered)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.6)
    return model.eval()


def weights_of(model: Model) -> dict[str, Vector]:
    return {key: value.detach().numpy() for key, value in model.named_parameters()}


def score_of(model: Model, triple: tuple[int, int, int]) -> float:
    with torch.no_grad():
        return float(model.score_triples(torch.tensor([triple])))


def has_any(e: int) -> bool:
    return any(bool(present[e]) for present in PRESENT.values())


def features(e: int, weights: dict[str, Vector] | None = None, *, unit: bool = False) -> Vector:
    """Features of all modalities side by side, zeros where absent.

    Args:
        e: the entity.
        weights: parameters that hold the features, in the order of the modalities' names.
        unit: divide each modality's by their norm.
    """
    parts = []
    for i, name in enumerate(sorted(FEATURES)):
        x = FEATURES[name][e]
        if weights is not None and PRESENT[name][e]:
            x = weights[f"modal.tables.{i}.matrix"][e]
        x = unit_of(x) if unit else x
        parts.append(x if PRESENT[name][e] else np.zeros_like(x))
    return np.concatenate(parts)


def unit_of(x: Vector) -> Vector:
    return x / np.sqrt((x**2).sum())


def l1(x: Vector) -> float:
    return float(np.abs(x).sum())


def moduli(x: Vector) -> float:
    real, imaginary = np.split(x, 2)
    return float(np.sqrt(real**2 + imaginary**2).sum())


def rotated(x: Vector, phase: Vector) -> Vector:
    real, imaginary = np.split(x, 2)
    turned = (real + 1j * imaginary) * np.exp(1j * phase)
    return np.concatenate([turned.real, turned.imag])


ESTIMATORS = [
    "plugin",
    "mine_sep",
    "mine_cat",
    "mine_on_heads",
    "club",
    "club_momok",
    "infonce",
    "cosine",
]
"""Estimators of MoCME's mutual information."""
