"""MMKRL's score and alignment against their formulas, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.catalog import build_model
from harness.index import GraphIndex, Modality
from harness.model import Model
from tests.unit.models.conftest import (
    TRIPLES,
    N,
    Vector,
    features,
    has_any,
    l1,
    make,
    score_of,
    unit_of,
    weights_of,
)


def modal(model: Model, e: int) -> Vector:
    w = weights_of(model)
    if not has_any(e):
        return w["to_modal.weight"] @ w["entity"][e]
    x = features(e, w) if model.config.variant == "released" else features(e)
    return w["modal.linear.weight"] @ x + w["modal.linear.bias"]


def shared(model: Model, x: Vector, role: int) -> Vector:
    w = weights_of(model)
    return w["shared.weight"] @ x + w["shifts"][role]


def mean_energy(model: Model, head: int, relation: int, tail: int) -> float:
    w = weights_of(model)
    h, r, t = w["entity"][head], w["relation"][relation], w["entity"][tail]
    h_, r_, t_ = shared(model, h, 0), shared(model, r, 1), shared(model, t, 2)
    h_m, t_m = modal(model, head), modal(model, tail)
    pairs = ((h_, t_), (h_m, t_m), (h_m, t), (h, t_m))
    return sum(l1(unit_of(a) + unit_of(r_) - unit_of(b)) for a, b in pairs) / 4


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("triple", TRIPLES)
def test_score_is_the_margin_less_the_mean_of_four_energies(
    triple: tuple[int, int, int], variant: str
) -> None:
    model = make("mmkrl", variant=variant)
    assert score_of(model, triple) == pytest.approx(3 - mean_energy(model, *triple), abs=1e-4)
    head, relation, tail = triple
    with torch.no_grad():
        asked = model.score_all(
            model.encode(), torch.tensor([tail]), torch.tensor([relation]), "head"
        )
    assert float(asked[0, head]) == pytest.approx(score_of(model, triple), abs=1e-4)


def test_alignment_draws_structure_to_the_shared_space_and_to_what_features_say() -> None:
    model = make("mmkrl", alignment=0.5).train()
    w = weights_of(model)
    triples = np.array(TRIPLES)
    expected = 0.0
    for column, role in ((0, 0), (2, 2)):
        vectors = [w["entity"][e] for e in triples[:, column]]
        expected += np.mean([(shared(model, v, role) - v) ** 2 for v in vectors])
        known = [e for e in triples[:, column] if has_any(e)]
        told = [w["to_modal.weight"] @ w["entity"][e] - modal(model, e) for e in known]
        expected += np.mean(np.square(told))
    relations = [w["relation"][r] for r in triples[:, 1]]
    expected += np.mean([(shared(model, r, 1) - r) ** 2 for r in relations])
    entities = torch.tensor([3, 0, 1, 2, 4, 5])  # rows of the tables are not ids
    rows = entities.argsort()[torch.tensor(triples[:, [0, 2]])]
    penalty = model.penalty(model.encode(entities), rows, torch.tensor(triples[:, 1]))
    assert float(penalty.detach()) == pytest.approx(0.5 * expected, abs=1e-4)
    assert model.eval().penalty(model.encode(), rows, torch.tensor(triples[:, 1])) is None


@pytest.mark.parametrize(("shift", "alike"), [(1.0, True), (0.05, False)])
def test_large_initial_shifts_hide_what_tells_relations_apart(shift: float, alike: bool) -> None:
    torch.manual_seed(0)
    image = Modality("image", torch.ones(N, 4), torch.ones(N, dtype=torch.bool))
    index = GraphIndex(N, 20, torch.tensor(TRIPLES))
    model = build_model("mmkrl", {"dim": 64, "shift": shift}, index, {"image": image})
    query = (
        model.queries(model.encode(), torch.tensor([0, 0]), torch.tensor([3, 7]), "tail")
        .terms[0]
        .query.detach()
    )
    # The queries are h' + r' of one head, so they differ as the relations do.
    assert (float((query[0] - query[1]).norm()) < 0.3) == alike
