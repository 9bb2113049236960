"""The contract of training: samplers make negatives, a procedure turns a batch into a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Negatives", "Procedure", "Sampler", "StepReport", "TrainingLoss"]


@dataclass(frozen=True)
class Negatives:
    """Corruptions of a batch of B positives, n each.

    Attributes:
        candidates: [B, n] entity ids that replace one side of the positive.
        tails: [B] how many of the leading candidates replace the tail; the rest replace the head.
    """

    candidates: Tensor
    tails: Tensor


class Sampler(Protocol):
    """Draws negatives."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Negatives:
        """Return n corruptions of each positive of ``batch`` [B, 3], on its device."""
        ...


class TrainingLoss(Protocol):
    """What a step lowers."""

    rows: Tensor
    """[n, 3] what an epoch goes through, batch by batch: training triples, or queries."""

    def __call__(
        self, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a batch of ``rows`` [B, 3], and scalar tensors to log."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What one step measured.

    Attributes:
        loss: scalar tensor, detached, still on the device (reading it would synchronise).
        logs: further scalar tensors, averaged over the epoch (class shares of negatives).
    """

    loss: Tensor
    logs: Mapping[str, Tensor]


class Procedure(Protocol):
    """How a model is trained when a loss is not enough; owns the optimisers."""

    @property
    def rows(self) -> Tensor:
        """What an epoch goes through, batch by batch: [n, 3]."""
        ...

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0 (schedules)."""
        ...

    def step(self, batch: Tensor, generator: torch.Generator) -> StepReport:
        """Take one optimisation step on a batch of ``rows`` [B, 3]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything beside the model's parameters that the next step depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...
