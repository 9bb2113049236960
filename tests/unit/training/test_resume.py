"""Whatever the options: a resumed training equals an uninterrupted one to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import build_model
from harness.errors import Interrupted
from harness.index import GraphIndex, Modality
from harness.plan.spec import RunSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import FitResult, fit
from harness.training.procedures import StandardProcedure

N = 60
DRAW = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (40,), generator=DRAW) for n in (N, 3, N)], 1)
INDEX = GraphIndex(N, 3, TRAIN, "digest")
PRESENT = torch.rand(N, generator=DRAW) < 0.7
TEXT = Modality("text", torch.randn(N, 5, generator=DRAW) * PRESENT[:, None], PRESENT)
# The bias of the plug-in on 16 entities is more than it finds: not corrected, it finds something.
PLUGIN = {"bins": 4, "bias_correct": False}
MI = {"warmup_steps": 1, "min_overlap": 2, "batch": 16, "plugin": PLUGIN}

SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {"optimiser": {"name": "adamw", "weight_decay": 0.1}},
    "adagrad": {"optimiser": {"name": "adagrad", "clip": 0.1}},
    "sgd": {"optimiser": {"name": "sgd"}},
    "cosine": {"optimiser": {"schedule": "cosine"}},
    "step": {"optimiser": {"schedule": "step"}},
    "bf16": {"training": {"precision": "bf16"}},
    "bernoulli": {"negatives": {"sampler": "bernoulli", "filter": "none"}},
    "margin loss": {"objective": {"loss": "margin", "weighting": "egns"}},
    "sum": {"objective": {"weighting": "egns", "reduction": "sum"}},
    "weights": {"objective": {"weighting": "egns", "reduction": "weights"}},
    "egns adversarial": {"objective": {"weighting": "egns_adversarial"}},
    "plugin": {"model": {"mi": {**MI, "plugin": {"bins": 4, "balance": 0.5}}}},
    "mine_cat": {"model": {"mi": {**MI, "estimator": "mine_cat", "normalise": "logB"}}},
    "club": {"model": {"mi": {**MI, "estimator": "club", "normalise": "pair_mean"}}},
    "flow": {"model": {"mi": {**MI, "weight_grad": "flow"}}},
    "pointwise": {"model": {"mi": {**MI, "granularity": "pointwise", "pmi_clamp": 0.5}}},
    "dropout": {
        "model": {
            "experts": {"dropout": 0.2, "hidden": 5},
            "modality_dropout": {"structure": 0.3, "others": 0.3},
        }
    },
    "all views": {"model": {"fusion": {"kind": "gate", "scope": "both"}}},
    "linear": {"model": {"backbone": "linear", "proj": {"layers": 1, "normalise": "l2"}}},
}
"""All on MoCME, which has two optimisers, running averages, and draws of its own."""


def train(
    folder: Path, settings: dict[str, Any], *, stop_after: int | None = None
) -> tuple[FitResult, dict[str, torch.Tensor]]:
    parts = {
        "optimiser": {"lr": 0.01, **settings.get("optimiser", {})},
        # Few negatives: only the entities of a batch are encoded.
        "negatives": {"count": 2, **settings.get("negatives", {})},
        "training": {
            "epochs": 4, "batch_size": 10, "evaluate_every": 1, **settings.get("training", {})
        },
        "objective": settings.get("objective", {}),
    }  # fmt: skip
    spec = RunSpec.model_validate({"model": {"name": "mocme"}, "data": {"dataset": "d"}, **parts})
    model = build_model(
        "mocme", {"dim": 4, **settings.get("model", {})}, INDEX, {"text": TEXT}, seed=3
    )
    done: list[Any] = []
    result = fit(
        model,
        StandardProcedure(model, INDEX, spec, torch.device("cpu")),
        spec.training,
        CheckpointFolder(folder),
        lambda: {"mrr": float(model.entity.detach().abs().sum()), **model.eval().diagnostics()},
        seed=0,
        dataset="digest",
        on_epoch=done.append,
        should_stop=lambda: stop_after is not None and done[-1]["epoch"] >= stop_after,
    )
    return result, model.state_dict()


def numbers(result: FitResult) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in result.history]


@pytest.fixture(scope="module")
def straight(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[FitResult, dict[str, torch.Tensor]]]:
    """Uninterrupted training with the settings of a name; each is done once."""

    @cache
    def trained(name: str) -> tuple[FitResult, dict[str, torch.Tensor]]:
        settings = {"": {}, "mi": {"model": {"mi": MI}}, **SETTINGS}[name]
        return train(tmp_path_factory.mktemp("straight"), settings)

    return trained


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_training_equals_straight_training_whatever_the_options(
    name: str, straight: Callable[[str], Any], tmp_path: Path
) -> None:
    result, weights = straight(name)
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", SETTINGS[name], stop_after=2)
    resumed, again = train(tmp_path / "broken", SETTINGS[name])
    assert numbers(resumed)[2:] == numbers(result)[2:]
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[key], again[key]) for key in weights)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_option_does_something(name: str, straight: Callable[[str], Any]) -> None:
    default = "mi" if "mi" in SETTINGS[name].get("model", {}) else ""
    (usual, _), (changed, _) = straight(default), straight(name)
    assert numbers(usual)[-1]["loss"] != numbers(changed)[-1]["loss"]
