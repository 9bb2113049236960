"""Estimates: what they count, and how they move with the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.evaluation import evaluator
from harness.plan import budget, machine
from harness.plan.budget import Sizes, estimate
from harness.plan.machine import Machine, best_time, measure_machine
from harness.plan.profile import FeatureSize, Profile, profile_model
from harness.plan.spec import ModelSpec, RunSpec

load_models()

SIZES = Sizes(entities=10_000, relations=50, train=40_000, valid=5_000, test=5_000)
MACHINE = Machine(
    key="cpu/test",
    gathered={"dot": 1e9, "l1": 1e9, "l2": 1e9, "modulus": 1e9},
    counted={"dot": 1e10, "l1": 1e10, "l2": 1e10, "modulus": 1e10},
    filled=1e8,
    drawn=1e7,
    swept=1e8,
    updated=1e9,
    libraries=200 * 2**20,
    resident=300 * 2**20,
)
TABLE = Profile(
    trainable=True,
    encodes=False,
    per_entity=256,
    per_relation=128,
    table_width=256,
    terms=(("modulus", 256),),
)
"""A table of 256 numbers for each entity."""
FUSING = replace(TABLE, encodes=True, encoding=1e-5, training=3e-5, auxiliary=0.01, saved=20_000.0)
"""A model that computes its tables."""


def run(model: str = "rotate", **parts: Any) -> RunSpec:
    return RunSpec.model_validate({"model": {"name": model}, "data": {"dataset": "x"}, **parts})


def seconds(profile: Profile = TABLE, sizes: Sizes = SIZES, **parts: Any) -> float:
    return estimate(run(**parts), sizes, MACHINE, profile).seconds


def size(profile: Profile = TABLE, sizes: Sizes = SIZES, **parts: Any) -> float:
    return estimate(run(**parts), sizes, MACHINE, profile).bytes


def spec_of(name: str, **options: Any) -> ModelSpec:
    return ModelSpec.model_validate({"name": name, **options})


@pytest.mark.parametrize(
    ("model", "per_entity", "per_relation"),
    [("transe", 32, 32), ("rotate", 64, 32), ("complex", 64, 64), ("pairre", 32, 64)],
)
def test_parameters_are_counted_per_entity_and_relation(
    model: str, per_entity: int, per_relation: int
) -> None:
    profile = profile_model(spec_of(model, dim=32), {})
    assert (profile.per_entity, profile.per_relation) == (per_entity, per_relation)
    assert profile.parameters(100, 3) == 100 * per_entity + 3 * per_relation


def test_terms_give_comparison_and_width() -> None:
    profile = profile_model(spec_of("rotate", dim=32), {})
    assert profile.terms == (("modulus", 64),)
    assert profile.table_width == 64
    assert not profile.encodes


def test_a_model_that_computes_its_tables_is_timed() -> None:
    profile = profile_model(spec_of("mocme", dim=16), {"text": FeatureSize(100, 0.5)})
    assert profile.encodes
    assert 0 < profile.encoding < profile.training
    assert min(profile.saved, profile.auxiliary, profile.auxiliary_saved) > 0


def test_entities_without_a_modality_cost_less() -> None:
    """What is kept for the backward pass is counted, so this does not depend on the clock."""
    few, all_ = (
        profile_model(spec_of("mocme", dim=16), {"text": FeatureSize(100, share)})
        for share in (0.1, 1.0)
    )
    assert few.saved < 0.8 * all_.saved


def test_a_model_of_tokens_costs_by_their_number_up_to_those_it_uses() -> None:
    options = {"dim": 16, "heads": 2, "feedforward": 16, "other_tokens": 4}
    one, four, nine = (
        profile_model(spec_of("mygo", **options), {"text": FeatureSize(10, 1.0, n)}, timed=False)
        for n in (0, 4, 9)
    )
    assert four.saved > 1.5 * one.saved
    assert nine.saved == pytest.approx(four.saved, rel=1e-3)


def test_looking_at_a_model_leaves_the_random_numbers_alone() -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    profile_model(spec_of("transe", dim=8), {})
    assert torch.equal(torch.rand(2), expected)


def test_a_model_that_counts_is_ranked_and_not_trained() -> None:
    counting = profile_model(spec_of("lookup"), {})
    assert not counting.trainable
    scores = 2 * (SIZES.valid + SIZES.test) * SIZES.entities
    expected = scores * (1 / MACHINE.filled + counting.scoring)
    for epochs in (1, 9):
        assert seconds(counting, training={"epochs": epochs}) == pytest.approx(expected)


def test_time_grows_in_proportion_with_the_epochs() -> None:
    once, twice, never = (seconds(training={"epochs": epochs}) for epochs in (100, 200, 0))
    assert twice - never == pytest.approx(2 * (once - never))


@pytest.mark.parametrize("profile", [TABLE, FUSING])
@pytest.mark.parametrize(
    ("more", "factor"),
    [
        ({"entities": 20_000}, 1.3),
        ({"train": 80_000}, 1.5),
        ({"valid": 50_000}, 1.1),
        ({"test": 500_000}, 1.1),
    ],
)
def test_larger_data_take_longer(profile: Profile, more: dict[str, Any], factor: float) -> None:
    assert seconds(profile, replace(SIZES, **more)) > factor * seconds(profile)


def test_harder_runs_take_longer() -> None:
    base = seconds()
    assert seconds(negatives={"count": 128}) > 1.3 * base
    assert seconds(training={"evaluate_every": 1}) > 1.1 * base
    assert seconds(protocol={"sides": ["tail"]}) < base
    assert seconds(replace(TABLE, terms=(("modulus", 512),), table_width=512)) > 1.3 * base
    assert seconds(FUSING) > base


def test_few_draws_encode_few_entities() -> None:
    """With 2 x 9 draws, 18 of 10,000 entities are encoded instead of all."""
    few: dict[str, Any] = {"negatives": {"count": 7}, "training": {"batch_size": 2, "epochs": 1}}
    free = seconds(replace(FUSING, training=0.0), **few)
    per_step = (seconds(FUSING, **few) - free) / (SIZES.train / 2)
    assert per_step == pytest.approx(18 * FUSING.training, rel=0.01)


def test_an_accelerator_encodes_every_draw_up_to_all_entities() -> None:
    """Sizes are static there: of 9,000 draws 5,934 are distinct, but nobody may know."""
    accelerator = MACHINE.model_copy(update={"key": "cuda/test"})

    def per_step(count: int) -> float:
        few = run(negatives={"count": count}, training={"batch_size": 1000, "epochs": 1})
        each = [
            estimate(few, SIZES, accelerator, replace(FUSING, training=training)).seconds
            for training in (FUSING.training, 0.0)
        ]
        return (each[0] - each[1]) / (SIZES.train / 1000)

    rows = [per_step(count) / FUSING.training for count in (7, 8, 80)]
    assert rows == pytest.approx([9_000, 10_000, 10_000])


def test_memory_holds_parameters_with_their_optimiser_and_gradients() -> None:
    """Four numbers per parameter, and three gradients of the table with half as much slack."""
    grown = size(sizes=replace(SIZES, entities=110_000)) - size()
    assert grown == pytest.approx(100_000 * 256 * 4 * (4 + 1.5 * 3), rel=0.01)


def test_a_model_that_fills_a_matrix_holds_its_counts_and_the_scores_of_some_queries() -> None:
    profiles = {name: profile_model(spec_of(name), {}) for name in ("lookup", "popularity")}
    for profile in profiles.values():
        assert profile.per_pair == 2, "how often each entity is head and tail of each relation"
        more = size(profile, replace(SIZES, relations=150)) - size(profile)
        assert more == 100 * SIZES.entities * 2 * 4
    scores = budget.SCORES_AT_ONCE * budget.BYTES_PER_SCORE
    random = size(profile_model(spec_of("random"), {}))
    assert random == pytest.approx(MACHINE.libraries + scores, rel=0.05)


def test_the_estimate_knows_how_many_scores_are_held_at_once() -> None:
    assert budget.SCORES_AT_ONCE == evaluator.SCORE_BUDGET
    assert budget.QUERIES_AT_ONCE == evaluator.QUERIES_AT_ONCE


def test_memory_grows_with_all_that_is_held() -> None:
    base = size(FUSING)
    assert base > size()
    assert size(FUSING, replace(SIZES, features={"text": FeatureSize(384)})) > base
    assert size(FUSING, negatives={"count": 512}) > base
    assert size(replace(FUSING, saved=40_000.0)) > base
    assert size(FUSING, training={"epochs": 9}) == base


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What others use of the processors: set it with ``load[0] = 0.9``."""
    used = [0.0]
    monkeypatch.setattr(machine, "used_by_others", lambda: used[0])
    return used


