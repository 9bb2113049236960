"""The TuckER decoder against its definition, and pooled features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.index import Modality
from harness.plan.memory import saved_bytes
from models import _tucker
from models._tucker import FusionDropout, QueryGroups, TuckER, padded_products
from models._views import FeatureVectors, pooled

D, K = 3, 2
NONE = FusionDropout(input=0, matrix=0, output=0)
ENTITIES = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
RELATIONS = torch.randn(4, K, generator=torch.Generator().manual_seed(1))
ASKED = torch.tensor([3, 0, 3, 1, 0])


def decoder() -> TuckER:
    torch.manual_seed(2)
    made = TuckER(D, K, NONE)
    for norm in (made.norm_in.batch, made.norm_out.batch):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return made


def asked_of(made: TuckER) -> torch.Tensor:
    asked = QueryGroups.by_relation(ASKED)
    found: torch.Tensor = made(ENTITIES, RELATIONS[asked.relations], asked)
    return found.detach()


def normed(x: np.ndarray, norm: torch.nn.BatchNorm1d) -> np.ndarray:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return (x - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + norm.eps)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_queries_are_the_core_multiplied_on_two_sides(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(_tucker, "MATRICES_BYTES", at_once * 4 * D * D)
    made = decoder().eval()
    core = made.core.detach().numpy()
    x = normed(ENTITIES.numpy(), made.norm_in.batch)
    products = np.einsum("qd,qk,kde->qe", x, RELATIONS[ASKED].numpy(), core)
    expected = normed(products, made.norm_out.batch)
    np.testing.assert_allclose(asked_of(made), expected, atol=1e-5)


def test_gradients_do_not_depend_on_the_relations_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for at_once in (1, 100):
        monkeypatch.setattr(_tucker, "MATRICES_BYTES", at_once * 4 * D * D)
        made = decoder().train()
        asked = QueryGroups.by_relation(ASKED)
        made(ENTITIES, RELATIONS[asked.relations], asked).square().sum().backward()
        found.append(made.core.grad)
    torch.testing.assert_close(*found)


def test_matrices_that_do_not_fit_are_made_again_instead_of_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = []
    for at_once in (1, 100):
        monkeypatch.setattr(_tucker, "MATRICES_BYTES", at_once * 4 * D * D)
        made, asked = decoder().train(), QueryGroups.by_relation(ASKED)
        with saved_bytes() as saved:
            made(ENTITIES, RELATIONS[asked.relations].requires_grad_(), asked)
        kept.append(saved.total)
    assert kept[1] - kept[0] >= 3 * 4 * D * D


def test_a_view_of_a_parameter_is_no_memory_of_a_step() -> None:
    core = torch.nn.Parameter(torch.randn(2, D, D))
    with saved_bytes() as saved:
        (RELATIONS @ core.flatten(1)).sum()
    assert saved.total == 0


def test_products_of_padded_groups_are_those_of_the_groups() -> None:
    rows = torch.randn(9, D, requires_grad=True)
    matrices = torch.randn(4, D, D, requires_grad=True)
    sizes = [2, 1, 5, 1]
    groups = zip(rows.split(sizes), matrices, strict=True)
    one_by_one = torch.cat([group @ matrix for group, matrix in groups])
    found = []
    for made in (padded_products(rows, matrices, torch.tensor(sizes), max(sizes)), one_by_one):
        found.append((made, *torch.autograd.grad(made.square().sum(), (rows, matrices))))
    for padded, expected in zip(*found, strict=True):
        torch.testing.assert_close(padded, expected)


@pytest.mark.parametrize(("limit", "calls"), [("PADDED_BYTES", 0), ("PADDED_ON_CPU", 0), ("", 1)])
def test_large_groups_are_not_padded_and_give_the_same(
    monkeypatch: pytest.MonkeyPatch, limit: str, calls: int
) -> None:
    expected = asked_of(decoder())
    if limit:
        monkeypatch.setattr(_tucker, limit, 0)
    paddings = []

    def padded(rows: torch.Tensor, *others: Any) -> torch.Tensor:
        paddings.append(len(rows))
        return padded_products(rows, *others)

    monkeypatch.setattr(_tucker, "padded_products", padded)
    torch.testing.assert_close(asked_of(decoder()), expected)
    assert paddings == [len(ASKED)] * calls


def test_queries_with_relations_of_their_own_are_asked_one_by_one() -> None:
    made = decoder()
    each = QueryGroups.ungrouped(len(ASKED), ASKED.device)
    torch.testing.assert_close(made(ENTITIES, RELATIONS[ASKED], each), asked_of(made))


def test_one_query_alone_is_normalised_by_the_running_averages() -> None:
    made = decoder().train()
    asked = QueryGroups.by_relation(ASKED[:1])
    alone = made(ENTITIES[:1], RELATIONS[asked.relations], asked).detach()
    torch.testing.assert_close(alone, asked_of(made.eval())[:1])


def test_no_query_makes_no_query() -> None:
    asked = QueryGroups.by_relation(ASKED[:0])
    assert decoder()(ENTITIES[:0], RELATIONS[asked.relations], asked).shape == (0, D)


def test_known_widths_are_pooled_as_the_released_codes_do() -> None:
    row = torch.arange(4096.0)[None]
    blocks = row.view(64, 64)
    assert pooled(row, 256)[0, 17] == blocks[4:8, 4:8].mean()
    row = torch.arange(768.0)[None]
    assert pooled(row, 256)[0, 65] == row[0, [193, 257, 321]].mean()


def test_other_widths_average_neighbours() -> None:
    row = torch.tensor([[1.0, 3.0, 5.0, 9.0]])
    assert pooled(row, 2).tolist() == [[2.0, 7.0]]
    assert pooled(row[:, :2], 4).tolist() == [[1.0, 1.0, 3.0, 3.0]]


def test_entities_without_the_modality_share_what_starts_as_the_mean() -> None:
    matrix = torch.tensor([[3.0, 4.0], [7.0, 7.0], [0.0, 2.0]])
    vectors = FeatureVectors(Modality("m", matrix, torch.tensor([True, False, True])), 2)
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.9], [0.0, 1.0]])
    torch.testing.assert_close(vectors(None).detach(), expected)
    assert torch.equal(vectors(torch.tensor([2, 1])).detach(), vectors(None).detach()[[2, 1]])
