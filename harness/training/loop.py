"""Training loop: epochs, validation, early stopping, checkpoints, interruption.

It gets a procedure and a validation function, and never the store, the test split or a report.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from harness.data.batches import Batches, batches_of
from harness.errors import Interrupted, NonFiniteError
from harness.model import Model
from harness.plan.spec import TrainingSpec
from harness.procedure import Procedure
from harness.seeding import seed_for, seed_torch
from harness.training.checkpoint import CheckpointFolder
from harness.training.stopping import Stopper

__all__ = ["EpochReport", "FitResult", "falls_short", "fit"]

EpochReport = Mapping[str, float]
"""epoch, loss, seconds (wall), processor_seconds (of all threads), logged values; validation
metrics and times (valid_...) if the epoch was validated."""

SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass
class FitResult:
    """Result of training: best epoch and history; the weights are in the checkpoint.

    Attributes:
        best_epoch: epoch of the selected weights; the last one with ``select`` "last".
    """

    best_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)
    pruned: bool = False
    """True if ``limits`` ended the run; the same call without them resumes it."""


def fit(
    model: Model,
    procedure: Procedure,
    spec: TrainingSpec,
    checkpoints: CheckpointFolder,
    validate: Callable[[], Mapping[str, float]],
    *,
    seed: int,
    dataset: str,
    limits: Mapping[int, float] | None = None,
    on_validated: Callable[[int], None] = lambda epoch: None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Train a model, or resume from the folder's checkpoint.

    Args:
        model: model on the device of the procedure's rows.
        procedure: training procedure with the optimisers and the rows of an epoch.
        spec: epochs, batch size, validation interval, patience, rule of selection.
        checkpoints: folder of the state.
        validate: function that returns metrics of the validation split, including "mrr".
        seed, dataset: seed and digest from which random streams derive.
        limits: epoch -> minimum of the best validation MRR so far, below which the run is pruned.
        on_validated: callback with the epoch after each validation.
        on_epoch: callback after each epoch.
        should_stop: callback after each epoch; True writes a checkpoint and stops.

    A run that is stopped at any time and resumed gives bit-equal results on the CPU: the state
    after an epoch is complete, and random numbers of an epoch derive from its number.

    Raises:
        NonFiniteError: the loss of an epoch is NaN or infinite.
        Interrupted: ``should_stop`` returned True; the checkpoint is written.
    """
    stopper = Stopper(spec.patience, spec.select)
    history: list[dict[str, float]] = []
    start = _resume(model, procedure, checkpoints, stopper, history)
    limits = limits or {}
    saved_at = time.monotonic()
    batches = batches_of(procedure.rows, spec.traversal)
    for epoch in range(start, spec.epochs):
        if stopper.exhausted:
            break
        # A run that was pruned by these limits before is pruned again without another epoch.
        if epoch == start and falls_short(history, limits):
            return FitResult(stopper.best_epoch, history, pruned=True)
        row = _epoch(model, procedure, batches, spec, seed=seed, dataset=dataset, epoch=epoch)
        best = False
        if (epoch + 1) % spec.evaluate_every == 0 or epoch + 1 == spec.epochs:
            clock = _Clock()
            row |= {f"valid_{k}": v for k, v in validate().items()}
            row |= {f"valid_{k}": v for k, v in clock.read().items()}
            on_validated(epoch + 1)
            best = stopper.update(row["valid_mrr"], epoch + 1)
            if spec.select == "last":  # weights of earlier epochs are never read again
                best = epoch + 1 == spec.epochs
        history.append(row)
        on_epoch(row)
        stopping = should_stop()  # asked once, so that checkpoint and exception agree
        last = epoch + 1 == spec.epochs or stopper.exhausted
        pruned = not last and falls_short(history, limits)
        overdue = time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS
        if best or last or pruned or stopping or overdue:
            _save(model, procedure, checkpoints, stopper, history, epoch + 1, best)
            saved_at = time.monotonic()
        if pruned:
            return FitResult(stopper.best_epoch, history, pruned=True)
        if stopping and not last:
            raise Interrupted(f"stopped after epoch {epoch + 1}; the same command resumes")
    return FitResult(stopper.best_epoch, history)


def falls_short(history: Sequence[Mapping[str, float]], limits: Mapping[int, float]) -> bool:
    """Return True if the best validation MRR up to some epoch is below that epoch's limit.

    Args:
        history: row per epoch, with "valid_mrr" if the epoch was validated.
        limits: epoch (from 1) -> minimum MRR.
    """
    best = -math.inf
    for row in history:
        if "valid_mrr" in row:
            best = max(best, row["valid_mrr"])
            if best < limits.get(round(row["epoch"]), -math.inf):
                return True
    return False


def _epoch(
    model: Model,
    procedure: Procedure,
    batches: Batches,
    spec: TrainingSpec,
    *,
    seed: int,
    dataset: str,
    epoch: int,
) -> dict[str, float]:
    clock = _Clock()
    model.train()
    procedure.start_epoch(epoch)
    # Streams derive from the epoch's number, so a resumed run needs no state of a generator.
    seed_torch(seed_for(seed, dataset, "dropout", epoch))
    generator = torch.Generator(procedure.rows.device)
    generator.manual_seed(seed_for(seed, dataset, "negatives", epoch))
    sums: dict[str, Tensor] = {}
    steps = 0
    order = seed_for(seed, dataset, "shuffle", epoch)
    for batch in batches(spec.batch_size, order):
        report = procedure.step(batch, generator)
        steps += 1
        # Sums stay on the device; reading them would synchronise in every step.
        for name, value in {"loss": report.loss, **report.logs}.items():
            sums[name] = sums[name] + value if name in sums else value
    means = {name: float(total) / steps for name, total in sums.items()}
    if not math.isfinite(means["loss"]):
        raise NonFiniteError(
            f"the loss of epoch {epoch + 1} is {means['loss']}; try a lower optimiser.lr "
            "or optimiser.clip=1"
        )
    return {"epoch": float(epoch + 1), **means, **clock.read()}


class _Clock:
    """Wall time and processor time of this process since its creation."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "seconds": time.perf_counter() - self.wall,
            "processor_seconds": time.process_time() - self.processor,
        }


def _save(
    model: Model,
    procedure: Procedure,
    checkpoints: CheckpointFolder,
    stopper: Stopper,
    history: list[dict[str, float]],
    epoch: int,
    best: bool,
) -> None:
    state: dict[str, Any] = {
        "procedure": procedure.state_dict(),
        "best": stopper.best,
        "best_epoch": stopper.best_epoch,
        "waited": stopper.waited,
        "history": history,
    }
    checkpoints.save(model.state_dict(), state, epoch=epoch, best=best)


def _resume(
    model: Model,
    procedure: Procedure,
    checkpoints: CheckpointFolder,
    stopper: Stopper,
    history: list[dict[str, float]],
) -> int:
    state = checkpoints.load()
    if state is None:
        return 0
    epoch, weights, other_state = state
    progress = checkpoints.progress(epoch, other_state)
    with checkpoints.restoring():
        model.load_state_dict(weights)
        procedure.load_state_dict(other_state.get("procedure", {}))
    stopper.best, stopper.best_epoch = progress.best, progress.best_epoch
    stopper.waited = progress.waited
    history.extend(progress.history)
    return epoch
