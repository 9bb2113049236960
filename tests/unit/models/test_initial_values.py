"""Initial values of VISTA and MyGO: as tables, and as the released code has them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.catalog import build_model, load_models
from harness.cli.models import show
from harness.index import GraphIndex, Modality
from harness.model import Model
from harness.seeding import seed_for

load_models()
N, R, D = 30, 3, 8
TABLES = ("entity", "relation", "tokens", "kinds", "positions")
RELEASED = {"vista": {"variant": "released"}, "mygo": {"init": "released"}}
ROWS = {"vista": (N, R, 3, 3, 3), "mygo": (N, R, 2, 2, 3)}


def made(name: str, **options: str) -> Model:
    heads = torch.arange(N)
    index = GraphIndex(N, R, torch.stack([heads, heads % R, (heads + 1) % N], 1), "d")
    draws = torch.Generator().manual_seed(0)
    text = Modality("text", torch.randn(N, 5, generator=draws), torch.ones(N, dtype=torch.bool))
    return build_model(name, {"dim": D, "heads": 2, **options}, index, {"text": text}, seed=1)


def drawn(name: str) -> list[Tensor]:
    """Return the uniform numbers of +-1 that the tables of a model are made of."""
    torch.manual_seed(seed_for(1, "d", "init"))
    return [torch.rand(rows, D) * 2 - 1 for rows in ROWS[name]]


def tables(model: Model) -> list[Tensor]:
    return [model.get_parameter(name).detach() for name in TABLES]


@pytest.mark.parametrize("name", RELEASED)
def test_tables_start_within_glorots_bound_of_their_rows_and_columns(name: str) -> None:
    for table, uniform in zip(tables(made(name)), drawn(name), strict=True):
        bound = math.sqrt(6 / (len(table) + D))
        assert torch.allclose(table, uniform * bound, atol=1e-6)


@pytest.mark.parametrize("name", RELEASED)
def test_released_vectors_start_within_the_bound_of_a_tensor_of_three_dimensions(
    name: str,
) -> None:
    single, blank = math.sqrt(3 / D), math.sqrt(6 / (D + 1))
    *tokens, last = [single] * (ROWS[name][2] - 1) + [blank]
    bounds = [
        [math.sqrt(6 / (D * (N + 1)))] * N,
        [math.sqrt(6 / (D * (R + 1)))] * R,
        [*tokens, last],
        [single] * ROWS[name][3],
        [single] * 3,
    ]
    found = tables(made(name, **RELEASED[name]))
    for table, uniform, bound in zip(found, drawn(name), bounds, strict=True):
        assert torch.allclose(table, uniform * torch.tensor(bound)[:, None], atol=1e-6)


def test_the_bound_is_that_of_torch() -> None:
    torch.manual_seed(0)
    entity = torch.nn.init.xavier_uniform_(torch.empty(N, 1, D))
    assert entity.abs().max() == pytest.approx(math.sqrt(6 / (D * (N + 1))), rel=0.02)


def test_only_released_projections_of_mygo_start_with_biases() -> None:
    bias = "modal.0.projection.bias"
    assert not made("mygo").get_parameter(bias).any()
    assert made("mygo", init="released").get_parameter(bias).all()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("vista", "variant = \"paper\"  one of ['paper', 'released']"),
        ("mygo", "init = \"paper\"  one of ['paper', 'released']"),
        ("otkge", "penalty = \"batch\"  one of ['batch', 'rank']"),
        ("ikrl", "variant = \"paper\"  one of ['paper', 'released', 'mans']"),
    ],
)
def test_the_option_is_shown(name: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(name)
    assert shown in capsys.readouterr().out
