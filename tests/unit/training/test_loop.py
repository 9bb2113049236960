"""The training loop: early stopping, non-finite losses, resuming to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import build_model
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
    select: str = "validation",
    evaluate_every: int = 1,
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
                "evaluate_every": evaluate_every,
                "patience": patience,
                "select": select,
            },
        }
    )
    network = build_model(model, {"dim": 8}, INDEX)
    left = list(values)
    done: list[Any] = []
    result = fit(
        network,
        StandardProcedure(network, INDEX, spec, torch.device("cpu")),
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
    assert (result.best_epoch, len(result.history)) == (2, 4)
    best = CheckpointFolder(tmp_path).load_best()
    _, at_two = train(tmp_path / "other", epochs=2)
    assert best is not None
    assert all(torch.equal(best[key], at_two[key]) for key in best)


def test_the_last_epoch_is_kept_whatever_validation_says(tmp_path: Path) -> None:
    values = (0.1, 0.5, 0.3, 0.2, 0.2, 0.1)
    result, weights = train(tmp_path / "last", values=values, patience=2, select="last")
    assert [row["valid_mrr"] for row in result.history] == list(values)
    assert result.best_epoch == 6
    kept = CheckpointFolder(tmp_path / "last").load_best()
    assert kept is not None
    assert all(torch.equal(kept[key], weights[key]) for key in weights)
    _, at_two = train(tmp_path / "two", epochs=2)
    assert any(not torch.equal(kept[key], at_two[key]) for key in weights)


def test_the_last_epoch_is_validated_too_and_there_is_nothing_to_test_before_it(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"epochs": 5, "select": "last", "evaluate_every": 2}
    with pytest.raises(Interrupted):
        train(tmp_path, stop_after=4, **options)
    assert not CheckpointFolder(tmp_path).has_best()
    result, _ = train(tmp_path, **options)
    validated = [row["epoch"] for row in result.history if "valid_mrr" in row]
    assert validated == [2, 4, 5]
    assert result.best_epoch == 5
    assert CheckpointFolder(tmp_path).has_best()


def test_a_resumed_training_keeps_the_last_epoch_of_a_straight_one_to_the_bit(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"select": "last", "patience": 1, "evaluate_every": 2}
    straight, _ = train(tmp_path / "straight", **options)
    for stop in (1, 3):  # within an interval between validations, and in another
        with pytest.raises(Interrupted):
            train(tmp_path / "broken", stop_after=stop, **options)
    resumed, _ = train(tmp_path / "broken", **options)
    assert (resumed.best_epoch, straight.best_epoch) == (6, 6)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    kept = [CheckpointFolder(tmp_path / name).load_best() for name in ("straight", "broken")]
    assert kept[0] is not None
    assert kept[1] is not None
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])
    again, _ = train(tmp_path / "broken", **options)
    assert again == resumed


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
    network = build_model("distmult", {"dim": 8}, INDEX)
    return StandardProcedure(network, INDEX, spec, torch.device("cpu"))


def test_clip_bounds_what_a_step_changes() -> None:
    moved = {}
    for clip in (0.0, 1e-3):
        steps = procedure(optimiser={"name": "sgd", "lr": 1.0, "clip": clip})
        before = [p.detach().clone() for p in steps.main_parameters]
        steps.start_epoch(0)
        steps.step(TRAIN, torch.Generator().manual_seed(0))
        parts = [
            (p.detach() - b).flatten() for p, b in zip(steps.main_parameters, before, strict=True)
        ]
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
