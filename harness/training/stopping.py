"""Early stopping and selection of the best epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Stopper"]


@dataclass
class Stopper:
    """Selected validation, and the number of validations since.

    Attributes:
        patience: number of validations without improvement before stopping; 0 never stops.
        select: "validation" selects the best value (higher is better); "last" the newest, and never
            stops early.
        best: value of the selected validation.
        best_epoch: epoch of ``best``; -1 before the first validation.
        waited: number of validations since.
    """

    patience: int
    select: Literal["validation", "last"] = "validation"
    best: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Add a validation; return True if it is selected."""
        if self.select == "last" or value > self.best:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """True if the patience is exhausted."""
        return bool(self.patience) and self.waited >= self.patience
