"""Residual features: e = s + gain * sum_m W_m x_m, in every structural model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality
from harness.model import MODELS, Model
from tests.unit.models.conftest import DIM, FEATURES, PRESENT, TRIPLES, N, R, Vector, unit_of

STRUCTURAL = ("transe", "distmult", "complex", "rotate", "pairre")
GAIN = 0.25
SEEN_TRIPLES = [triple for triple in TRIPLES if 1 not in (triple[0], triple[2])]
UNSEEN = (1, 2)
"""Entities with features that none of these triples mentions."""
BARE = 5
"""An entity without features."""


def made(name: str, triples: list[tuple[int, int, int]] = TRIPLES, **residual: Any) -> Model:
    modalities = {
        key: Modality(
            key, torch.tensor(FEATURES[key] * PRESENT[key][:, None]), torch.tensor(PRESENT[key])
        )
        for key in FEATURES
    }
    index = GraphIndex(N, R, torch.tensor(triples), "d")
    options = {"dim": DIM, "residual": {"gain": GAIN, **residual}}
    return build_model(name, options, index, modalities)


def expected_vectors(model: Model, unseen: tuple[int, ...] = ()) -> Vector:
    """The entity vectors, entity by entity, modality by modality."""
    weights = {key: value.detach().double().numpy() for key, value in model.named_parameters()}
    vectors = weights["entity"].copy()
    for entity in range(N):
        if entity in unseen and any(PRESENT[key][entity] for key in FEATURES):
            vectors[entity] = 0.0
        for place, key in enumerate(sorted(FEATURES)):
            if PRESENT[key][entity]:
                matrix = weights[f"residual.maps.{place}.weight"]
                vectors[entity] += GAIN * matrix @ unit_of(FEATURES[key][entity])
    return vectors


def encoded(model: Model) -> Vector:
    with torch.no_grad():
        table: Vector = model.encode()["entity"].double().numpy()
    return table


@pytest.mark.parametrize("name", STRUCTURAL)
def test_mapped_features_are_added_to_the_structural_vectors(name: str) -> None:
    model = made(name).eval()
    expected = expected_vectors(model)
    if name == "pairre":  # compares unit vectors
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoded(model), expected, atol=1e-6)


def test_the_structural_vector_of_an_unseen_entity_with_features_is_hidden() -> None:
    model = made("complex", SEEN_TRIPLES).eval()
    np.testing.assert_allclose(encoded(model), expected_vectors(model, UNSEEN), atol=1e-6)


def test_an_unseen_entity_without_features_keeps_its_structural_vector() -> None:
    triples = [triple for triple in TRIPLES if BARE not in (triple[0], triple[2])]
    model = made("complex", triples).eval()
    np.testing.assert_allclose(encoded(model)[BARE], model.entity[BARE].detach(), atol=1e-7)


def test_training_hides_structural_vectors_as_often_as_asked() -> None:
    model = made("complex", hide=0.3).train()
    structure = expected_vectors(model)
    hidden = np.array([np.abs(encoded(model) - structure).max(1) > 1e-6 for _ in range(2000)]).mean(
        0
    )
    features = np.any([PRESENT[key] for key in FEATURES], axis=0)
    np.testing.assert_allclose(hidden, np.where(features, 0.3, 0.0), atol=0.05)


def test_nothing_is_hidden_in_evaluation_or_with_probability_zero() -> None:
    for model in (made("complex", hide=0.9).eval(), made("complex", hide=0.0).train()):
        np.testing.assert_allclose(encoded(model), expected_vectors(model), atol=1e-6)


@pytest.mark.parametrize("name", STRUCTURAL)
def test_features_leave_the_initial_structure_as_it_is(name: str) -> None:
    index = GraphIndex(N, R, torch.tensor(TRIPLES), "d")
    plain = build_model(name, {"dim": DIM}, index, {})
    featured = dict(made(name).named_parameters())
    for key, value in plain.named_parameters():
        torch.testing.assert_close(featured[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", STRUCTURAL)
def test_only_a_model_with_a_gain_reads_features(name: str) -> None:
    model = MODELS.get(name)
    assert not model.capabilities_of({}).reads_features
    assert model.capabilities_of({"residual": {"gain": 0.1}}).needs_features
    with pytest.raises(ConfigError, match="at least one modality"):
        build_model(name, {"residual": {"gain": 0.1}}, GraphIndex(N, R, torch.tensor(TRIPLES)))


def test_a_probability_without_effect_is_no_option() -> None:
    config = MODELS.get("complex").Config.model_validate({"residual": {"hide": 0.5}})
    assert config.model_dump(exclude_defaults=True) == {}


def test_the_penalty_is_of_the_sums() -> None:
    triples = torch.tensor(TRIPLES)
    model = made("complex")
    strict = build_model(
        "complex",
        {"dim": DIM, "l3": 0.1, "residual": {"gain": GAIN}},
        GraphIndex(N, R, triples, "d"),
        {
            key: Modality(key, torch.tensor(FEATURES[key]), torch.tensor(PRESENT[key]))
            for key in FEATURES
        },
    )
    strict.load_state_dict(model.state_dict())
    strict.eval()
    tables = strict.encode()
    total = strict.penalty(tables, triples[:, ::2], triples[:, 1])
    e, r = expected_vectors(strict), strict.get_parameter("relation").detach().double().numpy()
    moduli = [np.hypot(*np.split(x, 2)) for h, k, t in TRIPLES for x in (e[h], r[k], e[t])]
    assert total is not None
    assert total.item() == pytest.approx(
        0.1 * sum((m**3).sum() for m in moduli) / len(TRIPLES), rel=1e-4
    )
