"""Lazy Adam: Adam in the rows that have a gradient, nothing elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.catalog import build_model, load_models
from harness.data.batches import epoch_batches
from harness.errors import ConfigError
from harness.index import GraphIndex
from harness.kernels.rows import rows_of, sparse_rows
from harness.model import MODELS
from harness.plan.spec import OptimiserSpec, RunSpec
from harness.training.optimisers import LazyAdam
from harness.training.procedures import StandardProcedure
from harness.training.sampled import SampledLoss

N, R = 400, 3
DRAW = torch.Generator().manual_seed(0)
TRAIN = torch.stack([torch.randint(n, (64,), generator=DRAW) for n in (N, R, N)], 1)
INDEX = GraphIndex(N, R, TRAIN, "digest")


def steps(optimiser: Any, table: torch.Tensor, drawn: list[list[int]]) -> torch.Tensor:
    for ids in drawn:
        optimiser.zero_grad(set_to_none=True)
        rows_of(table, torch.tensor(ids)).pow(2).sum().backward()
        optimiser.step()
    return table.detach()


def table(*, sparse: bool) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    if sparse:
        sparse_rows(parameter)
    return parameter


def test_is_adam_when_every_row_is_drawn() -> None:
    drawn = [[0, 1, 2, 3, 4, 5, 5], [5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]]
    lazy, usual = table(sparse=True), table(sparse=False)
    expected = steps(torch.optim.Adam([usual], lr=0.1), usual, drawn)
    torch.testing.assert_close(steps(LazyAdam([lazy], lr=0.1), lazy, drawn), expected)


def test_is_the_sparse_adam_of_torch() -> None:
    drawn = [[0, 3, 3], [1], [3, 1, 0]]
    lazy, usual = table(sparse=True), table(sparse=True)
    expected = steps(torch.optim.SparseAdam([usual], lr=0.1), usual, drawn)
    torch.testing.assert_close(steps(LazyAdam([lazy], lr=0.1), lazy, drawn), expected)
    assert torch.equal(lazy[[2, 4, 5]], table(sparse=True)[[2, 4, 5]])


def train(name: str, optimiser: str) -> tuple[torch.Tensor, torch.Tensor, set[int]]:
    load_models()
    spec = RunSpec.model_validate(
        {
            "model": {"name": name},
            "data": {"dataset": "d"},
            "optimiser": {"name": optimiser, "lr": 0.01},
            "negatives": {"count": 3},
        }
    )
    model = build_model(name, {"dim": 4}, INDEX, {}, seed=0)
    before = model.entity.detach().clone()
    procedure = StandardProcedure(model, INDEX, spec, torch.device("cpu"))
    drawn: set[int] = set()
    assert isinstance(procedure.loss, SampledLoss)
    sample = procedure.loss.sampler.sample

    def listening(batch: torch.Tensor, generator: torch.Generator) -> Any:
        negatives = sample(batch, generator)
        drawn.update(batch[:, [0, 2]].flatten().tolist(), negatives.candidates.flatten().tolist())
        return negatives

    procedure.loss.sampler.sample = listening  # type: ignore[method-assign]
    procedure.start_epoch(0)
    generator = torch.Generator().manual_seed(0)
    for batch in list(epoch_batches(TRAIN, 32, 0))[:1]:
        procedure.step(batch, generator)
    return before, model.entity.detach(), drawn


@pytest.mark.parametrize("name", ["transe", "distmult", "complex", "rotate", "pairre"])
def test_entities_that_a_step_does_not_draw_stay(name: str) -> None:
    before, after, drawn = train(name, "lazy_adam")
    moved = set((before != after).any(1).nonzero()[:, 0].tolist())
    assert moved <= drawn
    assert len(moved) > len(drawn) * 0.9
    assert len(drawn) < N
    # In the first step Adam moves nothing else either.
    torch.testing.assert_close(after, train(name, "adam")[1])


@pytest.mark.parametrize("option", ["weight_decay", "clip"])
def test_options_that_need_every_row_are_refused(option: str) -> None:
    with pytest.raises(ValidationError, match=f"{option} needs the gradient of every entity"):
        OptimiserSpec.model_validate({"name": "lazy_adam", option: 0.1})


def test_a_model_that_touches_every_entity_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    load_models()
    model_class = MODELS.get("distmult")
    monkeypatch.setattr(
        model_class, "encode", lambda self, entities: {"entity": self.entity[entities]}
    )
    with pytest.raises(ConfigError, match="gives every entity a gradient"):
        train("distmult", "lazy_adam")


def test_a_table_that_is_not_of_entities_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    load_models()
    model_class = MODELS.get("distmult")
    monkeypatch.setattr(
        model_class, "encode", lambda self, _: {"entity": self.entity, "relation": self.relation}
    )
    with pytest.raises(ConfigError, match="table 'relation' of 3 rows for 400 entities"):
        train("distmult", "adam")