@pytest.mark.usefixtures("load")
def test_the_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROWS", 256)
    monkeypatch.setattr(machine, "WIDTH", 32)
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    cache = tmp_path / "sub" / "machine.json"
    first = measure_machine("cpu", cache)
    assert "/reference/" in first.key
    assert measure_machine("cpu", cache) == first


def test_rates_of_a_busy_machine_serve_until_it_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: list[float]
) -> None:
    rates = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(
        machine,
        "_measure",
        lambda device, key: MACHINE.model_copy(update={"key": key, "updated": next(rates)}),
    )
    cache = tmp_path / "machine.json"

    def measured(used: float) -> tuple[float, float]:
        load[0] = used
        found = measure_machine("cpu", cache)
        return found.updated, found.busy

    assert measured(0.9) == (1.0, 0.9)
    assert measured(0.6) == (1.0, 0.9), "still busy: measuring again would be no better"
    assert measured(0.1) == (2.0, 0.1)
    assert measured(0.9) == (2.0, 0.1), "measured when idle"


def test_a_machine_that_becomes_busy_while_it_is_measured_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: list[float]
) -> None:
    def measure(device: Any, key: str) -> Machine:
        load[0] = 1.0
        return MACHINE.model_copy(update={"key": key})

    monkeypatch.setattr(machine, "_measure", measure)
    assert measure_machine("cpu", tmp_path / "machine.json").busy == 1.0


def test_what_others_use_of_the_processors_is_a_share() -> None:
    assert 0.0 <= machine.used_by_others(0.01) <= 1.0


@pytest.mark.usefixtures("load")
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


def test_waiting_for_the_processor_is_not_work() -> None:
    import time

    assert best_time(lambda: time.sleep(0.05), seconds=0.0) < 0.02
