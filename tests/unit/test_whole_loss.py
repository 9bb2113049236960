"""Losses against all entities: their values, their blocks, and that models learn by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.catalog import create_model, load_models
from harness.config.override import Setting
from harness.errors import ConfigError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.index import GraphIndex, Modality
from harness.kernels import whole
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
    monkeypatch.setattr(whole, "SCORES_AT_ONCE", request.param * N)


def vectors(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def answers_of(queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return answers as CSR and as [q, N]: none, one, two, three, none, ..."""
    counts = torch.arange(queries) % 4
    listed = [torch.randperm(N)[:k].sort().values for k in counts.tolist()]
    hot = torch.zeros(queries, N)
    for row, found in enumerate(listed):
        hot[row, found] = 1.0
    return F.pad(counts.cumsum(0), (1, 0)), torch.cat(listed), hot


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(2.0 * loss, of)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_one_against_all_is_torchs_cross_entropy(smoothing: float) -> None:
    query, table, targets = vectors(19, 0), vectors(N, 1), torch.arange(19) * 2
    ours = whole.softmax_loss(query, table, targets, smoothing=smoothing)
    theirs = F.cross_entropy(query @ table.T, targets, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_without_smoothing_the_softmax_loss_is_to_the_bit_what_it_is_by_default() -> None:
    def made(**smoothing: float) -> tuple[Tensor, ...]:
        query, table = vectors(19, 0), vectors(N, 1)
        loss = whole.softmax_loss(query, table, torch.arange(19), **smoothing)
        return loss, *gradients(loss, query, table)

    assert all(map(torch.equal, made(), made(smoothing=0.0)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_k_against_all_is_torchs_binary_cross_entropy(smoothing: float) -> None:
    query, table = vectors(19, 0), vectors(N, 1)
    offsets, answers, hot = answers_of(19)
    target = (1 - smoothing) * hot + (1 / N if smoothing else 0.0)
    ours = whole.binary_loss(query, table, offsets, answers, smoothing=smoothing, offset=0.7)
    theirs = F.binary_cross_entropy_with_logits(query @ table.T + 0.7, target)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_no_gradient_is_made_that_nobody_wants() -> None:
    query, table = vectors(5, 0), vectors(N, 1).detach()
    whole.softmax_loss(query, table, torch.arange(5)).backward()
    assert query.grad is not None
    assert not whole.softmax_loss(query.detach(), table, torch.arange(5)).requires_grad


def test_a_score_that_is_not_finite_makes_a_loss_that_is_not() -> None:
    query, table = vectors(5, 0).detach().fill_(torch.nan), vectors(N, 1)
    assert whole.softmax_loss(query, table, torch.arange(5)).isnan()


# --- in training --------------------------------------------------------------------------


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
    model = create_model(spec.model.name, spec.model.options, index, {}, seed=0)
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))

    def mrr() -> dict[str, float]:
        ranks = rank(model, index.train, index.known, Protocol())
        return {m.metric: m.value for m in measure(ranks, Protocol()) if m.side == "both"}

    result = fit(
        model,
        procedure,
        procedure.rows,
        spec.training,
        CheckpointFolder(folder),
        mrr,
        seed=0,
        dataset="",
    )
    return model, result.best_value


@pytest.mark.parametrize("loss", ["one_vs_all", "k_vs_all"])
@pytest.mark.parametrize("reciprocal", [False, True])
def test_a_model_learns_a_rule(tmp_path: Path, loss: str, reciprocal: bool) -> None:
    spec = spec_of("complex", loss, dim=16, reciprocal=reciprocal, l3=1e-4)
    assert trained(spec, tmp_path)[1] > 0.9


def test_the_loss_of_a_batch_is_that_of_its_scores() -> None:
    index, spec = circle(), spec_of("complex", "one_vs_all", dim=4)
    model = create_model("complex", spec.model.options, index, {}, seed=0)
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
    model = create_model("complex", {"dim": 8}, circle(), {}, seed=0)
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
    made = create_model(model, {"dim": 8}, circle(), {"text": text}, seed=0)
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
    model = create_model("rotate", spec.model.options, index, {}, seed=0)
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
