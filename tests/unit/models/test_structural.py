"""The scores of models without features against their formulas, written out in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.cli.models import show
from harness.index import GraphIndex, Side
from harness.kernels import dropout
from harness.model import Model
from tests.unit.models.conftest import DIM, TRIPLES, N, R, Vector, l1, moduli, rotated, unit_of

load_models()
MARGIN, EPSILON = 3.0, 2.0
WITH_MARGIN = {"margin": MARGIN, "epsilon": EPSILON}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "transe": ("transe", WITH_MARGIN),
    "transe, normalised": ("transe", {**WITH_MARGIN, "normalise": True}),
    "rotate": ("rotate", WITH_MARGIN),
    "pairre": ("pairre", WITH_MARGIN),
    "distmult": ("distmult", {}),
    "complex": ("complex", {}),
}


def made(name: str, **options: Any) -> Model:
    """Return a model whose parameters are neither small nor large."""
    model = build_model(name, {"dim": DIM, **options}, GraphIndex(N, R, torch.tensor(TRIPLES)), {})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.6)
    return model.eval()


def complex_numbers(x: Vector) -> Vector:
    real, imaginary = np.split(x, 2)
    return real + 1j * imaginary


def formula(case: str, h: Vector, r: Vector, t: Vector) -> float:
    """Return the score of the vectors of head, relation and tail."""
    if case == "transe":
        return MARGIN - l1(h + r - t)
    if case == "transe, normalised":
        return MARGIN - l1(unit_of(h) + unit_of(r) - unit_of(t))
    if case == "rotate":
        bound = (MARGIN + EPSILON) / DIM  # what stands for pi in the table of phases
        return MARGIN - moduli(rotated(h, r / bound * math.pi) - t)
    if case == "pairre":
        of_head, of_tail = np.split(r, 2)
        return MARGIN - l1(unit_of(h) * of_head - unit_of(t) * of_tail)
    if case == "distmult":
        return float((h * r * t).sum())
    assert case == "complex"
    h, r, t = (complex_numbers(x) for x in (h, r, t))
    return float((h * r * t.conj()).sum().real)


def vectors(model: Model) -> tuple[Vector, Vector]:
    weights = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    return weights["entity"], weights["relation"]


def scores_of(model: Model, anchors: Vector, relation: int, side: Side) -> Vector:
    """Return the scores [anchors, N] of all candidates on a side."""
    with torch.no_grad():
        asked = torch.tensor(anchors), torch.full((len(anchors),), relation)
        return model.score_all(model.encode(), *asked, side).numpy()


@pytest.mark.parametrize("case", CASES)
def test_the_score_is_the_formula(case: str) -> None:
    name, options = CASES[case]
    model = made(name, **options)
    e, r = vectors(model)
    with torch.no_grad():
        found = model.score_triples(torch.tensor(TRIPLES)).numpy()
    expected = [formula(case, e[h], r[k], e[t]) for h, k, t in TRIPLES]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("relation", range(R))
@pytest.mark.parametrize("case", CASES)
def test_all_candidates_of_either_side_have_the_score_of_their_triple(
    case: str, relation: int
) -> None:
    name, options = CASES[case]
    model = made(name, **options)
    e, r = vectors(model)
    expected = np.array([[formula(case, h, r[relation], t) for t in e] for h in e])
    everyone = np.arange(N)
    np.testing.assert_allclose(scores_of(model, everyone, relation, "tail"), expected, atol=1e-5)
    np.testing.assert_allclose(scores_of(model, everyone, relation, "head"), expected.T, atol=1e-5)


@pytest.mark.parametrize("case", ["distmult", "complex"])
def test_with_reverse_relations_a_head_is_the_tail_of_the_reverse(case: str) -> None:
    model = made(case, reciprocal=True)
    e, r = vectors(model)
    asked: tuple[tuple[Side, int], ...] = ("tail", 1), ("head", R + 1)
    for side, row in asked:
        expected = np.array([[formula(case, own, r[row], other) for other in e] for own in e])
        found = scores_of(model, np.arange(N), 1, side)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_entities_of_pairre_count_by_their_direction_alone() -> None:
    model = made("pairre", **WITH_MARGIN)
    triples = torch.tensor(TRIPLES)
    with torch.no_grad():
        before = model.score_triples(triples)
        model.get_parameter("entity").mul_(torch.arange(1.0, N + 1)[:, None])
        torch.testing.assert_close(model.score_triples(triples), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["tail", "head"])
@pytest.mark.parametrize("name", ["distmult", "complex"])
def test_dropout_is_of_the_known_entity_in_training_alone(name: str, side: Side) -> None:
    plain, model = made(name), made(name, dropout=0.4)
    head, relation, _ = torch.tensor(TRIPLES).T

    def query(of: Model, anchors: dict[str, torch.Tensor]) -> torch.Tensor:
        rows = torch.arange(len(head))
        found: torch.Tensor = of.queries(anchors, rows, relation, side).terms[0].query.detach()
        return found

    anchors = {"entity": plain.encode()["entity"].detach()[head]}
    assert torch.equal(query(model, anchors), query(plain, anchors))
    torch.manual_seed(5)
    dropped = {"entity": dropout(anchors["entity"], 0.4)}
    torch.manual_seed(5)
    found = query(model.train(), anchors)
    assert torch.equal(found, query(plain, dropped))
    assert not torch.equal(found, query(plain, anchors))
    torch.manual_seed(5)
    assert torch.equal(query(plain.train(), anchors), query(plain, anchors))


@pytest.mark.parametrize("name", ["distmult", "complex"])
def test_dropout_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(name)
    assert "dropout = 0.0" in capsys.readouterr().out
