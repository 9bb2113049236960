"""QEB's score against its formula, written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.model import Model
from tests.unit.models.conftest import (
    TRIPLES,
    Vector,
    features,
    has_any,
    l1,
    make,
    score_of,
    unit_of,
    weights_of,
)


def mean_energy(model: Model, head: int, relation: int, tail: int) -> float:
    released, w = model.config.variant == "released", weights_of(model)

    def structural(x: Vector) -> Vector:
        if released:
            return x
        return np.tanh(w["structural.0.weight"] @ x + w["structural.0.bias"])

    def bent(x: Vector) -> Vector:
        return x if released else np.tanh(x)

    def scaled(x: Vector) -> Vector:
        return unit_of(x) if released else x

    def vectors(e: int) -> tuple[Vector, Vector, Vector]:
        s = structural(w["entity"][e])
        if not has_any(e):
            return scaled(s), scaled(s), scaled(s)
        x = features(e, w) if released else features(e, unit=model.config.unit)
        m = bent(w["modal.linear.weight"] @ x + w["modal.linear.bias"])
        return scaled(s), scaled(m), scaled(s + m)

    (hs, hm, hj), (ts, tm, tj) = vectors(head), vectors(tail)
    r, p = structural(w["relation"][relation]), bent(w["modal_relation"][relation])
    distances = [
        l1(h + scaled(q) - t)
        for q in (r, p)
        for h, t in ((hs, ts), (hs, tm), (hm, ts), (hm, tm), (hj, tj))
    ]
    assert len(distances) == 10
    return float(np.mean(distances))


@pytest.mark.parametrize("options", [{}, {"unit": False}, {"variant": "released"}])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_the_mean_of_ten_energies(
    triple: tuple[int, int, int], options: dict[str, Any]
) -> None:
    model = make("qeb", **options)
    assert score_of(model, triple) == pytest.approx(3 - mean_energy(model, *triple), abs=1e-4)
