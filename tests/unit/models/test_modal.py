"""Features of the entities that have a modality (``models/_modal.py``)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.index import Modality
from models._modal import ModalityTable

N, OWNERS, WIDTH = 12, 4, 3


class Counted(nn.Module):
    """A linear layer that keeps how many rows it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 5)
        self.rows = 0

    def forward(self, values: Tensor) -> Tensor:
        self.rows = len(values)
        mapped: Tensor = self.linear(values)
        return mapped


def _table(*, trainable: bool = False) -> ModalityTable:
    torch.manual_seed(0)
    present = torch.zeros(N, dtype=torch.bool)
    present[torch.randperm(N)[:OWNERS]] = True
    modality = Modality("text", torch.randn(N, WIDTH) * present[:, None], present)
    return ModalityTable(modality, unit=False, trainable=trainable)


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("drawn", [2, OWNERS, 9, 30])
def test_the_map_of_entities_is_that_of_each_alone(drawn: int, trainable: bool) -> None:
    table, layer = _table(trainable=trainable), Counted()
    entities = torch.randint(N, (drawn,))
    mapped = table.mapped(layer, entities)
    alone = torch.cat([table.mapped(layer, entity[None]) for entity in entities])
    has = table.has(entities)
    torch.testing.assert_close(torch.where(has, mapped, 0.0), torch.where(has, alone, 0.0))


@pytest.mark.parametrize("entities", [None, torch.arange(N), torch.zeros(40, dtype=torch.long)])
def test_a_map_of_many_entities_reads_every_row_of_the_table_once(entities: Tensor | None) -> None:
    layer = Counted()
    _table().mapped(layer, entities)
    assert layer.rows == OWNERS


def test_a_map_of_few_entities_reads_their_rows_alone() -> None:
    layer = Counted()
    _table().mapped(layer, torch.tensor([3, 3]))
    assert layer.rows == 2


def test_gradients_do_not_depend_on_the_way_taken() -> None:
    table, layer = _table(), Counted()
    entities = torch.arange(N)
    weight = torch.randn(N, 5) * table.has(entities)

    (table.mapped(layer, entities) * weight).sum().backward()
    together = layer.linear.weight.grad
    layer.zero_grad()
    for entity, row in zip(entities, weight, strict=True):
        (table.mapped(layer, entity[None]) * row).sum().backward()

    assert together is not None
    assert together.abs().sum() > 0
    torch.testing.assert_close(layer.linear.weight.grad, together)
