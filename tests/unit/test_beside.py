"""Estimates count what strategies of negatives and adversaries add to a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.catalog import load_models
from harness.plan import machine
from harness.plan.budget import Sizes, estimate
from harness.plan.profile import FeatureSize, profile_model
from harness.plan.spec import RunSpec
from harness.training.beside import look

load_models()

TEXT = {"text": FeatureSize(24, 0.9)}
SIZES = Sizes(entities=3000, relations=20, train=500, valid=50, test=50, features=TEXT)
NATIVE = {"name": "native", "dim": 8}
ROWS: dict[str, dict[str, Any]] = {
    "kbgan": {"negatives": {"count": 1, "strategy": {"name": "kbgan", "pool": 8, "pretrain": 0}}},
    "mmrns": {"negatives": {"strategy": {"name": "mmrns", "pool": 512}}},
    "wasserstein": {"model": NATIVE, "adversary": {"kind": "wasserstein"}},
    "logistic": {"model": NATIVE, "adversary": {"kind": "logistic"}},
}


def spec(name: str = "", **parts: Any) -> RunSpec:
    model = {"name": "rotate", "dim": 8}
    data = {"dataset": "x"}
    return RunSpec.model_validate({"model": model, "data": data, **ROWS.get(name, {}), **parts})


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


@pytest.mark.parametrize("name", ROWS)
def test_what_is_kept_for_the_backward_pass_is_found(name: str) -> None:
    assert look(spec(name), SIZES, "cpu", timed=False).saved > 0
    assert look(spec(name), SIZES, "cpu", timed=False).seconds == 0


@pytest.mark.parametrize("name", ["mmrns", "wasserstein"])
def test_seconds_are_measured(name: str) -> None:
    assert look(spec(name), SIZES, "cpu", timed=True).seconds > 0


def test_a_strategy_that_goes_through_the_relations_costs_by_their_number() -> None:
    few, rare, many = (
        look(spec("mmrns"), replace(SIZES, shares=shares), "cpu", timed=False).saved
        for shares in ((0.5, 0.5), (0.5, 0.5) + 98 * (1e-6,), 100 * (0.01,))
    )
    assert many > 3 * few
    assert rare < 2 * few, "relations that no batch holds cost nothing"


def test_a_larger_batch_keeps_more() -> None:
    small, large = (
        look(spec("wasserstein", training={"batch_size": size}), SIZES, "cpu", timed=False).saved
        for size in (32, 256)
    )
    assert large > 4 * small


def test_an_estimate_has_it_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROWS", 256)
    monkeypatch.setattr(machine, "WIDTH", 32)
    run = spec("mmrns", training={"epochs": 7, "batch_size": 100})
    rates, profile = machine.measure_machine(), profile_model(run.model, TEXT)
    beside = look(run, SIZES, "cpu", timed=True)
    without, with_it = (estimate(run, SIZES, rates, profile, *more) for more in ((), (beside,)))
    assert with_it.seconds - without.seconds == pytest.approx(7 * 5 * beside.seconds)
    assert with_it.bytes > without.bytes + beside.saved


def test_looking_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    look(spec("mmrns"), SIZES, "cpu", timed=False)
    assert torch.equal(torch.rand(2), expected)
