"""TBKGC's score against its formula, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model import Model
from tests.unit.models.conftest import (
    DIM,
    PRESENT,
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


def energy_of_paper(model: Model, head: int, relation: int, tail: int) -> float:
    w = weights_of(model)

    def dense(x: Vector) -> Vector:
        return np.tanh(w["structural.0.weight"] @ x + w["structural.0.bias"])

    def vectors(e: int) -> tuple[Vector, Vector, Vector]:
        s = dense(w["entity"][e])
        if not has_any(e):
            return s, s, s
        m = np.tanh(w["modal.linear.weight"] @ features(e, unit=True) + w["modal.linear.bias"])
        return s, m, s + m

    return five(vectors(head), dense(w["relation"][relation]), vectors(tail))


def energy_of_released(model: Model, head: int, relation: int, tail: int) -> float:
    w = weights_of(model)

    def vectors(e: int) -> tuple[Vector, ...]:
        s, half, x = w["entity"][e], DIM // 2, features(e, w)
        m = s.copy()
        if PRESENT["image"][e]:
            m[:half] = w["modal.maps.0.weight"] @ x[:3] + w["modal.maps.0.bias"]
        if PRESENT["text"][e]:
            m[half:] = w["modal.maps.1.weight"] @ x[3:] + w["modal.maps.1.bias"]
        return unit_of(s), unit_of(m), unit_of(s + m)

    return five(vectors(head), unit_of(w["relation"][relation]), vectors(tail))


def five(head: tuple[Vector, ...], r: Vector, tail: tuple[Vector, ...]) -> float:
    (hs, hm, hj), (ts, tm, tj) = head, tail
    pairs = ((hs, ts), (hm, tm), (hm, ts), (hs, tm), (hj, tj))
    return sum(l1(h + r - t) for h, t in pairs)


@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_five_energies(triple: tuple[int, int, int]) -> None:
    model = make("tbkgc")
    assert score_of(model, triple) == pytest.approx(3 - energy_of_paper(model, *triple), abs=1e-4)


@pytest.mark.parametrize("triple", TRIPLES)
def test_the_released_variant_maps_each_modality_to_its_half_and_divides_by_norms(
    triple: tuple[int, int, int],
) -> None:
    model = make("tbkgc", variant="released")
    energy = energy_of_released(model, *triple)
    assert score_of(model, triple) == pytest.approx(3 - energy, abs=1e-4)


def test_widths_that_do_not_divide_are_shared_as_evenly_as_they_can_be() -> None:
    model = make("tbkgc", variant="released", dim=5)
    assert [len(w) for k, w in weights_of(model).items() if k.endswith("bias")] == [3, 2]
