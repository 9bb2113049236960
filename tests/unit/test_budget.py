"""Estimates: what they count, and how they move with the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.plan import machine
from harness.plan.budget import Sizes, estimate
from harness.plan.machine import Machine, measure_machine
from harness.plan.profile import profile_model
from harness.plan.spec import ModelSpec, RunSpec

load_models()

SIZES = Sizes(entities=10_000, relations=50, train=40_000, valid=5_000, test=5_000)
MACHINE = Machine(
    key="test",
    matmul=1e11,
    gathered={"dot": 1e9, "l1": 1e9, "modulus": 1e9},
    counted={"dot": 1e10, "l1": 1e10, "modulus": 1e10},
    filled=1e8,
    drawn=1e7,
    updated=1e8,
    resident=300 * 2**20,
)


def run(model: str = "rotate", options: dict[str, Any] | None = None, **parts: Any) -> RunSpec:
    spec = {"name": model, **(options or {})}
    return RunSpec.model_validate({"model": spec, "data": {"dataset": "x"}, **parts})


@pytest.mark.parametrize(
    ("model", "per_entity", "per_relation"),
    [("transe", 32, 32), ("rotate", 64, 32), ("complex", 64, 64), ("pairre", 32, 64)],
)
def test_parameters_are_counted_per_entity_and_relation(
    model: str, per_entity: int, per_relation: int
) -> None:
    profile = profile_model(ModelSpec.model_validate({"name": model, "dim": 32}), {})
    assert (profile.per_entity, profile.per_relation) == (per_entity, per_relation)
    assert profile.parameters(100, 3) == 100 * per_entity + 3 * per_relation


def test_terms_give_comparison_and_width() -> None:
    profile = profile_model(ModelSpec.model_validate({"name": "rotate", "dim": 32}), {})
    assert profile.terms == (("modulus", 64),)
    assert not profile.encodes


def test_the_projection_of_features_is_counted_in_products() -> None:
    """Two linear layers: 2 (d_m D + D^2) operations for each entity."""
    options = {"name": "mocme", "dim": 16, "backbone": "linear", "fusion": {"kind": "mean"}}
    spec = ModelSpec.model_validate(options)
    narrow, wide = (profile_model(spec, {"text": width}) for width in (100, 300))
    assert wide.flops - narrow.flops == pytest.approx(2 * 200 * 32, rel=0.01)
    assert wide.encodes
    assert wide.saved > 0


def test_a_model_that_counts_is_ranked_and_not_trained() -> None:
    budget = estimate(run("lookup", training={"epochs": 9}), SIZES, MACHINE)
    queries = 2 * (SIZES.valid + SIZES.test)
    assert budget.seconds == pytest.approx(queries * SIZES.entities / MACHINE.filled)


def test_time_grows_with_the_work() -> None:
    base = estimate(run(), SIZES, MACHINE).seconds
    no_training = estimate(run(training={"epochs": 0}), SIZES, MACHINE).seconds
    twice = estimate(run(training={"epochs": 200}), SIZES, MACHINE).seconds
    assert twice - no_training == pytest.approx(2 * (base - no_training))
    for more in ({"negatives": {"count": 128}}, {"options": {"dim": 512}}):
        assert estimate(run(**more), SIZES, MACHINE).seconds > 1.3 * base


def test_memory_holds_parameters_with_their_optimiser() -> None:
    small, large = (replace(SIZES, entities=n) for n in (10_000, 110_000))
    grown = estimate(run(), large, MACHINE).bytes - estimate(run(), small, MACHINE).bytes
    assert grown == pytest.approx(100_000 * 512 * 4 * 5, rel=0.05)


def test_the_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    cache = tmp_path / "sub" / "machine.json"
    first = measure_machine("cpu", cache)
    assert "/reference/" in first.key
    assert measure_machine("cpu", cache) == first


@pytest.mark.parametrize("stale", ["not json", MACHINE.model_dump_json()])
def test_rates_of_other_circumstances_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: str
) -> None:
    fresh = MACHINE.model_copy(update={"updated": 1.0})
    monkeypatch.setattr(machine, "_measure", lambda device, key: fresh)
    cache = tmp_path / "machine.json"
    cache.write_text(stale)
    assert measure_machine("cpu", cache) == fresh
    assert Machine.model_validate_json(cache.read_bytes()) == fresh
