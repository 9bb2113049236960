"""The cubic penalty (N3) of the models that have it, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.index import GraphIndex, Modality
from harness.model import Model
from models._penalties import cubic
from tests.unit.models.conftest import FEATURES, PRESENT, TRIPLES, N, R, Vector

load_models()
BATCH = torch.tensor(TRIPLES)
WEIGHT, DIM = 0.25, 3


def made(name: str, **options: Any) -> Model:
    image = Modality(
        "image",
        torch.tensor(FEATURES["image"] * PRESENT["image"][:, None], dtype=torch.float),
        torch.tensor(PRESENT["image"]),
    )
    features = {"image": image} if name in {"rsme", "otkge", "imf", "momok"} else {}
    model = build_model(name, {"dim": DIM, **options}, GraphIndex(N, R, BATCH), features)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # of one size, so that no part is lost in another
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
    return model


def moduli(x: Vector, *, real: bool) -> Vector:
    return np.abs(x) if real else np.hypot(*np.split(x, 2))


def n3(model: Model, *, real: bool, reverse: bool) -> float:
    """Return WEIGHT times the mean over the batch of |h|^3 + |r|^3 + |t|^3.

    A relation with a reverse counts by the mean of both.
    """
    with torch.no_grad():
        entity = model.encode()["entity"].double().numpy()
    relation = model.get_parameter("relation").detach().double().numpy()
    total = 0.0
    for h, r, t in TRIPLES:
        total += sum((moduli(entity[e], real=real) ** 3).sum() for e in (h, t))
        asked = (r, r + R) if reverse else (r,)
        total += np.mean([(moduli(relation[k], real=real) ** 3).sum() for k in asked])
    return WEIGHT * total / len(TRIPLES)


@pytest.mark.parametrize(
    ("name", "options", "real", "reverse"),
    [
        ("distmult", {}, True, False),
        ("distmult", {"reciprocal": True}, True, True),
        ("complex", {}, False, False),
        ("complex", {"reciprocal": True}, False, True),
        ("rsme", {}, False, True),
        ("otkge", {}, False, True),
    ],
)
def test_l3_weighs_the_cubes_of_a_batch(
    name: str, options: dict[str, Any], real: bool, reverse: bool
) -> None:
    model = made(name, l3=WEIGHT, **options)
    added = model.penalty(model.encode(), BATCH[:, ::2], BATCH[:, 1])
    assert added is not None
    assert float(added.detach()) == pytest.approx(n3(model, real=real, reverse=reverse), rel=1e-5)


def test_the_code_of_otkge_divides_by_the_rank_and_so_grows_with_the_batch() -> None:
    model = made("otkge", l3=WEIGHT, penalty="rank")
    added = model.penalty(model.encode(), BATCH[:, ::2], BATCH[:, 1])
    assert added is not None
    # Its loop: for factor in factors: for f in factor: weight * sum(f^3) / f.shape[0].
    with torch.no_grad():
        entity = model.encode()["entity"].double().numpy()
    relation = model.get_parameter("relation").detach().double().numpy()
    examples = [(h, r, t) for h, r, t in TRIPLES] + [(t, r + R, h) for h, r, t in TRIPLES]
    total = 0.0
    for factor in (
        [moduli(entity[h], real=False) for h, _, _ in examples],
        [moduli(relation[r], real=False) for _, r, _ in examples],
        [moduli(entity[t], real=False) for _, _, t in examples],
    ):
        for f in factor:
            total += WEIGHT * (f**3).sum() / f.shape[0]
    assert float(added.detach()) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("name", "other"), [("imf", "contrastive"), ("momok", "information")])
def test_l3_of_decoders_of_views_is_the_mean_over_views(name: str, other: str) -> None:
    model = made(name, l3=WEIGHT, **{other: 0.0}).eval()
    tables = model.encode()
    added = model.penalty(tables, BATCH[:, ::2], BATCH[:, 1])
    assert added is not None

    views = ("structure", "image", "fused")
    relation = {view: model.get_parameter(f"relation.{view}") for view in views[:2]}
    fuse = model.get_submodule("fuse_relations")
    relation["fused"] = fuse(list(relation.values()))
    total = 0.0
    for view in views:
        entity, by = (x.detach().double().abs().numpy() for x in (tables[view], relation[view]))
        for h, r, t in TRIPLES:
            total += (entity[h] ** 3).sum() + (entity[t] ** 3).sum()
            total += ((by[r] ** 3).sum() + (by[r + R] ** 3).sum()) / 2
    expected = WEIGHT * total / len(TRIPLES) / len(views)
    assert float(added.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "other"), [("imf", "contrastive"), ("momok", "information")])
def test_l3_of_decoders_of_views_is_added_to_their_own_penalty(name: str, other: str) -> None:
    values = []
    for options in (
        {"l3": WEIGHT, other: 0.0},
        {"l3": 0.0, other: 0.5},
        {"l3": WEIGHT, other: 0.5},
    ):
        model = made(name, dropout={"fusion": 0.0}, **options).train()
        model.draws = torch.Generator().manual_seed(0)
        added = model.penalty(model.encode(), BATCH[:, ::2], BATCH[:, 1])
        assert added is not None
        values.append(float(added.detach()))
    assert values[2] == pytest.approx(values[0] + values[1], rel=1e-5)


@pytest.mark.parametrize("name", ["distmult", "complex", "rsme", "otkge"])
def test_without_a_weight_there_is_no_penalty(name: str) -> None:
    model = made(name, l3=0.0)
    assert model.penalty(model.encode(), BATCH[:, ::2], BATCH[:, 1]) is None


def test_cubes_are_summed_and_divided_by_the_batch() -> None:
    entities = torch.tensor([[[1.0, 2.0], [0.0, 3.0]], [[1.0, 1.0], [2.0, 0.0]]])  # 36 and 10
    relations = torch.tensor([[2.0, 1.0], [3.0, 0.0]])  # 9 and 27
    assert float(cubic(entities, relations)) == (36 + 10 + 9 + 27) / 2
    reverse = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # 1 and 8
    both = torch.stack([relations, reverse], 1)
    assert float(cubic(entities, both)) == (36 + 10 + (9 + 1) / 2 + (27 + 8) / 2) / 2
