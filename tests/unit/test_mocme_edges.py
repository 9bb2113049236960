"""MoCME where there is next to nothing: one shared entity, no modality at all."""

from __future__ import annotations

import torch

from harness.index import GraphIndex, Modality
from models.mocme import MoCME
from models.mocme.config import Config, Information
from models.mocme.estimators import build_estimator


def test_one_entity_with_both_views_tells_nothing_of_their_information() -> None:
    torch.manual_seed(0)
    estimator = build_estimator(2, 4, Information(estimator="mine_sep"), 8)
    present = torch.zeros(2, 8, dtype=torch.bool)
    present[:, 3] = True
    measured = estimator(torch.randn(2, 8, 4), present)
    assert measured.matrix.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_product_of_no_modality_adds_nothing_to_the_structure() -> None:
    present = torch.arange(6) < 4
    text = Modality("text", torch.randn(6, 3) * present[:, None], present)
    options = {"dim": 4, "structure": {"as_modality": False}, "fusion": {"kind": "product"}}
    index = GraphIndex(6, 1, torch.tensor([[0, 0, 1]]), "toy")
    model = MoCME(Config.model_validate(options), index, {"text": text}).eval()
    table = model.encode()["entity"]
    assert torch.equal(table[4:], model.entity[4:])
    assert not torch.equal(table[:4], model.entity[:4])
