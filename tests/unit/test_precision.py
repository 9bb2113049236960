"""Devices without double precision: nothing that trains or ranks makes a float64 tensor;
processors with products in bf16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness import kernels, precision
from harness.catalog import build_model, load_models
from harness.data.negatives import CorruptionSampler
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.index import FilterIndex, GraphIndex, Modality
from harness.kernels import backends
from harness.model import MODELS
from harness.plan.spec import RunSpec
from harness.precision import multiplies_bf16, widest_float
from harness.training.procedures import StandardProcedure

load_models()
TRAINABLE = [name for name in MODELS if MODELS.get(name).capabilities.trainable]
N, R = 60, 3
DRAW = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (80,), generator=DRAW) for n in (N, R, N)], 1)
PRESENT = torch.rand(N, generator=DRAW) < 0.7
MODALITIES = {
    name: Modality(name, torch.randn(N, 5, generator=DRAW) * PRESENT[:, None], PRESENT)
    for name in ("text", "image")
}


class NoFloat64(TorchDispatchMode):
    """Raises, as such a device does, where an operation reads or makes a float64 tensor."""

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, made)):
            double = isinstance(value, Tensor) and value.dtype == torch.float64
            assert not double, f"{operation} with float64"
        return made


@pytest.fixture
def _no_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU takes the part of such a device, with the kernels that this one has."""
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", frozenset({"cpu"}))
    monkeypatch.setattr(backends, "backend_name", lambda device: "chunked")
    with NoFloat64():
        yield


def test_double_precision_wherever_there_is_any() -> None:
    kinds = {name: widest_float(name) for name in ("cpu", "cuda", "cuda:1", "mps", "mps:0")}
    assert [name for name, kind in kinds.items() if kind == torch.float32] == ["mps", "mps:0"]


@pytest.mark.parametrize(
    ("line", "able"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx512f avx512bw avx512_vnni\n", False),
    ],
    ids=["x86", "Arm", "neither"],
)
def test_products_in_bf16_as_linux_describes_the_processor(
    monkeypatch: pytest.MonkeyPatch, line: str, able: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, **how: f"processor\t: 0\n{line}\n")
    assert multiplies_bf16() is able


def test_elsewhere_products_in_bf16_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **how: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert multiplies_bf16() is None


@pytest.mark.usefixtures("_no_float64")
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"negatives": {"count": 4, "sampler": "bernoulli", "filter": "none"}},
        {"negatives": {"count": 4, "sampler": "shared", "share": 3}},
        {"objective": {"weighting": "egns"}, "optimiser": {"clip": 1.0, "name": "adamw"}},
    ],
    ids=["default", "bernoulli", "shared", "entropy"],
)
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_run_makes_no_float64(name: str, parts: dict[str, Any]) -> None:
    index = GraphIndex(N, R, TRAIN, "digest")
    if MODELS.get(name).reciprocal:  # has no negatives
        parts = {**parts, "objective": {"loss": "one_vs_all"}}
    spec = RunSpec.model_validate({"model": {"name": name}, "data": {"dataset": "d"}, **parts})
    model = build_model(name, {"dim": 4}, index, MODALITIES)
    # What is not to be so on the device is not to be so here.
    assert all(p.dtype == torch.float32 for p in model.parameters())
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"), static_shapes=True)
    procedure.start_epoch(0)
    procedure.step(TRAIN[:5], torch.Generator().manual_seed(0))
    ranks = rank(model, TRAIN[:9], FilterIndex(TRAIN, N, R), spec.protocol)
    assert len(list(measure(ranks, spec.protocol)))
    model.diagnostics()


def test_the_guard_of_these_tests_fails_where_there_is_float64() -> None:
    index = GraphIndex(N, R, TRAIN, "digest")
    with NoFloat64(), pytest.raises(AssertionError, match="float64"):
        CorruptionSampler.build(index, sampler="bernoulli", count=2, filter="none")


def test_single_precision_draws_every_entity_and_none_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", frozenset({"cpu"}))
    index = GraphIndex(N, R, TRAIN, "digest")
    sampler = CorruptionSampler.build(index, sampler="uniform", count=4000, filter="train")
    drawn = sampler.sample(TRAIN[:3], torch.Generator().manual_seed(0)).candidates
    assert drawn.min() == 0
    assert drawn.max() == N - 1
    almost_one = torch.full((1, 4), 1 - 2**-24, dtype=torch.float32)
    sides = torch.tensor([[True, True, False, False]])
    assert (kernels.draw_free(index.train_filter.free(TRAIN[:1]), sides, almost_one) < N).all()
