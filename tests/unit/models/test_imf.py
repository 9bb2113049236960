"""IMF: fusion, views, their loss and their score against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.index import GraphIndex, Modality
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure
from models.imf import IMFConfig, Mutan, contrast

load_models()
TRAIN = torch.tensor([[0, 0, 1], [2, 1, 3], [1, 0, 3]])
INDEX = GraphIndex(4, 2, TRAIN)
PRESENT = torch.tensor([True, True, False, True])
NO_DROPOUT = {"dropout": {"input": 0, "matrix": 0, "output": 0, "fusion": 0}}
VIEWS = ["structure", "image", "text", "fused"]


def made(**options: Any) -> Model:
    generator = torch.Generator().manual_seed(0)
    modalities = {
        name: Modality(name, torch.randn(4, 5, generator=generator), PRESENT)
        for name in ("text", "image")
    }
    return build_model("imf", {"dim": 3, **NO_DROPOUT, **options}, INDEX, modalities).eval()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def logits(model: Model) -> list[np.ndarray]:
    """Return the logits of the views for the tail queries of train: [3, 4] each."""
    with torch.no_grad():
        tables = model.encode()
        query = model.queries(tables, TRAIN[:, 0], TRAIN[:, 1], "tail")
        assert [term.table for term in query.terms] == VIEWS
        return [(term.query @ tables[term.table].T).double().numpy() for term in query.terms]


def test_fused_vectors_are_sums_of_products() -> None:
    torch.manual_seed(0)
    mutan = Mutan(2, 3, IMFConfig.model_validate({"branches": 2, **NO_DROPOUT}))
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    (a, c), (b, d) = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in mutan.layers
    ]
    first, second = np.maximum(x.numpy() @ a.T + c, 0), np.maximum(y.numpy() @ b.T + d, 0)
    expected = first[:, :3] * second[:, :3] + first[:, 3:] * second[:, 3:]
    np.testing.assert_allclose(mutan([x, y]).detach(), np.maximum(expected, 0), atol=1e-6)


def test_the_score_is_the_log_odds_of_the_mean_probability() -> None:
    model = made()
    mean = sigmoid(np.stack(logits(model))).mean(0)
    with torch.no_grad():
        scores = model.score_all(model.encode(), TRAIN[:, 0], TRAIN[:, 1], "tail")
    np.testing.assert_allclose(sigmoid(scores.double().numpy()), mean, atol=1e-6)


def test_mean_logits_are_an_option() -> None:
    model = made(average="logits")
    with torch.no_grad():
        scores = model.score_all(model.encode(), TRAIN[:, 0], TRAIN[:, 1], "tail")
    np.testing.assert_allclose(scores, np.stack(logits(model)).mean(0), atol=1e-6)


def test_each_view_has_a_loss_of_its_own() -> None:
    model = made(variant="released")
    spec = RunSpec.model_validate(
        {
            "model": {"name": "imf"},
            "data": {"dataset": "d"},
            "objective": {"loss": "k_vs_all", "smoothing": 0.1},
        }
    )
    procedure = StandardProcedure(model, INDEX, spec, torch.device("cpu"))
    asked = procedure.rows[procedure.rows[:, 2] == 1]  # (anchor, relation) of 0-0, 1-0, 2-1
    loss, _ = procedure.loss(asked, torch.Generator())
    target = np.full((3, 4), 0.25)
    target[[0, 1, 2], [1, 3, 3]] += 0.9
    order = [0, 2, 1]
    expected = 0.0
    for view in logits(model):
        p = sigmoid(view[order])
        expected -= (target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_contrastive_loss_compares_modalities_with_entities() -> None:
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    unit = (x / x.norm(dim=2, keepdim=True)).double().numpy()
    expected = []
    for e in range(4):
        alike = np.mean([unit[a, e] @ unit[b, e] for a, b in ((0, 1), (0, 2), (1, 2))])
        others = [unit[m, e] @ unit[m, f] for m in range(3) for f in range(4) if f != e]
        expected.append(np.log1p(np.exp(np.mean(others) - alike)))
    assert float(contrast(list(x))) == pytest.approx(np.mean(expected), abs=1e-6)


def test_released_has_no_contrastive_loss() -> None:
    ends, relations = TRAIN[:, [0, 2]], TRAIN[:, 1]
    paper, released = made(), made(variant="released")
    assert paper.penalty(paper.encode(), ends, relations) is not None
    assert released.penalty(released.encode(), ends, relations) is None


def test_without_features_there_is_one_view() -> None:
    model = build_model("imf", {"dim": 3}, INDEX, {}).eval()
    query = model.queries(model.encode(), TRAIN[:, 0], TRAIN[:, 1], "tail")
    assert [term.table for term in query.terms] == ["structure"]
