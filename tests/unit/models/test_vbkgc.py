"""VBKGC's score against its formula, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model import Model
from tests.unit.models.conftest import (
    TRIPLES,
    Vector,
    features,
    has_any,
    make,
    moduli,
    rotated,
    score_of,
    weights_of,
)


def energy(model: Model, head: int, relation: int, tail: int) -> float:
    w, unit = weights_of(model), model.config.normalise == "l2"

    def vectors(e: int) -> tuple[Vector, Vector]:
        s = w["entity"][e]
        if not has_any(e):
            return s, s
        return s, w["modal.linear.weight"] @ features(e, unit=unit) + w["modal.linear.bias"]

    phase = w["relation"][relation] * np.pi / ((3.0 + 2.0) / 4)
    pairs = [(h, t) for h in vectors(head) for t in vectors(tail)]
    return sum(moduli(rotated(h, phase) - t) for h, t in pairs)


@pytest.mark.parametrize("normalise", ["none", "l2"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_four_rotated_distances(
    triple: tuple[int, int, int], normalise: str
) -> None:
    model = make("vbkgc", normalise=normalise)
    assert score_of(model, triple) == pytest.approx(3 - energy(model, *triple), abs=1e-4)
