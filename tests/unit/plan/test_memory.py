"""The least memory of a run: arithmetic on its model that never exceeds what the run takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import build_model, load_models
from harness.data.load import load_dataset
from harness.model import MODELS
from harness.plan.memory import (
    MODEL,
    PROCESS,
    DataSize,
    FeatureSize,
    data_size,
    least_memory,
    memory_limit,
    parameters_by_module,
)
from harness.plan.spec import DataSpec, ModelSpec, RunSpec

load_models()

SIGNAL = "synthetic:signal"
SIZE = DataSize(entities=10_000, relations=50, train=40_000)
TEXT = DataSize(10_000, 50, 40_000, (("text", FeatureSize(100)),))


def run(model: str = "transe", dim: int = 32, **parts: Any) -> RunSpec:
    options = {} if model in ("lookup", "popularity", "random") else {"dim": dim}
    return RunSpec.model_validate(
        {"model": {"name": model, **options}, "data": {"dataset": "synthetic"}, **parts}
    )


def size(spec: RunSpec, data: DataSize = SIZE, device: str = "cpu") -> float:
    return least_memory(spec, data, device).size


@pytest.mark.parametrize("name", sorted(MODELS))
def test_parameters_are_those_of_the_model_on_the_dataset(name: str) -> None:
    dataset = load_dataset(SIGNAL, "all")
    data = data_size(DataSpec(dataset=SIGNAL, features="all"))
    options = {"dim": 16} if "dim" in MODELS.get(name).Config.model_fields else {}
    model = build_model(name, options, dataset.graph.index, dataset.features.modalities())
    counts: dict[str, int] = {}
    for parameter, values in model.named_parameters():
        module = parameter.partition(".")[0]
        counts[module] = counts.get(module, 0) + values.numel()
    spec = ModelSpec.model_validate({"name": name, **options})
    assert parameters_by_module(spec, data) == counts


def test_parameters_count_once_for_the_value_the_gradient_and_each_moment() -> None:
    extra = 4 * 32 * (SIZE.entities + SIZE.relations)  # bytes of TransE's vectors
    sgd, adagrad, adam = (
        size(run(optimiser={"name": name})) for name in ("sgd", "adagrad", "adam")
    )
    assert adagrad - sgd == pytest.approx(extra)
    assert adam - adagrad == pytest.approx(extra)


def test_a_model_that_counts_has_neither_gradients_nor_activations() -> None:
    buffers = 8 * SIZE.entities * SIZE.relations
    assert PROCESS <= size(run("lookup")) <= PROCESS + buffers
    assert size(run("lookup"), device="cuda") <= buffers


def test_a_table_of_relations_by_entities_grows_with_both() -> None:
    table = 4 * SIZE.entities * SIZE.relations
    assert size(run("popularity")) - PROCESS >= table
    assert size(run("popularity"), SIZE._replace(relations=100)) - PROCESS >= 2 * table


def test_features_count_with_their_width() -> None:
    narrow, wide = (
        size(run("mocme"), TEXT._replace(features=(("text", FeatureSize(width)),)))
        for width in (100, 300)
    )
    assert wide - narrow >= 4 * TEXT.entities * 200


def test_absent_features_keep_nothing_for_the_backward_pass() -> None:
    rare, common = (
        size(run("mocme"), TEXT._replace(features=(("text", FeatureSize(100, coverage)),)))
        for coverage in (0.1, 1.0)
    )
    assert rare < common


@pytest.mark.parametrize(
    "parts",
    [
        {"negatives": {"count": 4096}},
        {"training": {"batch_size": 8192}},
        {"objective": {"loss": "one_vs_all"}, "negatives": {"count": 1}, "model": "complex"},
    ],
)
def test_larger_steps_take_more(parts: dict[str, Any]) -> None:
    model = parts.pop("model", "mocme")
    small = run(model, negatives={"count": 1}, training={"batch_size": 16})
    assert size(run(model, **parts), TEXT) > size(small, TEXT)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        (run(negatives={"count": 10**6}), "lower training.batch_size or negatives.count"),
        (run(dim=2000, negatives={"count": 1}), MODEL),
    ],
)
def test_the_remedy_is_for_the_largest_share(spec: RunSpec, remedy: str) -> None:
    assert least_memory(spec, SIZE).remedy == remedy


def test_wide_features_are_to_be_left_out() -> None:
    wide = TEXT._replace(features=(("text", FeatureSize(5_000)),))
    assert "data.modalities" in least_memory(run(negatives={"count": 1}), wide).remedy


def test_corrupted_copies_of_features_count_like_the_features() -> None:
    corrupt = [{"kind": "duplicate", "copies": 2}]
    plain = DataSpec(dataset="synthetic:signal", features="all")
    copied = DataSpec.model_validate({**plain.model_dump(), "corrupt": corrupt})
    assert len(data_size(copied).features) > len(data_size(plain).features)


def test_building_small_models_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    size(run(dim=7))
    assert torch.equal(torch.rand(2), expected)


def test_the_limit_of_a_container_is_below_that_of_the_machine(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    whole = memory_limit(cpu, tmp_path)
    assert whole > 2**28
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit(cpu, tmp_path) == whole
    (tmp_path / "memory.max").write_text("4096\n")
    assert memory_limit(cpu, tmp_path) == 4096
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("8192\n")
    assert memory_limit(cpu, tmp_path) == 8192
