"""``training.compile``: the same training, with what is encoded as one compiled program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.catalog import build_model
from harness.errors import Interrupted, MachineError
from harness.index import GraphIndex, Modality
from harness.model import Model, Tables
from harness.plan.spec import RunSpec
from harness.training import sampled
from harness.training.checkpoint import CheckpointFolder
from harness.training.compiled import Encode
from harness.training.loop import FitResult, fit
from harness.training.procedures import StandardProcedure

N, R = 70, 3
DRAW = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (50,), generator=DRAW) for n in (N, R, N)], 1)
INDEX = GraphIndex(N, R, TRAIN, "digest")
PRESENT = torch.rand(N, generator=DRAW) < 0.7
TEXT = Modality("text", torch.randn(N, 5, generator=DRAW) * PRESENT[:, None], PRESENT)
MI = {"warmup_steps": 1, "min_overlap": 2, "batch": 16, "plugin": {"bins": 4}}

pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")


def build(
    *, compiles: bool, model: str = "mocme", options: dict[str, Any] | None = None, **training: Any
) -> tuple[Model, StandardProcedure, RunSpec]:
    spec = RunSpec.model_validate(
        {
            "model": {"name": model},
            "data": {"dataset": "d"},
            "negatives": {"count": 2},
            "optimiser": {"lr": 0.01},
            "training": {
                "epochs": 3, "batch_size": 12, "evaluate_every": 1, "compile": compiles, **training
            },
        }
    )  # fmt: skip
    given = {"mi": MI, **(options or {})} if model == "mocme" else {}
    network = build_model(model, {"dim": 4, **given}, INDEX, {"text": TEXT}, seed=3)
    return network, StandardProcedure(network, INDEX, spec, torch.device("cpu")), spec


def train(
    folder: Path, *, compiles: bool, stop_after: int | None = None, **parts: Any
) -> tuple[FitResult, dict[str, Tensor]]:
    network, procedure, spec = build(compiles=compiles, **parts)
    done: list[Any] = []
    result = fit(
        network,
        procedure,
        spec.training,
        CheckpointFolder(folder),
        lambda: {"mrr": float(network.eval().encode()["entity"].detach().abs().sum())},
        seed=0,
        dataset="digest",
        on_epoch=done.append,
        should_stop=lambda: stop_after is not None and done[-1]["epoch"] >= stop_after,
    )
    return result, network.state_dict()


def numbers(result: FitResult) -> list[tuple[float, float]]:
    return [(row["loss"], row["valid_mrr"]) for row in result.history]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [12, 50], ids=["some entities", "all entities"])
def test_compiled_training_has_the_losses_of_the_uncompiled(batch: int, tmp_path: Path) -> None:
    """12 positives draw 48 of 70 entities, 50 draw 200; the last batch of 12 holds 2."""
    found = [
        train(tmp_path / str(compiles), compiles=compiles, batch_size=batch)
        for compiles in (False, True)
    ]
    (usual, weights), (compiled, others) = found
    assert [p for pair in numbers(compiled) for p in pair] == pytest.approx(
        [p for pair in numbers(usual) for p in pair], rel=1e-3
    )
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=0.02, atol=2e-3)


@pytest.mark.slow
def test_a_compiled_training_that_is_resumed_equals_a_straight_one_to_the_bit(
    tmp_path: Path,
) -> None:
    dropout: dict[str, Any] = {
        "options": {"experts": {"dropout": 0.2}, "modality_dropout": {"others": 0.3}}
    }
    straight, weights = train(tmp_path / "straight", compiles=True, **dropout)
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", compiles=True, stop_after=1, **dropout)
    resumed, again = train(tmp_path / "broken", compiles=True, **dropout)
    assert numbers(resumed) == numbers(straight)
    assert all(torch.equal(weights[key], again[key]) for key in weights)


@pytest.mark.slow
def test_one_program_serves_batches_of_every_size_without_recompiling() -> None:
    _, procedure, _ = build(compiles=True)
    generator = torch.Generator().manual_seed(0)
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError):
        procedure.step(TRAIN[:12], generator)  # not compiled yet
    procedure.step(TRAIN[:12], generator)
    with torch.compiler.set_stance("fail_on_recompile"):
        for size in (12, 7, 2):
            procedure.step(TRAIN[:size], generator)


def test_a_compiled_step_encodes_as_many_rows_whatever_it_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One size is one program; entities that are drawn twice leave rows that nobody asks for."""
    asked: list[Tensor] = []

    def remember(encode: Encode) -> Encode:
        def encode_and_remember(entities: Tensor | None) -> Tables:
            assert entities is not None
            asked.append(entities)
            return encode(entities)

        return encode_and_remember

    monkeypatch.setattr(sampled, "compiled", remember)
    _, procedure, _ = build(compiles=True)
    generator = torch.Generator().manual_seed(0)
    for batch in (TRAIN[:12], TRAIN[:1].repeat(12, 1)):
        procedure.step(batch, generator)
    assert [len(entities) for entities in asked] == [48, 48]
    assert len(asked[1].unique()) < 48


@pytest.mark.parametrize("model", ["rotate", "transe"])
def test_a_model_whose_encoding_is_free_trains_as_it_does_without(
    model: str, tmp_path: Path
) -> None:
    (usual, _), (compiled, _) = (
        train(tmp_path / str(compiles), compiles=compiles, model=model)
        for compiles in (False, True)
    )
    assert numbers(compiled) == numbers(usual)


def test_a_machine_without_a_compiler_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    _, procedure, _ = build(compiles=True, options={"dim": 5})
    with (
        config.patch({"cpp.cxx": (None, str(tmp_path / "g++"))}),
        pytest.raises(MachineError, match=r"training\.compile: .*g\+\+.*compile=false"),
    ):
        procedure.step(TRAIN[:12], torch.Generator().manual_seed(0))
