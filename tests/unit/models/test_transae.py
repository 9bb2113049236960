"""TransAE's score and reconstruction against their formulas, written out in numpy."""

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
    has_any,
    l1,
    make,
    score_of,
    unit_of,
    weights_of,
)

HIDDEN = 3


def logistic(x: Vector) -> Vector:
    return 1 / (1 + np.exp(-x))


def scaled(name: str) -> Vector:
    """Columns from 0 to 1 among those that have the modality."""
    owners = FEATURES[name][PRESENT[name]]
    return (FEATURES[name] - owners.min(0)) / (owners.max(0) - owners.min(0))


def code(model: Model, e: int) -> Vector:
    w = weights_of(model)
    hidden = np.zeros(2 * HIDDEN)
    for i, name in enumerate(("image", "text")):
        if PRESENT[name][e]:
            inward = w[f"coders.{i}.inward.weight"] @ scaled(name)[e]
            part = logistic(inward + w[f"coders.{i}.inward.bias"])
            hidden[i * HIDDEN : (i + 1) * HIDDEN] = part
    total = w["code.weight"] @ hidden + w["code.bias"]
    if model.config.structure == "all" or not has_any(e):
        total = total + w["entity"][e]
    return logistic(total)


@pytest.mark.parametrize("structure", ["missing", "all"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_translates_codes(triple: tuple[int, int, int], structure: str) -> None:
    model = make("transae", hidden=HIDDEN, structure=structure)
    head, relation, tail = triple
    r = weights_of(model)["relation"][relation]
    expected = 3 - l1(code(model, head) + r - code(model, tail))
    assert score_of(model, triple) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("triple", TRIPLES)
def test_the_released_variant_is_transe_on_learned_vectors(triple: tuple[int, int, int]) -> None:
    model = make("transae", variant="released")
    w, (head, relation, tail) = weights_of(model), triple
    h, r, t = (unit_of(x) for x in (w["entity"][head], w["relation"][relation], w["entity"][tail]))
    assert score_of(model, triple) == pytest.approx(3 - l1(h + r - t), abs=1e-4)


def test_the_released_variant_reads_no_features() -> None:
    model_class = type(make("transae"))
    assert model_class.capabilities_of({}).reads_features
    assert not model_class.capabilities_of({"variant": "released"}).reads_features


def test_codes_give_back_the_features_of_heads_and_of_tails() -> None:
    model = make("transae", hidden=HIDDEN, reconstruction=1.5).train()
    w, triples = weights_of(model), np.array(TRIPLES)
    expected = 0.0
    for column in (0, 2):
        for i, name in enumerate(("image", "text")):
            lost = []
            for e in (e for e in triples[:, column] if PRESENT[name][e]):
                x = code(model, e)
                for layer in (0, 2):
                    place = f"coders.{i}.outward.{layer}"
                    x = logistic(w[f"{place}.weight"] @ x + w[f"{place}.bias"])
                lost.append((x - scaled(name)[e]) ** 2)
            expected += np.mean(lost)
    entities = torch.tensor([3, 0, 1, 2, 4, 5])  # rows of the tables are not ids
    rows = entities.argsort()[torch.tensor(triples[:, [0, 2]])]
    penalty = model.penalty(model.encode(entities), rows, torch.tensor(triples[:, 1]))
    assert float(penalty.detach()) == pytest.approx(1.5 * expected, abs=1e-4)
