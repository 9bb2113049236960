"""Two models trained with one seed start alike and see the same batches and negatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import pipeline
from harness.catalog import build_model
from harness.data.load import load_dataset
from harness.data.negatives import CorruptionSampler
from harness.pipeline import Workplace
from harness.plan.spec import RunSpec
from tests.toys import SMALL

Seen = list[tuple[Tensor, Tensor, Tensor]]


def seen_in_training(
    model: dict[str, Any], seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Seen:
    """Train; return the batches, the candidates drawn for them and which replace tails."""
    seen: Seen = []
    sample = CorruptionSampler.sample

    def watched(self: Any, batch: Tensor, generator: torch.Generator) -> Any:
        negatives = sample(self, batch, generator)
        seen.append((batch, negatives.candidates, negatives.tails))
        return negatives

    spec = RunSpec.model_validate(
        {
            "model": model,
            "data": {"dataset": SMALL, "features": "all"},
            "negatives": {"count": 3},
            "training": {"epochs": 2, "batch_size": 64, "evaluate_every": 2},
            "seed": seed,
        }
    )
    with monkeypatch.context() as patch:
        patch.setattr(CorruptionSampler, "sample", watched)
        pipeline.train("aaaa", spec, Workplace(folder, "cpu"))
    return seen


def equal(a: Seen, b: Seen) -> bool:
    return len(a) == len(b) and all(
        all(map(torch.equal, left, right)) for left, right in zip(a, b, strict=True)
    )


MODELS: list[dict[str, Any]] = [
    {"name": "distmult", "dim": 8},
    {"name": "rotate", "dim": 4},
    {"name": "mocme", "dim": 4, "fusion": {"kind": "mean"}},
    {"name": "mocme", "dim": 4, "mi": {"estimator": "mine_cat"}},
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: "-".join(map(str, model.values())))
def test_batches_and_negatives_depend_on_the_seed_alone(
    model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = {"name": "transe", "dim": 8}
    expected = seen_in_training(reference, 0, tmp_path / "transe", monkeypatch)
    assert len(expected) == 2 * 4
    assert equal(seen_in_training(model, 0, tmp_path / "same", monkeypatch), expected)
    assert not equal(seen_in_training(model, 1, tmp_path / "other", monkeypatch), expected)


def test_epochs_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_in_training({"name": "transe", "dim": 8}, 0, tmp_path, monkeypatch)
    assert not equal(seen[:4], seen[4:])


def entity_table(name: str, seed: int, **options: Any) -> Tensor:
    dataset = load_dataset(SMALL, "all")
    offered = dataset.features.modalities()
    model = build_model(name, options, dataset.graph.index, offered, seed=seed)
    return model.state_dict()["entity"]


def test_entities_start_alike_up_to_a_factor() -> None:
    """Bounds of initial values are the models' own, what is drawn within them is not."""
    transe, distmult = (entity_table(name, 0, dim=8) for name in ("transe", "distmult"))
    torch.testing.assert_close(transe / transe.abs().max(), distmult / distmult.abs().max())
    other = entity_table("transe", 1, dim=8)
    assert not torch.allclose(transe, other)
