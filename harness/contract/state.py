"""Checks of state: seed, file and checkpoint determine a model completely."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.contract.comparing import agree, demand, same_state
from harness.contract.core import check, trained
from harness.contract.scoring import query_text, shapes
from harness.contract.subject import Subject
from harness.errors import Interrupted
from harness.model import Model
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import EpochReport, fit

__all__ = ["deterministic", "gradients", "resume", "save_load", "seeds"]

EPOCHS, HALF = 4, 2
SETTINGS = {
    "training.epochs": EPOCHS,
    "training.evaluate_every": EPOCHS,
    "training.batch_size": 32,
}
OTHER_SEED = 9


class Trained(NamedTuple):
    """A model after a short training, its state before and after, and the loss of each epoch."""

    model: Model
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    losses: list[float]


def copied(model: Model) -> dict[str, Tensor]:
    """Return a copy of a model's state."""
    return {key: value.clone() for key, value in model.state_dict().items()}


def train(
    subject: Subject,
    folder: Path,
    *,
    seed: int = 0,
    should_stop: Callable[[int], bool] = lambda epoch: False,
) -> Trained:
    """Train a model for a few epochs, or resume from the folder's checkpoint.

    Args:
        subject: model to train.
        folder: folder of checkpoints.
        seed: seed of the initial values.
        should_stop: callback after each epoch, with its number; True stops.

    Raises:
        Interrupted: ``should_stop`` returned True.
    """
    model = subject.make(seed=seed, settings=SETTINGS)
    before = copied(model)
    procedure = subject.procedure(model, settings=SETTINGS)
    reports: list[EpochReport] = []
    result = fit(
        model,
        procedure,
        # ``fixed``: the length of this training must not depend on the user's settings.
        subject.spec(fixed=SETTINGS).training,
        CheckpointFolder(folder),
        lambda: {"mrr": 0.0},
        seed=0,
        dataset=subject.index.dataset,
        on_epoch=reports.append,
        should_stop=lambda: should_stop(int(reports[-1]["epoch"])),
    )
    return Trained(model, before, copied(model), [row["loss"] for row in result.history])


@cache
def straight(subject: Subject) -> Trained:
    """Return the model trained without interruption, shared by several checks."""
    with TemporaryDirectory() as folder:
        return train(subject, Path(folder))


@check(shapes)
def seeds(subject: Subject) -> None:
    """Equal seeds give equal models, different ones do not."""
    first, second, other_seed = (subject.make(seed=seed).state_dict() for seed in (0, 0, 1))
    same_state(first, second, ("a model", "a model of the same seed"))
    if subject.capabilities.trainable:
        demand(
            any(not torch.equal(value, other_seed[key]) for key, value in first.items()),
            "models of two seeds are equal: no initial value is drawn",
        )


@check(shapes, kind=trained)
def gradients(subject: Subject) -> None:
    """Training changes every parameter."""
    model, before, after, _ = straight(subject)
    auxiliary = {id(parameter) for parameter in model.auxiliary_parameters()}
    still = [
        f"'{key}' {tuple(parameter.shape)}" + (" (auxiliary)" if id(parameter) in auxiliary else "")
        for key, parameter in model.named_parameters()
        if torch.equal(after[key], before[key])
    ]
    demand(
        not still,
        f"{', '.join(still)} did not move in {EPOCHS} epochs: no gradient reaches "
        f"{'it' if len(still) == 1 else 'them'}",
    )


@check(seeds, kind=trained)
def deterministic(subject: Subject) -> None:
    """Two trainings with one seed are bit-identical."""
    with TemporaryDirectory() as folder:
        again = train(subject, Path(folder))
    first = straight(subject)
    for epoch, (a, b) in enumerate(zip(first.losses, again.losses, strict=True), 1):
        demand(
            a == b,
            f"the loss of epoch {epoch} was {a:.9g} in one training and {b:.9g} in the next from "
            "the same seed; draw from torch's generator (or `self.draws`), nowhere else",
        )
    same_state(again.after, first.after, ("one training", "another from the same seed"))


@check(shapes)
def save_load(subject: Subject) -> None:
    """Saved and loaded weights give the same scores."""
    model = straight(subject).model if subject.capabilities.trainable else subject.make()
    fresh = subject.make(seed=OTHER_SEED)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
        fresh.load_state_dict(load_file(file))
    anchors, relations = subject.queries
    with torch.no_grad():
        loaded, trained_ = (
            m.eval().score_all(m.encode(), anchors, relations, "head") for m in (fresh, model)
        )
    agree(
        loaded,
        trained_,
        ("a score after the weights were loaded into a new model", "the score before"),
        lambda position: (
            f"entity {position[1]} for "
            f"{query_text(int(anchors[position[0]]), int(relations[position[0]]), 'head')}; is "
            "everything that training changes a parameter or a persistent buffer?"
        ),
        absolute=0.0,
        relative=0.0,
    )


@check(deterministic, save_load, kind=trained)
def resume(subject: Subject) -> None:
    """Resumed training is bit-identical to uninterrupted."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            train(subject, folder, should_stop=lambda epoch: epoch == HALF)
        except Interrupted:
            resumed = train(subject, folder, seed=OTHER_SEED)
    expected = straight(subject)
    for epoch, (a, b) in enumerate(zip(expected.losses, resumed.losses, strict=True), 1):
        demand(
            a == b,
            f"the loss of epoch {epoch} is {a:.9g} in training without a break and {b:.9g} after "
            f"a stop at epoch {HALF}; is everything that training changes in the state?",
        )
    same_state(resumed.after, expected.after, ("resumed training", "training without a break"))
