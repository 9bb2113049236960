"""Seeds of torch's generators."""

from __future__ import annotations

import pytest
import torch

from harness import seeding
from harness.seeding import seed_torch


def draws() -> torch.Tensor:
    return torch.cat([torch.rand(3), torch.randn(3)])


def test_draws_are_those_of_torch_s_own_function() -> None:
    torch.manual_seed(2**62 + 1)
    expected = draws()
    seed_torch(2**62 + 1)
    assert torch.equal(draws(), expected)
    assert not torch.equal(draws(), expected)


def test_accelerators_are_seeded_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(seeding, "_accelerated", lambda: True)
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    seed_torch(5)
    assert seeds == [5]
