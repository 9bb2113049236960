"""AdaMF's score and weights against their formulas, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.model import Model
from tests.unit.models.conftest import (
    FEATURES,
    PRESENT,
    TRIPLES,
    Vector,
    make,
    moduli,
    rotated,
    score_of,
    weights_of,
)


def fused(model: Model, e: int) -> tuple[Vector, dict[str, float]]:
    w = weights_of(model)
    vectors = {"structure": w["entity"][e]}
    for i, name in enumerate(("image", "text")):
        if PRESENT[name][e]:
            x = FEATURES[name][e]
            if model.config.variant == "released":
                x = w[f"features.{i}.matrix"][e]
            vectors[name] = w[f"project.{i}.weight"] @ x + w[f"project.{i}.bias"]
    logits = np.array([w["attention"] @ np.tanh(v) for v in vectors.values()])
    shares = np.exp(logits) / np.exp(logits).sum()
    joint = sum(share * v for share, v in zip(shares, vectors.values(), strict=True))
    return joint, dict(zip(vectors, shares, strict=True))


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_rotates_the_weighted_sum_of_what_an_entity_has(
    triple: tuple[int, int, int], variant: str
) -> None:
    model = make("adamf", variant=variant)
    head, relation, tail = triple
    phase = weights_of(model)["relation"][relation] * np.pi / ((3.0 + 2.0) / 4)
    distance = moduli(rotated(fused(model, head)[0], phase) - fused(model, tail)[0])
    assert score_of(model, triple) == pytest.approx(3 - distance, abs=1e-4)


def test_weights_are_told_by_modality() -> None:
    model = make("adamf")
    told = model.fusion_weights(torch.arange(6))
    for e in range(6):
        expected = fused(model, e)[1]
        for name, shares in told.items():
            assert float(shares[e]) == pytest.approx(expected.get(name, 0.0), abs=1e-4)
    of_text = told["text"][torch.tensor(PRESENT["text"])]
    assert model.diagnostics()["weight/text"] == pytest.approx(float(of_text.mean()), abs=1e-4)
