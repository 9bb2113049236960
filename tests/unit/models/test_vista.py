"""VISTA: the score by the paper's formula, attention and all; who lacks a modality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality
from harness.model import Model
from tests.unit.models.attention import Weights, layer_norm, state_of, transformer

load_models()
N, R, D, H = 9, 2, 8, 2
OPTIONS = {"dim": D, "heads": H, "feedforward": 12, "entity_layers": 1, "decoder_layers": 1}


def modalities() -> dict[str, Modality]:
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, width, owners in (("image", 5, slice(0, 6)), ("text", 3, slice(3, 9))):
        present = torch.zeros(N, dtype=torch.bool)
        present[owners] = True
        matrix = torch.randn(N, width, generator=generator) * present[:, None]
        found[name] = Modality(name, matrix, present)
    return found


def vista(**options: Any) -> Model:
    heads = torch.arange(N)
    train = torch.stack([heads, heads % R, (heads + 1) % N], 1)
    return build_model(
        "vista", OPTIONS | options, GraphIndex(N, R, train), modalities(), seed=0
    ).eval()


def entity(w: Weights, number: int, dropped: str = "") -> np.ndarray:
    """Return an entity's vector, where all numbers of one part may have been dropped."""
    structure = layer_norm(w["entity"][number], w, "entity_norm") * (dropped != "structure")
    sequence = [w["tokens"][0], structure + w["kinds"][0]]
    for place, name in enumerate(("image", "text")):
        modality = modalities()[name]
        if modality.present[number]:
            x = modality.matrix[number].double().numpy()
            made = w[f"projections.{place}.weight"] @ x + w[f"projections.{place}.bias"]
            kept = layer_norm(made, w, f"norms.{place}") * (dropped != name)
            sequence.append(kept + w["kinds"][2 + place])
    return transformer(np.stack(sequence), w, "entity_encoder", H)[0]


def relation(w: Weights, number: int) -> np.ndarray:
    structure = layer_norm(w["relation"][number], w, "relation_norm") + w["kinds"][1]
    return transformer(np.stack([w["tokens"][1], structure]), w, "relation_encoder", H)[0]


@pytest.mark.parametrize("side", ["tail", "head"])
def test_the_score_is_the_formula(side: Any) -> None:
    model = vista()
    w = state_of(model)
    anchors, relations = torch.tensor([0, 4, 8]), torch.tensor([0, 1, 0])
    with torch.no_grad():
        found = model.score_all(model.encode(), anchors, relations, side)
    answers = np.stack([entity(w, number) for number in range(N)])
    for row, anchor, r in zip(found, anchors.tolist(), relations.tolist(), strict=True):
        asked = [entity(w, anchor), relation(w, r), w["tokens"][2]]
        asked = asked if side == "tail" else asked[::-1]
        decoded = transformer(np.stack(asked) + w["positions"], w, "decoder", H)
        expected = answers @ decoded[2 if side == "tail" else 0]
        assert row.numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("option", "dropped"),
    [("structure_dropout", "structure"), ("image_dropout", "image"), ("other_dropout", "text")],
)
def test_each_rate_drops_its_part_alone(option: str, dropped: str) -> None:
    rates = dict.fromkeys(("dropout", "structure_dropout", "image_dropout", "other_dropout"), 0.0)
    model = vista(**rates | {option: 1 - 1e-7}).train()
    torch.manual_seed(0)
    with torch.no_grad():
        found = model.encode()["entity"].numpy()
    w = state_of(model)
    expected = np.stack([entity(w, number, dropped) for number in range(N)])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="dim 8 is no multiple of heads 3"):
        vista(heads=3)
