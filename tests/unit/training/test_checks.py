"""What ``encode``, ``queries`` and ``choose`` return is checked where training calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.catalog import build_model, load_models
from harness.errors import ConfigError
from harness.model import MODELS, Model, Query, Term
from harness.plan.spec import RunSpec
from harness.procedure import STRATEGIES, Negatives, Strategy
from harness.training import sampled
from harness.training.sampled import SampledLoss
from harness.training.whole import WholeLoss
from tests.toys import ring

load_models()
N, R, B, COUNT = 24, 2, 16, 6
CPU = torch.device("cpu")


def loss_of(model: str, *, static_shapes: bool = False, **groups: Any) -> SampledLoss | WholeLoss:
    spec = RunSpec.model_validate({"model": {"name": model}, "data": {"dataset": "x"}, **groups})
    index = ring(N, R)
    network = build_model(model, {"dim": 4}, index)
    if spec.objective.loss == "one_vs_all":
        return WholeLoss(network, index, spec, CPU)
    return SampledLoss(network, index, spec, CPU, static_shapes=static_shapes)


def compute(loss: SampledLoss | WholeLoss) -> None:
    loss(loss.rows[:B], torch.Generator().manual_seed(0))


# --- models -------------------------------------------------------------------------------

TABLES: dict[str, tuple[Callable[[Model], Any], str]] = {
    "a tensor": (
        lambda model: model.entity,
        r"Own: encode returned a tensor of float32 of shape \(24, 4\); a mapping of table names",
    ),
    "nothing": (lambda model: None, "Own: encode returned None; a mapping"),
    "a list as a table": (
        lambda model: {"entity": [1.0]},
        r"Own: encode made a table 'entity' that is of type list; a tensor of shape \(24, width\)",
    ),
    "a table of three dimensions": (
        lambda model: {"entity": torch.ones(N, 2, 2)},
        r"encode made a table 'entity' that is a tensor of float32 of shape \(24, 2, 2\)",
    ),
    "a table of too many rows": (
        lambda model: {"entity": torch.ones(N + 1, 4)},
        "encode made a table 'entity' of 25 rows for 24 entities",
    ),
}
VECTORS = torch.ones(B, 4)
QUERIES: dict[str, tuple[Any, str]] = {
    "a tensor": (
        VECTORS,
        r"^Own: queries returned a tensor of float32 of shape \(16, 4\); a Query was expected",
    ),
    "a term": (Term("dot", VECTORS, "entity"), "queries returned of type Term; a Query"),
    "a query of a term": (
        Query(Term("dot", VECTORS, "entity")),  # type: ignore[arg-type]
        r"the terms of queries\(\) are of type Term; a tuple of Term was expected",
    ),
    "no terms": (Query(()), r"the terms of queries\(\) are of type tuple; a tuple of Term"),
    "a tensor as a term": (
        Query((VECTORS,)),  # type: ignore[arg-type]
        r"a term of queries\(\) is a tensor of float32 of shape \(16, 4\), no Term",
    ),
    "an unknown comparison": (
        Query((Term("l3", VECTORS, "entity"),)),  # type: ignore[arg-type]
        r"a term of queries\(\) has the unknown op 'l3'; choose from dot, l1, l2, modulus",
    ),
    "an unknown table": (
        Query((Term("dot", VECTORS, "entitty"),)),
        r"a term of queries\(\) has the unknown table 'entitty'; did you mean 'entity'\?",
    ),
    "another width": (
        Query((Term("dot", VECTORS[:, 1:], "entity"),)),
        r"for table 'entity' has a query that is a tensor of float32 of shape \(16, 3\); .*"
        r"= \(16, 4\) was expected",
    ),
    "one query of all": (
        Query((Term("dot", VECTORS[:1], "entity"),)),
        r"has a query that is a tensor of float32 of shape \(1, 4\)",
    ),
}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    """A model that a test gives a fault."""

    class Own(MODELS.get("distmult")):  # type: ignore[misc]
        pass

    monkeypatch.setattr(MODELS, "_entries", {**MODELS._entries, "own": Own})
    return Own


@pytest.mark.parametrize("loss", ["logistic", "one_vs_all"])
@pytest.mark.parametrize("case", TABLES)
def test_tables_that_encode_cannot_mean(own: type[Model], case: str, loss: str) -> None:
    tables, message = TABLES[case]
    own.encode = lambda self, entities=None: tables(self)  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=message):
        compute(loss_of("own", objective={"loss": loss}, negatives={"count": 64}))


@pytest.mark.parametrize("loss", ["logistic", "one_vs_all"])
@pytest.mark.parametrize("case", QUERIES)
def test_queries_that_no_kernel_can_compare(own: type[Model], case: str, loss: str) -> None:
    query, message = QUERIES[case]
    own.queries = lambda self, *_: query  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=message):
        compute(loss_of("own", objective={"loss": loss}))


# --- strategies ---------------------------------------------------------------------------

NEGATIVES: dict[str, tuple[Callable[[Negatives], Any], str]] = {
    "two too few": (
        lambda drawn: Negatives(drawn.candidates[:, 2:], drawn.tails.clamp(max=COUNT - 2)),
        r"^Picky: choose returned candidates that are a tensor of int64 of shape \(16, 4\); int64 "
        r"of shape \(16, 6\) was expected: 16 positives, negatives\.count=6$",
    ),
    "all that are drawn": (
        lambda drawn: replace(drawn, candidates=drawn.candidates.repeat(1, 2)),
        r"candidates that are a tensor of int64 of shape \(16, 12\)",
    ),
    "vectors of numbers": (
        lambda drawn: replace(drawn, candidates=drawn.candidates.float()),
        r"candidates that are a tensor of float32 of shape \(16, 6\)",
    ),
    "a mask of tails": (
        lambda drawn: replace(drawn, tails=drawn.replaces_tail),
        r"tails that are a tensor of bool of shape \(16, 6\); int64 of shape \(16,\)",
    ),
    "substitutes of another shape": (
        lambda drawn: replace(drawn, substitutes={"entity": drawn.candidates[:, :1]}),
        r"substitutes\['entity'\] that are a tensor of int64 of shape \(16, 1\)",
    ),
    "a tensor": (
        lambda drawn: drawn.candidates,
        r"choose returned a tensor of int64 of shape \(16, 6\); Negatives were expected",
    ),
    "nothing": (lambda drawn: None, "Picky: choose returned None; Negatives were expected"),
}
VALUES: dict[str, tuple[Callable[[Negatives], Any], str]] = {
    "no entity": (
        lambda drawn: replace(drawn, candidates=torch.full_like(drawn.candidates, N)),
        "Picky: choose returned candidates from 24 to 24; values from 0 to 23 were expected",
    ),
    "more tails than negatives": (
        lambda drawn: replace(drawn, tails=torch.full_like(drawn.tails, COUNT + 1)),
        "choose returned tails from 7 to 7; values from 0 to 6",
    ),
    "a negative substitute": (
        lambda drawn: replace(drawn, substitutes={"entity": drawn.candidates - N}),
        r"choose returned substitutes\['entity'\] from -\d+ to -\d+; values from 0 to 23",
    ),
}


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> type[Strategy]:
    """A strategy that a test gives a fault."""

    class Picky(Strategy):
        pass

    monkeypatch.setattr(STRATEGIES, "_entries", {**STRATEGIES._entries, "picky": Picky})
    return Picky


def with_strategy(*, static_shapes: bool = False) -> SampledLoss | WholeLoss:
    negatives = {"count": COUNT, "strategy": {"name": "picky"}}
    loss = loss_of("transe", static_shapes=static_shapes, negatives=negatives)
    loss.start_epoch(0)
    return loss


@pytest.mark.parametrize("case", [*NEGATIVES, *VALUES])
def test_negatives_that_are_not_those_of_the_setting(picky: type[Strategy], case: str) -> None:
    choose, message = (NEGATIVES | VALUES)[case]
    picky.choose = lambda self, batch, negatives: choose(negatives)  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=message):
        compute(with_strategy())


def test_shapes_are_checked_in_every_step_and_values_in_the_first(
    picky: type[Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Negatives] = []
    monkeypatch.setattr(sampled, "check_values", lambda _, negatives: checked.append(negatives))
    loss = with_strategy()
    compute(loss)
    compute(loss)
    assert len(checked) == 1
    loss.start_epoch(1)
    compute(loss)
    compute(with_strategy(static_shapes=True))  # reading values would wait for the device
    assert len(checked) == 2
    picky.choose = lambda self, batch, negatives: None  # type: ignore[assignment,method-assign,return-value]
    with pytest.raises(ConfigError, match="Negatives were expected"):
        compute(loss)
