"""Checks of training: equal steps for all ways to compute them, and that a model learns."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from harness.contract.comparing import demand
from harness.contract.core import check, trained
from harness.contract.scoring import batch_size, views
from harness.contract.state import deterministic, gradients
from harness.contract.subject import N, R, Subject
from harness.errors import Interrupted
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.index import FilterIndex, GraphIndex
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit

__all__ = ["Learned", "bf16", "fixed_sizes", "learns", "planted"]

EPOCHS = 100
SETTINGS = {
    "negatives.count": 16,
    "training.epochs": EPOCHS,
    "training.evaluate_every": 10,
    "training.batch_size": 64,
}
ENOUGH = 0.5
"""MRR on train from which a model counts as learning; chance is about 0.13."""


@check(deterministic, kind=trained)
def bf16(subject: Subject) -> None:
    """The loss in bf16 is within 2% of that in fp32."""
    losses = [
        subject.loss_of_a_step(subject.make(), fixed={"training.precision": precision})
        for precision in ("fp32", "bf16")
    ]
    full, half = losses
    demand(
        abs(half - full) <= 0.02 * abs(full), f"the loss is {full:.6g} in fp32, {half:.6g} in bf16"
    )


@check(batch_size, deterministic, kind=trained)
def fixed_sizes(subject: Subject) -> None:
    """A step with static shapes, as on a GPU, is equal."""
    usual, fixed = subject.make(), subject.make()
    for step in (1, 2):  # the second shows that the gradients of the first were the same
        first = subject.loss_of_a_step(usual)
        second = subject.loss_of_a_step(fixed, static_shapes=True)
        demand(
            abs(second - first) <= 1e-4 * abs(first),
            f"the loss of step {step} is {first:.6g}, and {second:.6g} where all sizes are fixed "
            "and entities may repeat in encode(ids)",
        )


class Learned(NamedTuple):
    """Maximum of epochs; train MRR before and after training, and MRR on held-out triples."""

    epochs: int
    before: float
    after: float
    unseen: float


@cache
def planted(subject: Subject, enough: float = ENOUGH) -> Learned:
    """Train a model on the circle, with every 6th triple held out.

    Args:
        subject: model to train.
        enough: train MRR above which training stops.
    """
    triples = subject.index.train
    held_out = torch.arange(len(triples)) % 6 == 0
    train, test = triples[~held_out], triples[held_out]
    train_index = GraphIndex(N, R, train, subject.index.dataset)
    learning = {f"model.{k}": v for k, v in subject.model_class.contract.learning.items()}
    settings = {**SETTINGS, **learning}
    model = subject.make(index=train_index, settings=settings)
    spec = subject.spec(settings)
    filter_index = FilterIndex(triples, N, R)

    def mrr(of: torch.Tensor) -> float:
        measurements = measure(rank(model, of, filter_index, spec.protocol), spec.protocol)
        return next(m.value for m in measurements if m.metric == "mrr")

    train_mrrs = [before := mrr(train)]

    def validate() -> dict[str, float]:
        train_mrrs.append(mrr(train))
        return {"mrr": train_mrrs[-1]}

    procedure = subject.procedure(model, index=train_index, settings=settings)
    with TemporaryDirectory() as folder, suppress(Interrupted):
        fit(
            model,
            procedure,
            spec.training,
            CheckpointFolder(Path(folder)),
            validate,
            seed=0,
            dataset=train_index.dataset,
            should_stop=lambda: len(train_mrrs) > 1 and train_mrrs[-1] > enough,
        )
    return Learned(spec.training.epochs, before, mrr(train), mrr(test))


@check(views, gradients, deterministic, kind=trained)
def learns(subject: Subject) -> None:
    """A rule planted in the graph is learned."""
    epochs, before, after, _ = planted(subject)
    demand(
        before < 0.4, f"before any training the MRR is {before:.2f}: the answers are known to it"
    )
    demand(
        after > ENOUGH,
        f"after {epochs} epochs the MRR on the triples it was trained on is {after:.2f} "
        f"(before: {before:.2f}, expected: above {ENOUGH}); does it need another rate or more "
        "time? --set optimiser.lr=0.005, --set training.epochs=400",
    )
