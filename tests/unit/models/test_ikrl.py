"""IKRL's score against its formula, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.catalog import build_model
from harness.index import GraphIndex, Modality
from harness.model import Model
from harness.seeding import seed_for
from tests.unit.models.conftest import (
    DIM,
    FEATURES,
    PRESENT,
    TRIPLES,
    N,
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
    variant, weights = model.config.variant, weights_of(model)
    scaled = shorten if variant == "paper" else unit_of

    def vectors(e: int) -> list[Vector]:
        found = [scaled(weights["entity"][e])]
        if HAS[e] and variant != "paper":
            x = weights["image.matrix"][e] if variant == "released" else FEATURES["image"][e]
            found.append(scaled(weights["project.weight"] @ x + weights["project.bias"]))
        elif HAS[e]:
            found.append(scaled(weights["project.weight"] @ unit_of(FEATURES["image"][e])))
        return found

    r = scaled(weights["relation"][relation])
    return 3.0 - 4 * float(np.mean([l1(h + r - t) for h in vectors(head) for t in vectors(tail)]))


@pytest.mark.parametrize("variant", ["paper", "released", "mans"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_the_energies_of_what_both_have(
    triple: tuple[int, int, int], variant: str
) -> None:
    model = make("ikrl", variant=variant)
    assert score_of(model, triple) == pytest.approx(expected(model, *triple), abs=1e-4)


def test_features_are_parameters_in_the_variant_that_fine_tunes_them() -> None:
    for constant in ("paper", "mans"):
        assert "image.matrix" not in make("ikrl", variant=constant).state_dict()
    matrix = make("ikrl", variant="released").state_dict()["image.matrix"]
    assert matrix.shape == FEATURES["image"].shape


@pytest.mark.parametrize(
    ("variant", "bound"),
    [("paper", (3 / DIM) ** 0.5), ("released", (3.0 + 2) / DIM), ("mans", (6 / (N + DIM)) ** 0.5)],
)
def test_vectors_start_within_the_bound_of_the_variant(variant: str, bound: float) -> None:
    torch.manual_seed(seed_for(0, "d", "init"))
    expected_table = (torch.rand(N, DIM) * 2 - 1) * bound
    image = Modality("image", torch.ones(N, 3), torch.ones(N, dtype=torch.bool))
    index = GraphIndex(N, 2, torch.tensor(TRIPLES), "d")
    options = {"dim": DIM, "margin": 3.0, "variant": variant}
    model = build_model("ikrl", options, index, {"image": image}, seed=0)
    assert torch.allclose(model.get_parameter("entity"), expected_table, atol=1e-6)


def test_other_modalities_are_not_read() -> None:
    alone, beside = make("ikrl", modalities=("image",)), make("ikrl")
    assert [score_of(alone, t) for t in TRIPLES] == [score_of(beside, t) for t in TRIPLES]
