"""IKRL's score against its formula, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model import Model
from tests.unit.models.conftest import (
    FEATURES,
    PRESENT,
    TRIPLES,
    Vector,
    l1,
    make,
    score_of,
    unit_of,
    weights_of,
)

HAS = PRESENT["image"]


def shorten(x: Vector) -> Vector:
    return x / max(1.0, np.sqrt((x**2).sum()))


def expected(model: Model, head: int, relation: int, tail: int) -> float:
    """The sum of the distances that can be told, scaled to four."""
    released, weights = model.config.variant == "released", weights_of(model)
    scaled = unit_of if released else shorten

    def vectors(e: int) -> list[Vector]:
        found = [scaled(weights["entity"][e])]
        if HAS[e] and released:
            x = weights["image.matrix"][e]
            found.append(scaled(weights["project.weight"] @ x + weights["project.bias"]))
        elif HAS[e]:
            found.append(scaled(weights["project.weight"] @ unit_of(FEATURES["image"][e])))
        return found

    r = scaled(weights["relation"][relation])
    return 3.0 - 4 * float(np.mean([l1(h + r - t) for h in vectors(head) for t in vectors(tail)]))


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_the_energies_of_what_both_have(
    triple: tuple[int, int, int], variant: str
) -> None:
    model = make("ikrl", variant=variant)
    assert score_of(model, triple) == pytest.approx(expected(model, *triple), abs=1e-4)


def test_features_are_parameters_in_the_variant_that_fine_tunes_them() -> None:
    assert "image.matrix" not in make("ikrl").state_dict()
    matrix = make("ikrl", variant="released").state_dict()["image.matrix"]
    assert matrix.shape == FEATURES["image"].shape


def test_other_modalities_are_not_read() -> None:
    alone, beside = make("ikrl", modalities=("image",)), make("ikrl")
    assert [score_of(alone, t) for t in TRIPLES] == [score_of(beside, t) for t in TRIPLES]
