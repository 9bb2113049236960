"""The training loop: early stopping, non-finite losses, resuming to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import create_model
from harness.errors import Interrupted, NonFiniteError
from harness.index import GraphIndex
from harness.plan.spec import RunSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import FitResult, fit
from harness.training.procedures import StandardProcedure
from harness.training.sampled import SampledLoss

GENERATOR = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (200,), generator=GENERATOR) for n in (30, 3, 30)], 1)
INDEX = GraphIndex(30, 3, TRAIN, "digest")


def train(
    folder: Path,
    *,
    epochs: int = 6,
    model: str = "rotate",
    values: tuple[float, ...] = (),
    patience: int = 0,
    stop_after: int | None = None,
    lr: float = 1e-2,
    limits: dict[int, float] | None = None,
) -> tuple[FitResult, dict[str, torch.Tensor]]:
    spec = RunSpec.model_validate(
        {
            "model": {"name": model},
            "data": {"dataset": "none"},
            "negatives": {"count": 8},
            "optimiser": {"lr": lr},
            "training": {
                "epochs": epochs,
                "batch_size": 64,
                "evaluate_every": 1,
                "patience": patience,
            },
        }
    )
    network = create_model(model, {"dim": 8}, INDEX)
    left = list(values)
    done: list[Any] = []
    result = fit(
        network,
        StandardProcedure(network, INDEX, spec, torch.device("cpu")),
        TRAIN,
        spec.training,
        CheckpointFolder(folder),
        lambda: {"mrr": left.pop(0) if left else float(len(done))},
        seed=0,
        dataset="digest",
        limits=limits,
        on_epoch=done.append,
        should_stop=lambda: stop_after is not None and done[-1]["epoch"] >= stop_after,
    )
    return result, network.state_dict()


def test_loss_falls(tmp_path: Path) -> None:
    result, _ = train(tmp_path, epochs=15)
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0]


VALUES = (0.1, 0.3, 0.2, 0.25, 0.4, 0.5)


@pytest.mark.parametrize(
    ("limits", "epochs"),
    [
        ({}, 6),
        ({1: 0.1, 3: 0.3}, 6),  # the best so far counts, and meeting a limit is enough
        ({1: 0.11}, 1),
        ({4: 0.31}, 4),
        ({6: 0.9}, 6),  # nothing is left to save
    ],
)
def test_a_run_whose_best_validation_is_below_a_limit_is_pruned(
    tmp_path: Path, limits: dict[int, float], epochs: int
) -> None:
    result, _ = train(tmp_path, values=VALUES, limits=limits)
    assert len(result.history) == epochs
    assert result.pruned == (epochs < 6)


def test_a_limit_that_was_missed_earlier_prunes_a_run_that_goes_on(tmp_path: Path) -> None:
    train(tmp_path, values=VALUES, limits={4: 0.31})
    result, _ = train(tmp_path, values=VALUES[4:], limits={1: 0.11})
    assert result.pruned
    assert len(result.history) == 4
    result, _ = train(tmp_path, values=VALUES[4:])
    assert [row["valid_mrr"] for row in result.history] == list(VALUES)
    assert not result.pruned


@pytest.mark.parametrize("model", ["transe", "rotate", "complex", "distmult", "pairre"])
def test_resumed_training_equals_straight_training_to_the_bit(tmp_path: Path, model: str) -> None:
    straight, weights = train(tmp_path / "straight", model=model)
    with pytest.raises(Interrupted):
        train(tmp_path / "broken", model=model, stop_after=3)
    resumed, again = train(tmp_path / "broken", model=model)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    assert all(torch.equal(weights[key], again[key]) for key in weights)


def test_patience_stops_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    result, _ = train(tmp_path, epochs=9, values=(0.1, 0.3, 0.2, 0.2, 0.2), patience=2)
    assert result.stopped_early
    assert (result.best_epoch, len(result.history)) == (2, 4)
    best = CheckpointFolder(tmp_path).load_best()
    _, at_two = train(tmp_path / "other", epochs=2)
    assert best is not None
    assert all(torch.equal(best[key], at_two[key]) for key in best)


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, weights = train(tmp_path)
    second, again = train(tmp_path)
    assert second.history == first.history
    assert all(torch.equal(weights[key], again[key]) for key in weights)


def test_a_loss_that_is_not_a_number_stops_with_advice(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"epoch \d+ .*optimiser\.lr"):
        train(tmp_path, lr=1e38, model="distmult")


def procedure(**options: Any) -> StandardProcedure:
    spec = RunSpec.model_validate(
        {"model": {"name": "distmult"}, "data": {"dataset": "none"}, **options}
    )
    network = create_model("distmult", {"dim": 8}, INDEX)
    return StandardProcedure(network, INDEX, spec, torch.device("cpu"))


def test_clip_bounds_what_a_step_changes() -> None:
    moved = {}
    for clip in (0.0, 1e-3):
        steps = procedure(optimiser={"name": "sgd", "lr": 1.0, "clip": clip})
        before = [p.detach().clone() for p in steps.own]
        steps.start_epoch(0)
        steps.step(TRAIN, torch.Generator().manual_seed(0))
        parts = [(p.detach() - b).flatten() for p, b in zip(steps.own, before, strict=True)]
        moved[clip] = float(torch.cat(parts).norm())
    assert moved[0.0] > 2e-3
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("filtered", ["train", "none"])
def test_negatives_are_filtered_as_the_run_says(filtered: str) -> None:
    steps = procedure(negatives={"filter": filtered, "count": 200})
    assert isinstance(steps.loss, SampledLoss)
    drawn = steps.loss.sampler.sample(TRAIN, torch.Generator().manual_seed(0))
    known = {tuple(row) for row in TRAIN.tolist()}
    made = [
        (h, r, e) if place < tails else (e, r, t)
        for (h, r, t), tails, row in zip(
            TRAIN.tolist(), drawn.tails.tolist(), drawn.candidates.tolist(), strict=True
        )
        for place, e in enumerate(row)
    ]
    assert (sum(triple in known for triple in made) == 0) == (filtered == "train")
