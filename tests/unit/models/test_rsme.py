"""RSME: its formulas against plain numpy, its forget gate counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure
from models.rsme import mean_rank_percentage

load_models()
TRAIN = torch.tensor([[0, 0, 1], [2, 0, 3], [1, 1, 3], [3, 1, 0]])
IMAGES = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0], [9.0, 9.0, 9.0], [-1.0, 0.5, 1.0]])
PRESENT = torch.tensor([True, True, False, True])
X = np.where(PRESENT.numpy()[:, None], IMAGES.numpy(), 0.0)


def made(**options: Any) -> Model:
    index = GraphIndex(4, 2, TRAIN)
    model = build_model(
        "rsme", {"dim": 2, **options}, index, {"image": Modality("image", IMAGES, PRESENT)}
    )
    with torch.no_grad():  # values of one size, so that no part of the score is lost in another
        for parameter in model.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    return model.eval()


def score_of(model: Model, h: int, r: int, t: int) -> float:
    return float(model.score_triples(torch.tensor([[h, r, t]])).detach())


def complex_score(z: np.ndarray, r: np.ndarray, h: int, t: int) -> float:
    zc, rc = z[:, :2] + 1j * z[:, 2:], r[:2] + 1j * r[2:]
    return float(np.real((zc[h] * rc * zc[t].conj()).sum()))


def cosine(h: int, t: int) -> float:
    lengths = np.linalg.norm(X[h]) * np.linalg.norm(X[t])
    return float(X[h] @ X[t] / lengths) if lengths else 0.0


def numbers(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return fused vectors (alpha 0.7) and relations."""
    weights = {k: v.detach().numpy() for k, v in model.named_parameters()}
    return 0.3 * weights["entity"] + 0.7 * X @ weights["project"], weights["relation"]


@pytest.mark.parametrize(("h", "r", "t"), [(0, 0, 1), (3, 1, 2), (1, 1, 1)])
def test_the_score_is_the_formula(h: int, r: int, t: int) -> None:
    model = made()
    z, relation = numbers(model)
    expected = 0.95 * complex_score(z, relation[r], h, t) + 0.05 * cosine(h, t)
    assert score_of(model, h, r, t) == pytest.approx(expected, abs=1e-5)


def test_a_head_is_asked_for_by_the_reverse_relation() -> None:
    model = made()
    z, relation = numbers(model)
    with torch.no_grad():
        scores = model.score_all(model.encode(), torch.tensor([1]), torch.tensor([0]), "head")[0]
    expected = [0.95 * complex_score(z, relation[2], 1, h) + 0.05 * cosine(1, h) for h in range(4)]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_released_training_sees_complex_alone() -> None:
    model = made(variant="released").train()
    z, relation = numbers(model)
    alone = complex_score(z, relation[0], 0, 1)
    assert score_of(model, 0, 0, 1) == pytest.approx(alone, abs=1e-5)
    model.eval()
    ranked = 0.95 * alone + 0.05 * cosine(0, 1)
    assert score_of(model, 0, 0, 1) == pytest.approx(ranked, abs=1e-5)


def test_the_rank_percentage_counts_places_among_the_tails() -> None:
    # Pairs of entities with images: 0-1 (relation 0); 1-3 and 3-0 (relation 1). Tails: 0, 1, 3.
    def place(h: int, t: int) -> float:
        return sum(cosine(h, other) >= cosine(h, t) for other in (0, 1, 3)) / 3

    found = mean_rank_percentage(GraphIndex(4, 3, TRAIN), IMAGES, PRESENT)
    expected = [place(0, 1), (place(1, 3) + place(3, 0)) / 2, 1.0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pairs_with_two_relations_do_not_count() -> None:
    both = torch.cat([TRAIN, torch.tensor([[0, 1, 1]])])
    found = mean_rank_percentage(GraphIndex(4, 2, both), IMAGES, PRESENT)
    assert found[0] == 1.0


def test_the_gate_forgets_images_where_they_do_not_tell() -> None:
    ranks = mean_rank_percentage(GraphIndex(4, 2, TRAIN), IMAGES, PRESENT)
    assert ranks[0] != ranks[1]
    model, kept = made(remember=float(ranks.mean())), int(ranks.argmin())
    z, relation = numbers(model)
    for r in (0, 1):
        expected = 0.95 * complex_score(z, relation[r], 0, 1)
        expected += 0.05 * cosine(0, 1) if r == kept else 0.0
        assert score_of(model, 0, r, 1) == pytest.approx(expected, abs=1e-5)


def test_a_loss_that_asks_for_tails_alone_is_refused() -> None:
    spec = RunSpec.model_validate({"model": {"name": "rsme"}, "data": {"dataset": "d"}})
    with pytest.raises(ConfigError, match="RSME asks for heads would see no positive"):
        StandardProcedure(made(), GraphIndex(4, 2, TRAIN), spec, torch.device("cpu"))
