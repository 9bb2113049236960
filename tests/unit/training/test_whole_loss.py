"""Training by a loss against all entities: the loss of a batch, and that models learn by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.catalog import build_model, load_models
from harness.config.override import Setting
from harness.errors import ConfigError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.index import GraphIndex, Modality
from harness.kernels import against_all
from harness.model import MODELS, Model
from harness.plan.settings import build_spec
from harness.plan.spec import Protocol, RunSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit
from harness.training.procedures import StandardProcedure
from harness.training.whole import WholeLoss, distinct_queries

load_models()
N, R, D = 41, 3, 8


@pytest.fixture(autouse=True, params=[1, 7, 1000], ids="{} queries at once".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against_all, "SCORES_AT_ONCE", request.param * N)


def circle() -> GraphIndex:
    """Entities on a circle; relation k leads k + 1 places on."""
    heads = torch.arange(N).repeat(R)
    relations = torch.arange(R).repeat_interleave(N)
    tails = (heads + relations + 1) % N
    return GraphIndex(N, R, torch.stack([heads, relations, tails], 1))


def spec_of(model: str, loss: str, **options: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": model, **options},
            "data": {"dataset": "x"},
            "objective": {"loss": loss},
            "optimiser": {"lr": 2e-2},
            "training": {"epochs": 60, "batch_size": 50, "evaluate_every": 60},
        }
    )


def trained(spec: RunSpec, folder: Path) -> tuple[Model, float]:
    index = circle()
    model = build_model(spec.model.name, spec.model.options, index, {}, seed=0)
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))

    def mrr() -> dict[str, float]:
        ranks = rank(model, index.train, index.train_filter, Protocol())
        return {m.metric: m.value for m in measure(ranks, Protocol()) if m.side == "both"}

    result = fit(
        model,
        procedure,
        spec.training,
        CheckpointFolder(folder),
        mrr,
        seed=0,
        dataset="",
    )
    return model, result.history[-1]["valid_mrr"]


@pytest.mark.parametrize("loss", ["one_vs_all", "k_vs_all"])
@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("blocks", [7], indirect=True)
def test_a_model_learns_a_rule(tmp_path: Path, loss: str, reciprocal: bool) -> None:
    spec = spec_of("complex", loss, dim=16, reciprocal=reciprocal, l3=1e-4)
    assert trained(spec, tmp_path)[1] > 0.9


def test_the_loss_of_a_batch_is_that_of_its_scores() -> None:
    index, spec = circle(), spec_of("complex", "one_vs_all", dim=4)
    model = build_model("complex", spec.model.options, index, {}, seed=0)
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))
    batch = index.train[:9]
    head, relation, tail = batch.unbind(1)
    loss, _ = procedure.loss(batch, torch.Generator())
    tables = model.encode()
    tails = F.cross_entropy(model.score_all(tables, head, relation, "tail"), tail)
    heads = F.cross_entropy(model.score_all(tables, tail, relation, "head"), head)
    assert torch.allclose(loss, (tails + heads) / 2)


def whole_loss(batch: Tensor, **objective: Any) -> tuple[Tensor, Model]:
    """Return the one_vs_all loss of triples with a model ComplEx."""
    spec = spec_of("complex", "one_vs_all")
    spec = spec.model_copy(update={"objective": spec.objective.model_copy(update=objective)})
    model = build_model("complex", {"dim": 8}, circle(), {}, seed=0)
    loss = WholeLoss(model, circle(), spec, torch.device("cpu"))
    return loss(batch, torch.Generator().manual_seed(4))[0].detach(), model


def test_label_smoothing_is_that_of_the_scores_of_both_sides() -> None:
    batch = circle().train[:30]
    ours, model = whole_loss(batch, softmax_smoothing=0.2)
    head, relation, tail = batch.unbind(1)
    with torch.no_grad():
        tables = model.encode()
        scores = [
            model.score_all(tables, head, relation, "tail"),
            model.score_all(tables, tail, relation, "head"),
        ]
        right = F.cross_entropy(torch.cat(scores), torch.cat([tail, head]), label_smoothing=0.2)
    assert torch.allclose(ours, right, atol=1e-5)


def test_a_fair_coin_chooses_the_side_of_a_triple_that_is_asked_for() -> None:
    batch = circle().train[:30]
    ours, model = whole_loss(batch, sides="one")
    coin = torch.rand(30, generator=torch.Generator().manual_seed(4)) < 0.5
    assert coin.any()
    assert not coin.all()
    losses = []
    with torch.no_grad():
        for (head, relation, tail), predicts_tail in zip(batch[:, :, None], coin, strict=True):
            side, anchor, target = ("tail", head, tail) if predicts_tail else ("head", tail, head)
            scores = model.score_all(model.encode(), anchor, relation, side)  # type: ignore[arg-type]
            losses.append(F.cross_entropy(scores, target))
    assert torch.allclose(ours, torch.stack(losses).mean(), atol=1e-5)


@pytest.mark.parametrize("model", ["complex", "vista", "mygo", "imf"])
def test_a_batch_of_one_triple_has_one_query(model: str) -> None:
    spec = spec_of(model, "one_vs_all")
    objective = spec.objective.model_copy(update={"sides": "one"})
    spec = spec.model_copy(update={"objective": objective})
    text = Modality("text", torch.randn(N, 5), torch.ones(N, dtype=torch.bool))
    made = build_model(model, {"dim": 8}, circle(), {"text": text}, seed=0)
    loss = WholeLoss(made, circle(), spec, torch.device("cpu"))
    for seed in range(4):  # both sides come up
        value, _ = loss(circle().train[:1], torch.Generator().manual_seed(seed))
        value.backward()
        assert value.isfinite()


def test_queries_of_k_against_all_are_each_asked_once_an_epoch() -> None:
    train = torch.tensor([[0, 0, 1], [0, 0, 2], [3, 0, 1], [0, 1, 1], [0, 0, 1]])
    asked = {tuple(row) for row in distinct_queries(train).tolist()}
    assert asked == {
        (0, 0, 1), (3, 0, 1), (0, 1, 1),  # tails of (0, 0), (3, 0), (0, 1)
        (1, 0, 0), (2, 0, 0), (1, 1, 0),  # heads of (0, 1), (0, 2), (1, 1)
    }  # fmt: skip


def test_a_score_that_is_a_distance_is_refused() -> None:
    index, spec = circle(), spec_of("rotate", "one_vs_all", dim=4)
    model = build_model("rotate", spec.model.options, index, {}, seed=0)
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))
    with pytest.raises(ConfigError, match="RotatE compares by modulus: use logistic or margin"):
        procedure.loss(index.train[:4], torch.Generator())


def test_settings_of_negatives_make_no_other_run() -> None:
    def built(**values: object) -> RunSpec:
        parts = {"objective.loss": "one_vs_all", **values}
        layers = [Setting(tuple(k.split(".")), v, k, False) for k, v in parts.items()]
        return build_spec(layers, name="complex", model=MODELS.get("complex"), dataset="x", seed=0)

    plain = built()
    assert built(**{"negatives.count": 7, "objective.weighting": "egns"}) == plain
    assert built(**{"objective.smoothing": 0.3, "objective.temperature": 0.5}) == plain
    assert built(**{"objective.loss": "k_vs_all", "objective.smoothing": 0.3}) != plain
